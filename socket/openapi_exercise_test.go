package socket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// TestOpenAPIHasTheAnswers gets every documented answer of every operation from
// the running server and holds it against its schema. What is documented and was
// not answered, and what was answered and is not documented, is a failure.
func TestOpenAPIHasTheAnswers(t *testing.T) {
	document := loadDocument(t)
	operations := document.operations()
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		t.Run(name, func(t *testing.T) {
			exercise, ok := exercises[name]
			if !ok {
				t.Fatal("there is no exercise for it")
			}
			answered := map[string]bool{}
			f := newWorld(t)
			for _, trial := range exercise.all() {
				got := f.try(t, name, exercise.good, trial)
				if strings.HasPrefix(name, "HEAD ") {
					trial.code = "" // there is no body to have it in
				}
				key := keyOf(got.status, codeOf(got))
				if want := keyOf(trial.status, trial.code); key != want {
					t.Errorf("%+v = %s %s, want %s", trial.request, key, got.body, want)
					continue
				}
				answered[key] = true
				f.check(t, document, operations[name], trial, got)
			}
			for status, response := range operations[name].Responses.Map() {
				for _, code := range codesOf(response.Value) {
					if key := strings.TrimSpace(status + " " + code); !answered[key] {
						t.Errorf("%s is documented, and nothing has answered it", key)
					}
				}
			}
		})
	}
	for name := range exercises {
		if operations[name] == nil {
			t.Errorf("%s is exercised, and is not documented", name)
		}
	}
}

func keyOf(status int, code string) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + code)
}

// check holds one answer, and the request where it was taken, against the
// document.
func (f *world) check(t *testing.T, document *document, operation *openapi3.Operation, trial trial, got exchange) {
	t.Helper()
	key := keyOf(got.status, codeOf(got))
	response := operation.Responses.Status(got.status)
	if response == nil || !slices.Contains(codesOf(response.Value), codeOf(got)) {
		t.Errorf("%s was answered, and is not documented", key)
		return
	}
	for _, wrong := range document.checkAnswer(response.Value, got) {
		t.Errorf("%s: %s in %v %s", key, wrong, got.header, got.body)
	}
	if got.header.Get("Content-Type") == "text/event-stream" {
		checkEvents(t, document, operation, got.body)
	}
	if body := f.sent; got.status/100 == 2 && body != "" {
		schema := operation.RequestBody.Value.Content["application/json"].Schema
		if err := document.visitText(schema, body); err != nil {
			t.Errorf("the body %s was taken, and is not as documented: %v", body, err)
		}
	}
}

func checkEvents(t *testing.T, document *document, operation *openapi3.Operation, stream string) {
	t.Helper()
	count := 0
	for line := range strings.Lines(stream) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "event":
			if !strings.Contains(operation.Description, "`"+value+"`") {
				t.Errorf("the event %s is not documented", value)
			}
		case "data":
			count++
			if err := document.visitText(document.Components.Schemas["Event"], value); err != nil {
				t.Errorf("the data of an event %s is not as documented: %v", value, err)
			}
		}
	}
	if count == 0 {
		t.Errorf("the stream %q has no event", stream)
	}
	for _, known := range []broker.EventType{
		broker.EventCreated, broker.EventUpdated, broker.EventRefreshed, broker.EventRefreshFailed,
		broker.EventReauth, broker.EventRecovered, broker.EventDeleted, broker.EventProviderChanged,
		broker.EventRevocationFailed,
	} {
		if !strings.Contains(operation.Description, "`"+string(known)+"`") {
			t.Errorf("the event %s is not documented", known)
		}
	}
}

// TestOpenAPIMethodNotAllowed asks every path for a method that it does not have.
func TestOpenAPIMethodNotAllowed(t *testing.T) {
	document := loadDocument(t)
	f := newWorld(t)
	for path, item := range document.Paths.Map() {
		methods := slices.Sorted(maps.Keys(item.Operations()))
		got := f.do(t, "BREW", strings.NewReplacer("{ref}", "mail", "{id}", "acme").Replace(path), "")
		if allow := got.header.Get("Allow"); got.status != http.StatusMethodNotAllowed || allow != strings.Join(methods, ", ") {
			t.Errorf("BREW %s = %d Allow %q, want 405 with %v", path, got.status, allow, methods)
		}
		for _, wrong := range document.checkAnswer(document.Components.Responses["MethodNotAllowed"].Value, got) {
			t.Errorf("BREW %s: %s in %s", path, wrong, got.body)
		}
	}
}

