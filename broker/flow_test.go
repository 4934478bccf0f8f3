package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

const ownCallback = "http://127.0.0.1:8765/credentials/oauth2/callback"

var self = broker.Caller{UID: 1000, Attested: true}

// definitions is a registry with one provider.
type definitions map[string]broker.Definition

func (d definitions) Definition(id string) (broker.SourcedDefinition, error) {
	definition, ok := d[id]
	if !ok {
		return broker.SourcedDefinition{}, fmt.Errorf("provider %q: %w", id, broker.ErrUnknownProvider)
	}
	return broker.SourcedDefinition{Definition: definition, Source: broker.SourceBuiltin}, nil
}

func (d definitions) Definitions() []broker.SourcedDefinition { return nil }

func (d definitions) Put(_ context.Context, definition broker.Definition, _, _ bool) (broker.SourcedDefinition, error) {
	d[definition.ID] = definition
	return d.Definition(definition.ID)
}

func (d definitions) Delete(_ context.Context, id string) error {
	delete(d, id)
	return nil
}

// provider is an authorization server that says yes to everybody and remembers
// what it was asked.
type provider struct {
	broker.AuthorizationServer // what a flow does not need
	issuer                     broker.IssuerCheck
	answer                     broker.TokenResponse
	err                        error

	exchanges atomic.Int64
	mu        sync.Mutex
	client    broker.Client               // guarded by mu: of the last exchange
	request   broker.AuthorizationRequest // guarded by mu
	exchange  broker.CodeExchange         // guarded by mu
}

func (p *provider) AuthorizationURL(_ context.Context, _ broker.Connection, r broker.AuthorizationRequest) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request = r
	return "https://provider.example/authorize?state=" + url.QueryEscape(r.State), nil
}

func (p *provider) IssuerCheck(context.Context, broker.Connection) (broker.IssuerCheck, error) {
	return p.issuer, nil
}

func (p *provider) Exchange(_ context.Context, c broker.Connection, x broker.CodeExchange) (broker.TokenResponse, error) {
	p.exchanges.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.client, p.exchange = c.Client, x
	return p.answer, p.err
}

// idle is a refresher that has nothing to do.
type idle struct{}

func (idle) Refresh(context.Context, broker.ID, broker.Need) (broker.Token, error) {
	return broker.Token{}, errors.New("nothing to refresh with")
}
func (idle) Schedule(broker.Summary)  {}
func (idle) Forget(broker.ID)         {}
func (idle) Due(broker.ID) time.Time  { return time.Time{} }
func (idle) Outages() []broker.Outage { return nil }

// newBroker returns a broker with one provider, "acme", and its store.
func newBroker(t *testing.T, p *provider) (*broker.Broker, *brokertest.MemStore) {
	t.Helper()
	store := new(brokertest.MemStore)
	p.answer = broker.TokenResponse{AccessToken: broker.NewSecret("at1"), RefreshToken: broker.NewSecret("rt1")}
	b := broker.New(broker.Parts{
		Store: store, Server: p, Refresher: idle{}, Auditor: brokertest.Unaudited{}, Tokens: broker.NewTokens(), Events: broker.NewEvents(),
		Definitions: definitions{"acme": {
			ID: "acme", Name: "Acme", AuthorizationURL: "https://acme.example/authorize", TokenURL: "https://acme.example/token",
			DefaultScopes: []string{"read"}, RequiredScopes: []string{"offline"},
		}},
		Policy: broker.NewPolicy(self.UID), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		CallbackURL: func() string { return ownCallback }, ReturnOrigins: []string{"https://app.example"},
	})
	return b, store
}

func start(t *testing.T, b *broker.Broker, r broker.StartRequest) broker.Started {
	t.Helper()
	if r.ProviderID == "" && r.ExistingCredentialID == "" {
		r.ProviderID = "acme"
	}
	if r.ClientID == "" && r.ExistingCredentialID == "" {
		r.ClientID, r.ClientSecret = "id", broker.NewSecret("cs")
	}
	started, err := b.StartAuthorization(t.Context(), self, r)
	if err != nil {
		t.Fatalf("StartAuthorization: %v", err)
	}
	return started
}

