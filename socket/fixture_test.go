package socket

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/plugins"
	"github.com/invectd/invectd/socket/client"
)

// A fixture is a server on a real Unix socket, with a real broker on a store in
// memory; only what would speak to providers is scripted.
type fixture struct {
	server    *Server
	store     *brokertest.MemStore
	broker    *broker.Broker
	refresher *scriptedRefresher
	provider  *scriptedProvider
	client    *client.Client
	http      *http.Client
	path      string
	log       *lockedBuffer
	damaged   []string // records of the store
}

const ownCallback = "http://127.0.0.1:8765/credentials/oauth2/callback"

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{store: new(brokertest.MemStore), provider: new(scriptedProvider), log: new(lockedBuffer)}
	log := slog.New(slog.NewJSONHandler(f.log, nil))
	registry, err := plugins.New(plugins.Config{Store: f.store, Log: log, Builtin: []broker.Definition{{
		ID: "acme", Name: "Acme", AuthorizationURL: "https://acme.example/authorize?x=1&y=2", TokenURL: "https://acme.example/token",
	}}})
	if err != nil {
		t.Fatalf("plugins.New: %v", err)
	}
	tokens := broker.NewTokens()
	f.refresher = &scriptedRefresher{store: f.store, tokens: tokens}
	f.broker = broker.New(broker.Parts{
		Store: f.store, Backups: f.store, Keys: f.store, Definitions: registry, Plugins: scriptedPlugins{f.store}, Server: f.provider, Refresher: Uncounted(f.refresher), Tokens: tokens, Events: broker.NewEvents(),
		Auditor: brokertest.Unaudited{}, Policy: broker.NewPolicy(uint32(os.Geteuid())), Log: log,
		CallbackURL:   func() string { return ownCallback },
		ReturnOrigins: []string{"https://front.example"},
	})
	f.server = New(Config{
		Broker: f.broker, Version: "1.2.3", Log: log, Health: f.store.Writable, Condition: func() StoreCondition { return StoreCondition{Damaged: f.damaged, Outdated: 5} },
		Audit: func() client.AuditStatus {
			return client.AuditStatus{Writable: true, Line: 1, MAC: strings.Repeat("0", 64)}
		},
		Metrics:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1\n") }),
		Listeners: func() map[string]string { return map[string]string{"socket": f.path} },
	})
	f.path = filepath.Join(socketDir(t), "s")
	ln, err := Listen(f.path, 0o600, NoGroup)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	serve(t, f.server, ln, f.server.Handler())
	f.client = client.New(f.path)
	f.http = &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", f.path)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(f.client.Close)
	t.Cleanup(f.http.CloseIdleConnections)
	return f
}

// serve serves until the test ends, and checks that it stops without an error.
func serve(t testing.TB, s *Server, ln net.Listener, h http.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// socketDir is a folder whose path is short enough for sockets, which that of
// t.TempDir need not be.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "invectd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// An exchange is one request and what is looked at of its answer.
type exchange struct {
	status int
	header http.Header
	body   string
}

// do sends a request over the socket. headers are names and values by turns.
func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) exchange {
	t.Helper()
	return send(t, f.http, "http://localhost"+path, method, body, headers...)
}

func send(t testing.TB, c *http.Client, url, method, body string, headers ...string) exchange {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", method, url, err)
	}
	return exchange{response.StatusCode, response.Header, string(data)}
}

// oauth stores a credential that has a token for lifetime, and a refresh token.
func (f *fixture) oauth(t testing.TB, name string, lifetime time.Duration) client.Credential {
	t.Helper()
	c, err := f.client.CreateCredential(t.Context(), client.CredentialInput{
		Name: new(name), AuthType: new("oauth2"), Provider: new("acme"),
		Config: map[string]any{
			"grantType": "refresh_token", "accessToken": "access-1", "refreshToken": "refresh-1", "scope": "read write",
			"clientId": "client", "clientSecret": "client-secret",
			"expiresAt": time.Now().Add(lifetime).UTC().Format(time.RFC3339),
		},
	})
	if err != nil {
		t.Fatalf("CreateCredential: %v", err)
	}
	return c
}