// A world is a fixture with a credential for every trouble, and three servers
// more beside its own.
type world struct {
	*fixture
	sent                 string // the last body
	toDraining, toHollow *http.Client
	toBusy               *http.Client
}

// newWorld returns a world. The second server is about to stop and refuses all;
// the third has no parts, so that whatever needs one fails unforeseen; the fourth
// has no room for any request.
func newWorld(t *testing.T) *world {
	t.Helper()
	f := &world{fixture: newFixture(t)}
	f.broker.Server = apiProvider{f.provider}
	f.inhabit(t)
	f.broker.Policy.Use("/etc/policy.yaml", []broker.Rule{{
		Name: "all", Deny: true, May: broker.AllVerbs,
		Who: broker.Who{Users: []broker.Principal{{Name: "a", ID: 1}}, Groups: []broker.Principal{{Name: "a", ID: 1}}, UIDs: []uint32{1},
			Units: []broker.Pattern{"*"}, Cgroups: []broker.Pattern{"*"}, Grants: []string{"g"}},
		On: broker.On{IDs: []broker.ID{"i"}, Names: []broker.Pattern{"*"}, Providers: []string{"p"}, Workspaces: []string{"w"}, Metadata: map[string][]string{"k": {"v"}}},
	}}, time.Now())

	draining := New(f.server.Config)
	f.toDraining = f.beside(t, draining, "d")
	draining.serving.RLock()
	t.Cleanup(draining.serving.RUnlock)
	draining.drain()
	for draining.serving.TryRLock() {
		draining.serving.RUnlock()
	}
	f.toHollow = f.beside(t, New(Config{Log: slog.New(slog.DiscardHandler)}), "h")
	busy := f.server.Config
	busy.Limits.InFlight = -1
	f.toBusy = f.beside(t, New(busy), "b")
	return f
}