func TestFlow(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	started := start(t, b, broker.StartRequest{ReturnURL: "https://app.example/done"})
	if len(started.State) != 43 || len(p.request.Verifier.Reveal()) != 43 {
		t.Errorf("state has %d characters and the verifier %d, want 43 of 256 bits", len(started.State), len(p.request.Verifier.Reveal()))
	}
	if want := []string{"read", "offline"}; !slices.Equal(p.request.Scopes, want) {
		t.Errorf("scopes = %v, want %v", p.request.Scopes, want)
	}
	done, err := b.CompleteRedirect(t.Context(), broker.Callback{State: started.State, Code: broker.NewSecret("c"), Host: "127.0.0.1:8765"})
	if err != nil {
		t.Fatalf("CompleteRedirect: %v", err)
	}
	if done.ReturnURL != "https://app.example/done" || done.Name != "Acme" || done.Type != "http-api" || done.Generation != 1 ||
		done.Status != broker.StatusActive || done.Config.Text("scope") != "read offline" || done.Metadata["oauth2Provider"] != "acme" {
		t.Errorf("CompleteRedirect = %+v, config scope %q", done, done.Config.Text("scope"))
	}
	if !p.exchange.Verifier.Equal(p.request.Verifier) || p.exchange.RedirectURI != ownCallback {
		t.Error("the exchange has another verifier or redirect URI than the authorization request")
	}
	reading, err := b.Token(t.Context(), self, "Acme", broker.ReadRequest{MinValidity: time.Minute, Wait: time.Second})
	if err != nil || reading.Access.Reveal() != "at1" {
		t.Errorf("Token = %v, %v, want the exchanged one", reading, err)
	}
}

func TestStateIsTakenOnce(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	started := start(t, b, broker.StartRequest{})
	var won, refused atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := b.CompleteAuthorization(t.Context(), self, broker.Callback{State: started.State, Code: broker.NewSecret("c")})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, broker.ErrInvalidState):
				refused.Add(1)
			default:
				t.Errorf("CompleteAuthorization: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || refused.Load() != 99 || p.exchanges.Load() != 1 {
		t.Errorf("%d won, %d refused, %d exchanges; want 1, 99, 1", won.Load(), refused.Load(), p.exchanges.Load())
	}
}

func TestStateExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, store := newBroker(t, &provider{})
		late, gone := start(t, b, broker.StartRequest{}), start(t, b, broker.StartRequest{})
		ctx, stop := context.WithCancel(t.Context())
		time.Sleep(broker.AuthorizationLifetime)
		if _, err := b.CompleteRedirect(ctx, broker.Callback{State: late.State, Code: broker.NewSecret("c")}); !errors.Is(err, broker.ErrInvalidState) {
			t.Errorf("after ten minutes: %v, want ErrInvalidState", err)
		}
		go b.Run(ctx)
		time.Sleep(2 * time.Minute)
		stop()
		synctest.Wait()
		if _, err := store.TakeAuthorization(t.Context(), gone.State); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("Run left an expired authorization: %v", err)
		}
	})
}

// TestCallbackRefused shows that every refusal uses the state up and reaches no
// token endpoint.
func TestCallbackRefused(t *testing.T) {
	const issuer = "https://acme.example"
	var invalid *broker.InvalidError
	var refused *broker.ProviderError
	code := broker.NewSecret("c")
	for _, test := range []struct {
		name   string
		issuer broker.IssuerCheck
		back   broker.Callback
		is     error
		as     any
	}{
		{"the person said no", broker.IssuerCheck{}, broker.Callback{Error: "access_denied"}, broker.ErrAccessDenied, nil},
		{"the provider failed", broker.IssuerCheck{}, broker.Callback{Error: "server_error"}, nil, &refused},
		{"no code", broker.IssuerCheck{}, broker.Callback{}, nil, &invalid},
		{"another redirect URI", broker.IssuerCheck{}, broker.Callback{Code: code, RedirectURI: "https://evil.example/"}, nil, &invalid},
		{"another issuer", broker.IssuerCheck{Issuer: issuer}, broker.Callback{Code: code, Issuer: "https://evil.example"}, nil, &invalid},
		{"issuer but for a slash", broker.IssuerCheck{Issuer: issuer}, broker.Callback{Code: code, Issuer: issuer + "/"}, nil, &invalid},
		{"issuer missing though advertised", broker.IssuerCheck{Issuer: issuer, Required: true}, broker.Callback{Code: code}, nil, &invalid},
		{"another host", broker.IssuerCheck{}, broker.Callback{Code: code, Host: "evil.example"}, broker.ErrForbidden, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &provider{issuer: test.issuer}
			b, _ := newBroker(t, p)
			test.back.State = start(t, b, broker.StartRequest{}).State
			_, err := b.CompleteRedirect(t.Context(), test.back)
			if test.is != nil && !errors.Is(err, test.is) || test.as != nil && !errors.As(err, test.as) {
				t.Errorf("CompleteRedirect = %v", err)
			}
			again := broker.Callback{State: test.back.State, Code: code}
			if _, err := b.CompleteRedirect(t.Context(), again); !errors.Is(err, broker.ErrInvalidState) {
				t.Errorf("the state was left over: %v", err)
			}
			if n := p.exchanges.Load(); n != 0 {
				t.Errorf("%d codes were traded, want none", n)
			}
		})
	}
}

