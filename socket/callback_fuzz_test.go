package socket

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzCallbackQuery: whatever comes back with a browser, the answer is one of the
// few that the contract has, and says nothing that came with it.
func FuzzCallbackQuery(f *testing.F) {
	fixture := newFixture(f)
	handler := fixture.server.CallbackHandler()
	shown := func(query string) (int, string, http.Header) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, callbackPath, nil)
		r.Host = "127.0.0.1:8765"
		r.URL.RawQuery = query
		handler.ServeHTTP(w, r)
		return w.Code, w.Body.String(), w.Result().Header
	}
	_, refused, _ := shown("state=unknown&code=c")
	for _, seed := range []string{
		"", "state=x", "state=&code=", "state=x&code=c&iss=https://a.example", "error=access_denied&state=x",
		"error=<script>alert(1)</script>", "state=x&state=y", "state=%00", "%zz", "a;b", "state=" + strings.Repeat("x", 5000),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		status, body, header := shown(query)
		if status != http.StatusBadRequest || body != refused {
			t.Fatalf("%q = %d %s, want the page of an unknown state", query, status, body)
		}
		if header.Get("Location") != "" || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%q got headers %v", query, header)
		}
		if values, err := url.ParseQuery(query); err == nil && len(values.Get("state")) > 20 && strings.Contains(body, values.Get("state")) {
			t.Fatalf("%q is echoed", query)
		}
	})
}