// beside serves on another socket and returns a client for it.
func (f *world) beside(t *testing.T, s *Server, suffix string) *http.Client {
	t.Helper()
	path := f.path + suffix
	ln, err := Listen(path, 0o600, NoGroup)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	serve(t, s, ln, s.Handler())
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// inhabit creates what the exercises name.
func (f *world) inhabit(t *testing.T) {
	t.Helper()
	const oauth = `"authType":"oauth2","config":{"grantType":"refresh_token","accessToken":"a","refreshToken":"r","scope":"read","clientId":"c","expiresAt":"%s"}`
	const live, ended = "2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
	for _, provider := range []string{"gamma", "omega", "lost"} {
		f.must(t, 201, "POST", "/credentials/oauth2/providers", `{"id":"`+provider+`","name":"`+provider+`","apiHosts":["api.example"],
			"authorizationUrl":"https://p.example/authorize?","tokenUrl":"https://p.example/token","defaultScopes":["read"],
			"deviceAuthorizationUrl":"https://p.example/device",
			"tokenResponse":{"accessToken":["a","b.c"],"success":{"path":"ok","equals":true},"capture":{"team":"team.id"}},
			"refreshRequest":{"params":{"scope":null}},"refresh":{"lead":"5m"},"identity":{"url":"https://api.example/me"},
			"inputs":{"tenant":{"default":"common"}}}`)
	}
	f.must(t, 201, "POST", "/credentials/oauth2/providers", `{"id":"sigma","name":"sigma","issuer":"https://s.example",
		"revocationUrl":"https://s.example/revoke","revocationRequest":{"token":"access_token"}}`)
	for _, credential := range []string{
		fmt.Sprintf(`"name":"burnt","provider":"sigma",`+oauth, ended),
		fmt.Sprintf(`"name":"mail","provider":"gamma","metadata":{"team":1},"description":"Mine",`+oauth, live),
		fmt.Sprintf(`"name":"ended","provider":"gamma",`+oauth, ended),
		fmt.Sprintf(`"name":"off","provider":"gamma","isActive":false,`+oauth, live),
		fmt.Sprintf(`"name":"orphan","provider":"lost",`+oauth, live),
		fmt.Sprintf(`"name":"alone","provider":"omega",`+oauth, ended),
		`"name":"twice","authType":"bearer","config":{"token":"t"}`,
		`"name":"twice","authType":"bearer","config":{"token":"t"}`,
		`"name":"solo","authType":"apiKey","provider":"solo","config":{"apiKey":"k"}`,
		`"name":"closed","authType":"bearer","provider":"closed","isActive":false,"config":{"token":"t"}`,
		`"name":"tokenless","authType":"jwt","provider":"gamma","config":{"issuer":"i"}`,
		`"name":"kiosk","authType":"basic","provider":"kiosk","config":{"username":"u","password":"p"}`,
	} {
		f.must(t, 201, "POST", "/credentials", "{"+credential+"}")
	}
	f.age(t, f.oauth(t, "brief", time.Hour).ID, 24*time.Hour)
	f.must(t, 204, "DELETE", "/credentials/oauth2/providers/lost", "")
	f.must(t, 200, "PUT", "/credentials/oauth2/apps/gamma", `{"clientId":"c","clientSecret":"s","privateKey":"p","inputs":{"tenant":"t"}}`)
}

func (f *world) must(t *testing.T, status int, method, path, body string) {
	t.Helper()
	if got := f.do(t, method, path, body); got.status != status {
		t.Fatalf("%s %s %s = %d %s, want %d", method, path, body, got.status, got.body, status)
	}
}

// fill puts states of flows where a request wants them: of a new flow, of one
// with somewhere to return to, and of one whose credential is gone.
func (f *world) fill(t *testing.T, text string) string {
	t.Helper()
	replace := func(placeholder string, start func() string) {
		if strings.Contains(text, placeholder) {
			text = strings.ReplaceAll(text, placeholder, url.QueryEscape(start()))
		}
	}
	replace("STATE", func() string { return f.start(t, client.StartRequest{}) })
	replace("RETURNS", func() string { return f.start(t, client.StartRequest{ReturnURL: "https://front.example/done"}) })
	replace("DEVICE", func() string {
		started, err := f.client.StartDevice(t.Context(), client.DeviceRequest{ProviderID: "gamma"})
		if err != nil {
			t.Fatalf("StartDevice = %v", err)
		}
		return started.DeviceFlowID
	})
	replace("GRANT", func() string {
		minted, err := f.client.CreateGrant(t.Context(), client.GrantInput{Credentials: []string{"mail"}, TTL: "1h"})
		if err != nil {
			t.Fatalf("CreateGrant = %v", err)
		}
		return minted.ID
	})
	replace("GONE", func() string {
		state := f.start(t, client.StartRequest{ExistingCredentialID: "mail"})
		f.must(t, 204, "DELETE", "/credentials/mail", "")
		return state
	})
	return text
}

// try sends the request of a trial, under its fault.
func (f *world) try(t *testing.T, name string, good request, trial trial) exchange {
	t.Helper()
	method, _, _ := strings.Cut(name, " ")
	r := trial.request.or(good)
	path, body := f.fill(t, r.path(name)), f.fill(t, r.body)
	f.sent = body
	c := f.http
	if trial.fault != nil {
		if other := trial.fault(f); other != nil {
			c = other
		}
		defer f.heal()
	}
	if strings.HasPrefix(name, "GET /events") && trial.status == http.StatusOK {
		return f.firstEvents(t, path, r.headers)
	}
	return send(t, c, "http://localhost"+path, method, body, r.headers...)
}

func (f *world) heal() {
	f.store.Fail(nil)
	f.provider.fail(nil)
	f.refresher.fail(nil)
	f.refresher.mu.Lock()
	defer f.refresher.mu.Unlock()
	f.refresher.refresh = nil
}

// firstEvents reads a stream up to the end of its first event.
func (f *world) firstEvents(t *testing.T, path string, headers []string) exchange {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := f.http.Do(r)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer response.Body.Close()
	var text strings.Builder
	for lines := bufio.NewScanner(response.Body); lines.Scan() && lines.Text() != ""; {
		text.WriteString(lines.Text() + "\n")
	}
	return exchange{response.StatusCode, response.Header, text.String()}
}

// An apiProvider is a scriptedProvider whose authorization URL can fail, and that
// sends requests to an API which answers JSON.
type apiProvider struct{ *scriptedProvider }

func (p apiProvider) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p apiProvider) AuthorizationURL(ctx context.Context, c broker.Connection, r broker.AuthorizationRequest) (string, error) {
	if err := p.failure(); err != nil {
		return "", err
	}
	return p.scriptedProvider.AuthorizationURL(ctx, c, r)
}

func (p apiProvider) Send(context.Context, broker.APIRequest) (broker.APIResponse, error) {
	return broker.APIResponse{Status: 200, Body: []byte(`{"id":42}`)}, p.failure()
}

var errFull = errors.New("the disk is full")
