package oauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

var loopback = broker.Addresses{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// The secrets of all tests. None may be in any error.
const (
	canarySecret  = "canary-client-secret/+ü" // needs escaping, which Basic shows
	canaryRefresh = "canary-refresh-token-0123456789"
	canaryCode    = "canary-code-0123456789"
	canaryAccess  = "canary-access-token-0123456789"
)

// newClient returns a client that may speak to loopback.
func newClient(t *testing.T) *Client {
	t.Helper()
	c := New(Config{Addresses: loopback, Timeout: 5 * time.Second})
	t.Cleanup(c.Close)
	return c
}

// A recorder is a provider that answers each request with the same words and
// remembers what it was asked.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

type seen struct {
	*http.Request
	body string
}

func record(t *testing.T, answer http.HandlerFunc) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body := new(strings.Builder)
		if _, err := fmt.Fprint(body, readAll(q)); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.seen = append(r.seen, seen{q, body.String()})
		r.mu.Unlock()
		answer(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func readAll(r *http.Request) string {
	var out strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := r.Body.Read(buffer)
		out.Write(buffer[:n])
		if err != nil {
			return out.String()
		}
	}
}

func (r *recorder) requests() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// says answers with a status, a type and a body.
func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func saysJSON(body string) http.HandlerFunc { return says(http.StatusOK, "application/json", body) }

func connection(tokenURL string) broker.Connection {
	return broker.Connection{
		Definition: broker.Definition{ID: "acme", Name: "Acme", AuthorizationURL: "https://acme.example/authorize", TokenURL: tokenURL},
		Client:     broker.Client{ID: "client id", Secret: broker.NewSecret(canarySecret)},
	}
}

func refreshAt(t *testing.T, k broker.Connection) (broker.TokenResponse, error) {
	t.Helper()
	token, err := newClient(t).Refresh(t.Context(), k, broker.NewSecret(canaryRefresh))
	noCanary(t, err)
	return token, err
}

// noCanary fails the test if an error shows a secret in any way of printing it.
func noCanary(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		text := fmt.Sprintf("%v %+v %#v %q", e, e, e, e)
		for _, secret := range []string{canarySecret, canaryRefresh, canaryCode, canaryAccess, "canary"} {
			for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if strings.Contains(text, form) {
					t.Errorf("error shows %q: %s", form, text)
				}
			}
		}
	}
}

// providerError returns the facts of an error.
func providerError(t *testing.T, err error) *broker.ProviderError {
	t.Helper()
	noCanary(t, err)
	failed, ok := errors.AsType[*broker.ProviderError](err)
	if !ok {
		t.Fatalf("error = %v (%T), want a *broker.ProviderError", err, err)
	}
	return failed
}

func TestWholeFlow(t *testing.T) {
	for _, method := range []broker.ClientAuthentication{"", broker.ClientSecretBasic, broker.ClientSecretPost, broker.ClientAuthNone} {
		t.Run("auth="+string(method), func(t *testing.T) {
			server := brokertest.StartAuthServer(t, brokertest.AuthConfig{
				ClientID: "an id", ClientSecret: "s3cret &=%+/ü", ClientAuthentication: method, RequirePKCE: true,
			})
			c := newClient(t)
			k := broker.Connection{Definition: server.Definition("acme"), Client: server.Client()}
			ctx := t.Context()

			verifier := broker.NewSecret(strings.Repeat("v", 43))
			link, err := c.AuthorizationURL(ctx, k, broker.AuthorizationRequest{
				RedirectURI: "http://127.0.0.1:8765/cb?x=1", State: "state", Scopes: []string{"read", "write"}, Verifier: verifier,
			})
			if err != nil {
				t.Fatal(err)
			}
			code, state, err := server.Consent(link)
			if err != nil || state != "state" {
				t.Fatalf("Consent = state %q, %v, want state", state, err)
			}
			first, err := c.Exchange(ctx, k, broker.CodeExchange{
				Code: broker.NewSecret(code), RedirectURI: "http://127.0.0.1:8765/cb?x=1", Verifier: verifier,
			})
			if err != nil {
				t.Fatal(err)
			}
			if first.Scope != "read write" || !server.Live(first.AccessToken.Reveal()) || !server.Live(first.RefreshToken.Reveal()) {
				t.Errorf("Exchange = scope %q, want read write and live tokens", first.Scope)
			}
			second, err := c.Refresh(ctx, k, first.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			if second.RefreshToken.Equal(first.RefreshToken) || second.RefreshToken.Empty() {
				t.Error("Refresh brought no new refresh token")
			}
			if left := time.Until(second.ExpiresAt); left < 59*time.Minute || left > time.Hour {
				t.Errorf("Refresh: token lives %v, want about an hour", left)
			}
			identity, err := c.Identify(ctx, k, second.AccessToken)
			if want := (broker.Identity{Subject: "user-1", Label: "user@example.com"}); err != nil || identity != want {
				t.Errorf("Identify = %+v, %v, want %+v", identity, err, want)
			}
			if err := c.Revoke(ctx, k, second.RefreshToken, "refresh_token"); err != nil {
				t.Errorf("Revoke = %v", err)
			}
			if err := c.Revoke(ctx, k, broker.NewSecret("unknown"), ""); err != nil {
				t.Errorf("Revoke of an unknown token = %v, want nil", err)
			}
			if server.Live(second.AccessToken.Reveal()) {
				t.Error("the token lives after Revoke")
			}
			_, err = c.Identify(ctx, k, second.AccessToken)
			if failed := providerError(t, err); failed.Status != 401 || failed.Op != "identify" || failed.Reauth {
				t.Errorf("Identify with a dead token = %v, want 401", failed)
			}
			_, err = c.Refresh(ctx, k, second.RefreshToken)
			if failed := providerError(t, err); failed.Code != "invalid_grant" || !failed.Reauth || failed.Status != 400 {
				t.Errorf("Refresh with a dead token = %+v, want 400 invalid_grant and Reauth", *failed)
			}
			own, err := c.ClientCredentials(ctx, k, []string{"read"})
			if err != nil || own.AccessToken.Empty() || !own.RefreshToken.Empty() || own.Scope != "read" {
				t.Errorf("ClientCredentials = scope %q, %v, want an access token for read", own.Scope, err)
			}
			if stats := server.Stats(); stats.ClientRefusals != 0 || stats.Reuses != 0 {
				t.Errorf("Stats() = %+v, want no refusal and no reuse", stats)
			}
			k.Client.ID = "somebody else"
			_, err = c.Refresh(ctx, k, first.RefreshToken)
			if failed := providerError(t, err); failed.Code != "invalid_client" || failed.Reauth {
				t.Errorf("Refresh by an unknown client = %+v, want invalid_client without Reauth", *failed)
			}
		})
	}
}

func TestInSynctestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := brokertest.NewAuthServer(brokertest.AuthConfig{})
		c := New(Config{Dial: server.Dial})
		defer c.Close()
		_, refresh := server.Grant("read")
		k := broker.Connection{Definition: server.Definition("acme"), Client: server.Client()}
		start := time.Now()
		token, err := c.Refresh(t.Context(), k, broker.NewSecret(refresh))
		if err != nil || !server.Live(token.RefreshToken.Reveal()) || !token.ExpiresAt.Equal(start.Add(time.Hour)) {
			t.Fatalf("Refresh over a pipe = expiry %v, %v, want a live token until %v", token.ExpiresAt, err, start.Add(time.Hour))
		}
		server.Fail(brokertest.Fault{Wait: make(chan struct{})})
		_, err = c.Refresh(t.Context(), k, token.RefreshToken)
		failed := providerError(t, err)
		if !failed.Timeout || failed.Sent != broker.SentUnknown || time.Since(start) != 30*time.Second {
			t.Errorf("Refresh without an answer = %+v after %v, want a timeout after 30s, sent unknown", *failed, time.Since(start))
		}
	})
}

