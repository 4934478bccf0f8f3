package socket

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// runners serves the runners' socket of a fixture, and returns a client for it.
func (f *fixture) runners(t testing.TB) *http.Client {
	t.Helper()
	path := f.path + "r"
	ln, err := Listen(path, 0o600, NoGroup)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, f.server, ln, f.server.RunnerHandler())
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// TestNobodyIsSpecialToRunners: on the runners' socket the daemon's own user gets
// what a rule gives it, and nothing else, however wide the rule.
func TestNobodyIsSpecialToRunners(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "mail", time.Hour)
	client := f.runners(t)
	get := func(path string) exchange { return send(t, client, "http://localhost"+path, "GET", "") }
	read := []string{"/credentials/mail/token", "/credentials/" + c.ID + "/resolve", "/credentials/mail/header", "/token?provider=acme"}
	for _, path := range read {
		if got := get(path); got.status != http.StatusNotFound {
			t.Errorf("without a rule, GET %s = %d %s, want 404", path, got.status, got.body)
		}
	}
	f.broker.Policy.Use("f", []broker.Rule{rule("all", false, broker.Who{UIDs: []uint32{uint32(os.Geteuid())}}, broker.On{}, "*")}, time.Now())
	for _, path := range append(read, "/healthz", "/readyz", "/version") {
		if got := get(path); got.status != http.StatusOK {
			t.Errorf("with a rule, GET %s = %d %s, want 200", path, got.status, got.body)
		}
	}
	if got := send(t, client, "http://localhost/credentials/mail/rejected", "POST", `{"generation":1}`); got.status != http.StatusOK {
		t.Errorf("with a rule, POST rejected = %d %s, want 200", got.status, got.body)
	}
	if got := get("/version"); got.status != http.StatusOK {
		t.Errorf("GET /version = %d", got.status)
	}
	if got := send(t, client, "http://localhost/credentials/mail/token", "GET", "", "Origin", "https://evil.example"); got.status != http.StatusForbidden {
		t.Errorf("GET token with Origin = %d, want 403", got.status)
	}
}

// TestRunnersHaveTheirEndpointsAlone asks for every other path of the full API,
// as somebody to whom a rule gives all.
func TestRunnersHaveTheirEndpointsAlone(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "mail", time.Hour)
	f.broker.Policy.Use("f", []broker.Rule{rule("all", false, broker.Who{}, broker.On{}, "*")}, time.Now())
	client := f.runners(t)
	own := f.server.runnerRoutes()
	others := 0
	for pattern, m := range f.server.routes() {
		for method := range m {
			if _, ok := own[pattern][method]; ok {
				continue
			}
			others++
			path := strings.NewReplacer("{ref}", "mail", "{id}", "acme").Replace(pattern)
			got := send(t, client, "http://localhost"+path, method, "")
			if got.status != http.StatusNotFound || !strings.Contains(got.body, "runners") {
				t.Errorf("%s %s = %d %s, want 404 and that it is the runners' socket", method, path, got.status, got.body)
			}
		}
	}
	if others < 20 {
		t.Errorf("only %d other endpoints were tried", others)
	}
	if got := f.count(t); got != 1 {
		t.Errorf("there are %d credentials afterwards, want 1", got)
	}
}