func TestIssuerAccepted(t *testing.T) {
	for _, check := range []broker.IssuerCheck{{Issuer: "https://acme.example", Required: true}, {}} {
		b, _ := newBroker(t, &provider{issuer: check})
		back := broker.Callback{State: start(t, b, broker.StartRequest{}).State, Code: broker.NewSecret("c"), Issuer: "https://acme.example"}
		if _, err := b.CompleteRedirect(t.Context(), back); err != nil {
			t.Errorf("with %+v: %v", check, err)
		}
	}
}

func TestStartRefused(t *testing.T) {
	b, store := newBroker(t, &provider{})
	for name, r := range map[string]broker.StartRequest{
		"return outside the origins": {ReturnURL: "https://evil.example/"},
		"return to a look-alike":     {ReturnURL: "https://app.example.evil.example/"},
		"return with a user":         {ReturnURL: "https://app.example@evil.example/"},
		"return to script":           {ReturnURL: "javascript:alert(1)"},
		"protocol parameter":         {Params: map[string]string{"redirect_uri": "https://evil.example/"}},
		"PKCE parameter":             {Params: map[string]string{"code_challenge": "x"}},
		"relative redirect":          {RedirectURI: "/callback"},
		"redirect with fragment":     {RedirectURI: "https://app.example/#x"},
		"scope with a space":         {Scopes: []string{"a b"}},
		"unknown input":              {Inputs: map[string]string{"tenant": "x"}},
		"bad name":                   {CredentialName: "a\nb"},
	} {
		r.ProviderID, r.ClientID = "acme", "id"
		_, err := b.StartAuthorization(t.Context(), self, r)
		if _, ok := errors.AsType[*broker.InvalidError](err); !ok {
			t.Errorf("%s: %v, want an InvalidError", name, err)
		}
	}
	if _, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ProviderID: "nobody"}); !errors.Is(err, broker.ErrUnknownProvider) {
		t.Errorf("unknown provider: %v", err)
	}
	if _, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ProviderID: "acme"}); err == nil || !strings.Contains(err.Error(), "app") {
		t.Errorf("without a client: %v, want a hint at the app", err)
	}
	if removed, err := store.ExpireAuthorizations(t.Context(), time.Now().Add(time.Hour)); err != nil || removed != 0 {
		t.Errorf("%d refused flows were stored, %v", removed, err)
	}
}

// TestReturnIgnored: a front end with a page of its own sends where it is, which
// is no business of the daemon's.
func TestReturnIgnored(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	started := start(t, b, broker.StartRequest{RedirectURI: "https://ui.example/cb", ReturnURL: "https://ui.example/here"})
	done, err := b.CompleteAuthorization(t.Context(), self, broker.Callback{
		State: started.State, Code: broker.NewSecret("c"), RedirectURI: "https://ui.example/cb",
	})
	if err != nil || done.ReturnURL != "" {
		t.Errorf("ReturnURL = %q, %v, want none", done.ReturnURL, err)
	}
}