// age makes the token of a credential older than it is.
func (f *fixture) age(t testing.TB, id string, by time.Duration) {
	t.Helper()
	c, err := f.store.Update(t.Context(), broker.ID(id), func(c *broker.Credential) error {
		c.IssuedAt = c.IssuedAt.Add(-by)
		return nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	f.refresher.tokens.Put(c)
}

// count returns how many credentials there are.
func (f *fixture) count(t testing.TB) int {
	t.Helper()
	list, _, err := f.client.Credentials(t.Context(), client.Filter{})
	if err != nil {
		t.Fatalf("Credentials: %v", err)
	}
	return len(list)
}

// A scriptedRefresher does what refresh says, or else renews at once.
type scriptedRefresher struct {
	store   *brokertest.MemStore
	tokens  *broker.Tokens
	mu      sync.Mutex
	refresh func(ctx context.Context, id broker.ID, need broker.Need) (broker.Token, error)
	due     time.Time
	outages []broker.Outage
}

func (r *scriptedRefresher) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh = func(context.Context, broker.ID, broker.Need) (broker.Token, error) { return broker.Token{}, err }
}

func (r *scriptedRefresher) Refresh(ctx context.Context, id broker.ID, need broker.Need) (broker.Token, error) {
	r.mu.Lock()
	do := r.refresh
	r.mu.Unlock()
	if do != nil {
		return do(ctx, id, need)
	}
	c, err := r.store.Update(ctx, id, func(c *broker.Credential) error {
		now := time.Now().UTC()
		c.Apply(broker.TokenResponse{AccessToken: broker.NewSecret("renewed"), ExpiresAt: now.Add(time.Hour)}, now)
		return nil
	})
	if err != nil {
		return broker.Token{}, err
	}
	r.tokens.Put(c)
	token, _ := c.Token()
	return token, nil
}

func (r *scriptedRefresher) Schedule(broker.Summary)     {}
func (r *scriptedRefresher) Forget(broker.ID)            {}
func (r *scriptedRefresher) Due(broker.ID) (t time.Time) { return r.due }
func (r *scriptedRefresher) Outages() []broker.Outage    { return r.outages }

// A scriptedProvider hands out a token for any code, or fails with err. What it
// does not script panics.
type scriptedProvider struct {
	broker.AuthorizationServer
	mu        sync.Mutex
	err       error
	exchanges int
	revoked   []string
}

func (p *scriptedProvider) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *scriptedProvider) AuthorizationURL(_ context.Context, c broker.Connection, r broker.AuthorizationRequest) (string, error) {
	return c.Definition.AuthorizationURL + "&state=" + r.State, nil
}

func (p *scriptedProvider) IssuerCheck(context.Context, broker.Connection) (broker.IssuerCheck, error) {
	return broker.IssuerCheck{}, nil
}

func (p *scriptedProvider) Exchange(context.Context, broker.Connection, broker.CodeExchange) (broker.TokenResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchanges++
	return broker.TokenResponse{
		AccessToken: broker.NewSecret("exchanged"), RefreshToken: broker.NewSecret("refresh-1"), ExpiresAt: time.Now().Add(time.Hour),
	}, p.err
}

func (p *scriptedProvider) StartDevice(context.Context, broker.Connection, []string) (broker.DeviceAuthorization, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return broker.DeviceAuthorization{
		DeviceCode: broker.NewSecret("device-code"), UserCode: "WDJB-MJHT", VerificationURI: "https://p.example/activate",
		ExpiresAt: time.Now().Add(10 * time.Minute).UTC(), Interval: 5 * time.Second,
	}, p.err
}

func (p *scriptedProvider) Revoke(_ context.Context, _ broker.Connection, token broker.Secret, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = append(p.revoked, token.Reveal())
	return p.err
}

func (p *scriptedProvider) Identify(context.Context, broker.Connection, broker.Secret) (broker.Identity, error) {
	return broker.Identity{Subject: "me"}, nil
}

// A lockedBuffer is a log that may be written and read at once.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