func TestAuthorizationURL(t *testing.T) {
	k := connection("https://acme.example/token")
	k.Inputs = map[string]string{"tenant": "a/b"}
	k.Definition.AuthorizationURL = "https://acme.example/{tenant}/authorize?keep=1&client_id=other&prompt=login"
	k.Definition.ScopeSeparator = ","
	k.Definition.AdditionalAuthParams = map[string]string{
		"access_type": "offline", "prompt": "consent", "app": "{client_id}", "drop": "x", "state": "forged",
	}
	got, err := newClient(t).AuthorizationURL(t.Context(), k, broker.AuthorizationRequest{
		RedirectURI: "http://localhost/cb",
		State:       "the state",
		Scopes:      []string{"a", "b"},
		// The pair of RFC 7636, appendix B.
		Verifier: broker.NewSecret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
		Params:   map[string]string{"prompt": "none", "drop": "", "scope": "admin", "code_challenge": "forged"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "https://acme.example/a%2Fb/authorize?keep=1&access_type=offline&app=client+id&client_id=client+id" +
		"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&prompt=none" +
		"&redirect_uri=http%3A%2F%2Flocalhost%2Fcb&response_type=code&scope=a%2Cb&state=the+state"
	if got != want {
		t.Errorf("AuthorizationURL =\n %s, want\n %s", got, want)
	}
	bare, err := newClient(t).AuthorizationURL(t.Context(), connection(""), broker.AuthorizationRequest{State: "s"})
	if want := "https://acme.example/authorize?client_id=client+id&response_type=code&state=s"; err != nil || bare != want {
		t.Errorf("AuthorizationURL = %s, %v, want %s", bare, err, want)
	}
}

func TestConfigurationErrors(t *testing.T) {
	c := newClient(t)
	for name, call := range map[string]func(broker.Connection) error{
		"revocationUrl": func(k broker.Connection) error { return c.Revoke(t.Context(), k, broker.NewSecret("x"), "") },
		"identity": func(k broker.Connection) error {
			_, err := c.Identify(t.Context(), k, broker.NewSecret("x"))
			return err
		},
		"inputs.region": func(k broker.Connection) error {
			k.Definition.TokenURL = "https://{region}.acme.example/token"
			k.Inputs = map[string]string{"region": "evil.example/"}
			_, err := c.ClientCredentials(t.Context(), k, nil)
			return err
		},
		"privateKey": func(k broker.Connection) error {
			k.Definition.ClientAuthentication = broker.PrivateKeyJWT
			k.Client.PrivateKey = broker.NewSecret("-----BEGIN canary-----")
			_, err := c.ClientCredentials(t.Context(), k, nil)
			return err
		},
		"certificate": func(k broker.Connection) error {
			k.Definition.ClientAuthentication = broker.TLSClientAuth
			k.Client.PrivateKey = broker.NewSecret("-----BEGIN canary-----")
			_, err := c.ClientCredentials(t.Context(), k, nil)
			return err
		},
	} {
		err := call(connection("https://acme.example/token"))
		noCanary(t, err)
		invalid, ok := errors.AsType[*broker.InvalidError](err)
		if !ok || len(invalid.Fields) != 1 || invalid.Fields[0].Path != name {
			t.Errorf("error about %s = %v, want a *broker.InvalidError that names it", name, err)
		}
	}
}

// silent swallows what a server logs about clients that hang up on purpose.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
