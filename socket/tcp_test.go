package socket

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// serveTCP serves a handler on an address and returns it.
func serveTCP(t *testing.T, f *fixture, address string, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, f.server, ln, h)
	return ln.Addr().String()
}

// tcpHeaders are on all that the TCP listeners answer, pages and errors alike.
var tcpHeaders = map[string]string{
	"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
}

// TestRawRequestsOverTCP sends what no client of a library would.
func TestRawRequestsOverTCP(t *testing.T) {
	f := newFixture(t)
	addresses := map[string]string{
		"metrics":  serveTCP(t, f, "127.0.0.1:0", f.server.MetricsHandler()),
		"anywhere": serveTCP(t, f, "0.0.0.0:0", f.server.MetricsHandler()),
		"callback": serveTCP(t, f, "127.0.0.1:0", f.server.CallbackHandler()),
	}
	const marker = "<b>echo</b>"
	for _, test := range []struct {
		listener, request string
		want              []int
	}{
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost:9464\r\n\r\n", []int{200}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n", []int{200}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n", []int{200}},
		{"metrics", "GET /healthz HTTP/1.0\r\n\r\n", []int{200}},
		{"metrics", "GET http://127.0.0.1/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", []int{200}}, // RFC 9112, section 3.2.2
		{"metrics", "GET http://evil.example/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", []int{403}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", []int{403}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", []int{403}},
		{"metrics", "GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", []int{403}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", []int{400}},
		{"metrics", "GET /metrics HTTP/1.1\r\n\r\n", []int{400}},
		{"metrics", "GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"metrics", "GET //metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"metrics", "GET /x/../metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"metrics", "GET /%6detrics HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"metrics", "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", []int{405}},
		{"metrics", "TRACE /metrics HTTP/1.1\r\nHost: localhost\r\nX-Marker: " + marker + "\r\n\r\n", []int{405}},
		{"metrics", "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n", []int{404}},
		{"metrics", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"metrics", "GET /credentials HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"metrics", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{400, 404, 505}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", []int{200}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n", []int{400, 501}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", []int{400, 501}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", []int{400}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\n", []int{400}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\n", []int{400}},
		{"metrics", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n", []int{200, 400}},

		{"anywhere", "GET /metrics HTTP/1.1\r\nHost: invectd.monitoring.svc\r\n\r\n", []int{200}},
		{"anywhere", "GET /metrics HTTP/1.1\r\nHost: 10.1.2.3:9464\r\n\r\n", []int{200}},
		{"anywhere", "GET /credentials HTTP/1.1\r\nHost: 10.1.2.3:9464\r\n\r\n", []int{404}},

		{"callback", "GET " + callbackPath + "?state=" + marker + "&code=" + marker + " HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{400}},
		{"callback", "GET " + callbackPath + "?state=x&error=" + marker + "&error_description=" + marker + " HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{400}},
		{"callback", "GET " + callbackPath + "?state=x&code=y HTTP/1.1\r\nHost: evil.example\r\n\r\n", []int{403}},
		{"callback", "GET http://evil.example" + callbackPath + "?state=x&code=y HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{403}},
		{"callback", "GET " + callbackPath + "?state=x&code=y HTTP/1.0\r\n\r\n", []int{403}},
		{"callback", "HEAD " + callbackPath + "?state=x&code=y HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", []int{405}},
		{"callback", "POST " + callbackPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n" + marker, []int{400}},
		{"callback", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"callback", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", []int{404}},
		{"callback", "GET /" + marker + " HTTP/1.1\r\nHost: " + marker + "\r\n\r\n", []int{400, 404}},
	} {
		got := ask(t, connectTo(t, "tcp", addresses[test.listener]), test.request)
		if !slices.Contains(test.want, got.status) {
			t.Errorf("%s: %q = %d %s, want one of %v", test.listener, test.request, got.status, got.body, test.want)
		}
		if all := got.body + strings.Join(slices.Concat(got.header["Location"], got.header["Allow"]), ""); strings.Contains(all, "echo") || strings.Contains(all, "evil") {
			t.Errorf("%s: %q is echoed: %s", test.listener, test.request, all)
		}
		if strings.HasPrefix(got.header.Get("Content-Type"), "text/plain; charset=utf-8") {
			continue // net/http itself refused what it cannot read, with a fixed text
		}
		for name, want := range tcpHeaders {
			if value := got.header.Get(name); value != want {
				t.Errorf("%s: %q has %s: %q, want %q", test.listener, test.request, name, value, want)
			}
		}
		if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: %q has the policy %q, want that it forbids all", test.listener, test.request, policy)
		}
	}
}

// TestNothingIsSmuggled: what follows a request with a body is never taken for a
// request of its own.
func TestNothingIsSmuggled(t *testing.T) {
	f := newFixture(t)
	address := serveTCP(t, f, "127.0.0.1:0", f.server.MetricsHandler())
	for _, lead := range []string{
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 46\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	} {
		conn := connectTo(t, "tcp", address)
		if _, err := io.WriteString(conn, lead+"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn)
		if text := string(all); err != nil || !strings.HasPrefix(text, "HTTP/1.1 400 ") || strings.Count(text, "HTTP/1.1 ") != 1 {
			t.Errorf("%q = %s, %v, want 400 alone and that the connection ends", lead, text, err)
		}
	}
}