func TestReconnect(t *testing.T) {
	p := &provider{}
	b, store := newBroker(t, p)
	first, err := b.CompleteRedirect(t.Context(), broker.Callback{
		State: start(t, b, broker.StartRequest{CredentialName: "mine", Scopes: []string{"write"}}).State, Code: broker.NewSecret("c"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Update(t.Context(), first.ID, func(c *broker.Credential) error {
		c.Status, c.StatusReason, c.Description = broker.StatusReauth, "gone", "kept"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	p.answer = broker.TokenResponse{AccessToken: broker.NewSecret("at2")}
	started := start(t, b, broker.StartRequest{ExistingCredentialID: "mine"})
	if want := []string{"write", "offline"}; !slices.Equal(p.request.Scopes, want) {
		t.Errorf("scopes = %v, want those of the first consent, %v", p.request.Scopes, want)
	}
	again, err := b.CompleteRedirect(t.Context(), broker.Callback{State: started.State, Code: broker.NewSecret("c")})
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != first.ID || again.Generation != 2 || again.Status != broker.StatusActive || again.Description != "kept" ||
		again.Config.Text("refreshToken") != "rt1" || !p.client.Secret.Equal(broker.NewSecret("cs")) {
		t.Errorf("reconnected = %+v", again)
	}
	if _, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ExistingCredentialID: "mine", ProviderID: "other"}); err == nil {
		t.Error("a credential was reconnected to another provider")
	}
}

// TestReconnectRemembersParams: what the first flow asked for beside the scopes is
// asked for again, unless a flow says otherwise.
func TestReconnectRemembersParams(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	finish := func(r broker.StartRequest) broker.Completion {
		t.Helper()
		done, err := b.CompleteRedirect(t.Context(), broker.Callback{State: start(t, b, r).State, Code: broker.NewSecret("c")})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	finish(broker.StartRequest{CredentialName: "mine", Params: map[string]string{"user_scope": "search:read"}})
	for _, test := range []struct{ given, want map[string]string }{
		{nil, map[string]string{"user_scope": "search:read"}},
		{map[string]string{"team": "T1"}, map[string]string{"team": "T1"}},
		{nil, map[string]string{"team": "T1"}},
		{map[string]string{}, map[string]string{}},
		{nil, nil},
	} {
		done := finish(broker.StartRequest{ExistingCredentialID: "mine", Params: test.given})
		if !maps.Equal(p.request.Params, test.want) {
			t.Errorf("reconnected with params %v: asked with %v, want %v", test.given, p.request.Params, test.want)
		}
		if _, kept := done.Metadata["params"]; kept != (len(test.want) > 0) {
			t.Errorf("metadata = %v, want params only where there are some", done.Metadata)
		}
	}
	if _, err := b.UpdateCredential(t.Context(), self, "mine", broker.CredentialPatch{Metadata: map[string]any{"params": map[string]any{"state": "mine"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ExistingCredentialID: "mine"}); err == nil {
		t.Error("a parameter of the protocol was taken from the metadata")
	}
}

// TestEmptyScopeIsStored: a token that was granted nothing by name does not bear
// the scopes that were asked for, nor those of before.
func TestEmptyScopeIsStored(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	p.answer = broker.TokenResponse{AccessToken: broker.NewSecret("at"), RefreshToken: broker.NewSecret("rt")}
	for _, test := range []struct {
		empty bool
		want  string
	}{{false, "write offline"}, {true, ""}} {
		p.answer.ScopeEmpty = test.empty
		r := broker.StartRequest{CredentialName: "mine", Scopes: []string{"write"}}
		if test.empty {
			r = broker.StartRequest{ExistingCredentialID: "mine"}
		}
		done, err := b.CompleteRedirect(t.Context(), broker.Callback{State: start(t, b, r).State, Code: broker.NewSecret("c")})
		if err != nil || done.Config.Text("scope") != test.want {
			t.Errorf("scope of an answer whose scope is empty (%v) = %q, %v, want %q", test.empty, done.Config.Text("scope"), err, test.want)
		}
	}
}

// TestAppIsNotCopied: a credential made with a registered app follows it.
func TestAppIsNotCopied(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	put := func(secret string) {
		app := broker.App{ProviderID: "acme", Client: broker.Client{ID: "app", Secret: broker.NewSecret(secret)}}
		if _, err := b.PutApp(t.Context(), self, app); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	started, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ProviderID: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	put("two")
	put(broker.Mask) // keeps "two"
	done, err := b.CompleteRedirect(t.Context(), broker.Callback{State: started.State, Code: broker.NewSecret("c")})
	if err != nil {
		t.Fatal(err)
	}
	if p.client.ID != "app" || p.client.Secret.Reveal() != "two" {
		t.Errorf("exchanged as %q with %q, want the app as it is now", p.client.ID, p.client.Secret.Reveal())
	}
	if keys := slices.Sorted(maps.Keys(done.Config.Reveal())); slices.Contains(keys, "clientSecret") || slices.Contains(keys, "clientId") {
		t.Errorf("the credential keeps a copy of the app: %v", keys)
	}
}

func TestOthersSeeNothing(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	if _, err := b.CompleteRedirect(t.Context(), broker.Callback{
		State: start(t, b, broker.StartRequest{CredentialName: "mine"}).State, Code: broker.NewSecret("c"),
	}); err != nil {
		t.Fatal(err)
	}
	for _, other := range []broker.Caller{{UID: 1001, Attested: true}, {UID: 0}, {UID: self.UID}} {
		for _, ref := range []string{"mine", "nobody"} {
			if _, err := b.Token(t.Context(), other, ref, broker.ReadRequest{}); !errors.Is(err, broker.ErrNotFound) {
				t.Errorf("%v reads %s: %v, want ErrNotFound", other, ref, err)
			}
		}
		if _, _, err := b.Credentials(t.Context(), other, broker.Filter{}); !errors.Is(err, broker.ErrForbidden) {
			t.Errorf("%v lists: %v, want ErrForbidden", other, err)
		}
		if _, err := b.CreateCredential(t.Context(), other, broker.NewCredential{}); !errors.Is(err, broker.ErrForbidden) {
			t.Errorf("%v creates: %v, want ErrForbidden", other, err)
		}
	}
}

// TestInputsSteerNoSecret: whoever may connect cannot have a stored client
// secret sent to a host of their choice.
func TestInputsSteerNoSecret(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	put := func(id, host string) {
		t.Helper()
		if _, err := b.PutProvider(t.Context(), self, broker.Definition{
			ID: id, Name: id, AuthorizationURL: "https://acme.example/authorize", TokenURL: "https://" + host + "/token",
			Inputs: map[string]broker.Input{"site": {Pattern: "[a-z]+"}},
		}, true, false); err != nil {
			t.Fatal(err)
		}
		app := broker.App{ProviderID: id, Client: broker.Client{ID: "app", Secret: broker.NewSecret("s")}, Inputs: map[string]string{"site": "ours"}}
		if _, err := b.PutApp(t.Context(), self, app); err != nil {
			t.Fatal(err)
		}
	}
	put("free", "{site}.test")
	put("bare", "{site}:8443")
	put("fixed", "{site}.acme.example")
	for _, test := range []struct {
		name  string
		r     broker.StartRequest
		taken bool
	}{
		{"the app's own host", broker.StartRequest{ProviderID: "free", Inputs: map[string]string{"site": "ours"}}, true},
		{"the app's own host, not named", broker.StartRequest{ProviderID: "free"}, true},
		{"another host with the app's secret", broker.StartRequest{ProviderID: "free", Inputs: map[string]string{"site": "evil"}}, false},
		{"a bare host with the app's secret", broker.StartRequest{ProviderID: "bare", Inputs: map[string]string{"site": "evil"}}, false},
		{"another host with one's own client", broker.StartRequest{ProviderID: "free", ClientID: "mine", Inputs: map[string]string{"site": "evil"}}, true},
		{"another tenant of the same owner", broker.StartRequest{ProviderID: "fixed", Inputs: map[string]string{"site": "else"}}, true},
	} {
		if _, err := b.StartAuthorization(t.Context(), self, test.r); (err == nil) != test.taken {
			t.Errorf("%s: %v, want taken %v", test.name, err, test.taken)
		}
	}

	own := broker.StartRequest{ProviderID: "free", ClientID: "mine", ClientSecret: broker.NewSecret("cs"), CredentialName: "own", Inputs: map[string]string{"site": "first"}}
	if _, err := b.CompleteRedirect(t.Context(), broker.Callback{State: start(t, b, own).State, Code: broker.NewSecret("c")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ExistingCredentialID: "own"}); err != nil {
		t.Errorf("reconnecting: %v", err)
	}
	if _, err := b.StartAuthorization(t.Context(), self, broker.StartRequest{ExistingCredentialID: "own", Inputs: map[string]string{"site": "evil"}}); err == nil {
		t.Error("a stored client secret would be sent to another host")
	}
}
