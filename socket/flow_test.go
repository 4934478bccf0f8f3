package socket

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// callbackServer serves the callback over TCP as a browser finds it.
func (f *fixture) callbackServer(t *testing.T) (base string, browser *http.Client) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, f.server, ln, f.server.CallbackHandler())
	browser = &http.Client{
		Transport:     new(http.Transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(browser.CloseIdleConnections)
	return "http://" + ln.Addr().String(), browser
}

func (f *fixture) start(t *testing.T, in client.StartRequest) string {
	t.Helper()
	if in.ExistingCredentialID == "" {
		in.ProviderID, in.ClientID, in.ClientSecret = "acme", "client", "client-secret"
	}
	started, err := f.client.Start(t.Context(), in)
	if err != nil {
		t.Fatalf("Start(%+v): %v", in, err)
	}
	return started.State
}

func TestStartAndCallback(t *testing.T) {
	f := newFixture(t)
	// As Invect's web client sends it.
	started := f.do(t, "POST", "/credentials/oauth2/start", `{"providerId":"acme","clientId":"c","clientSecret":"hush","redirectUri":"https://front.example/oauth/callback",
		"credentialName":"","returnUrl":"https://elsewhere.example/x","userId":"user_123"}`)
	var reply map[string]string
	if err := json.Unmarshal([]byte(started.body), &reply); err != nil || started.status != http.StatusOK || len(reply) != 2 {
		t.Fatalf("POST start = %d %s, want authorizationUrl and state", started.status, started.body)
	}
	if !strings.HasPrefix(reply["authorizationUrl"], "https://acme.example/authorize?x=1&y=2&state="+reply["state"]) || strings.Contains(started.body, `\u0026`) {
		t.Errorf("authorizationUrl = %s, want it readable", started.body)
	}
	if f.count(t) != 0 {
		t.Error("start created a credential")
	}
	body := `{"code":"4/code","state":"` + reply["state"] + `","clientId":"c","clientSecret":"hush","redirectUri":"https://front.example/oauth/callback"}`
	done := f.do(t, "POST", "/credentials/oauth2/callback", body)
	var c client.Credential
	if err := json.Unmarshal([]byte(done.body), &c); err != nil || done.status != http.StatusOK || c.Name != "Acme" || c.Status != "active" {
		t.Fatalf("POST callback = %d %s, want the credential", done.status, done.body)
	}
	for _, secret := range []string{"exchanged", "refresh-1", "hush"} {
		if strings.Contains(done.body, secret) {
			t.Errorf("POST callback shows %q: %s", secret, done.body)
		}
	}
	if again := f.do(t, "POST", "/credentials/oauth2/callback", body); again.status != http.StatusBadRequest || !strings.Contains(again.body, "invalid_state") {
		t.Errorf("POST callback again = %d %s, want 400 invalid_state", again.status, again.body)
	}
	state := f.start(t, client.StartRequest{ExistingCredentialID: c.Name})
	other := f.do(t, "POST", "/credentials/oauth2/callback", `{"code":"c","state":"`+state+`","redirectUri":"https://evil.example/"}`)
	if other.status != http.StatusBadRequest || !strings.Contains(other.body, `"path":"redirectUri"`) {
		t.Errorf("POST callback with another redirectUri = %d %s, want 400", other.status, other.body)
	}
	if f.do(t, "POST", "/credentials/oauth2/callback", `{"code":"c","state":"`+state+`"}`).status != http.StatusBadRequest {
		t.Error("a callback that failed left its state usable")
	}
}

func TestRedirectCallback(t *testing.T) {
	f := newFixture(t)
	base, browser := f.callbackServer(t)
	get := func(query string, headers ...string) exchange {
		t.Helper()
		return send(t, browser, base+callbackPath+"?"+query, "GET", "", headers...)
	}
	query := func(state, more string) string { return "state=" + url.QueryEscape(state) + more }

	page := get(query(f.start(t, client.StartRequest{}), "&code=c"), "Origin", "https://acme.example", "Referer", "https://acme.example/")
	if page.status != http.StatusOK || !strings.Contains(page.body, "<h1>Connected</h1>") || f.count(t) != 1 {
		t.Errorf("GET callback = %d %s, want the page that says so", page.status, page.body)
	}
	_, style, _ := strings.Cut(page.body, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	hash := sha256.Sum256([]byte(style))
	if csp, want := page.header.Get("Content-Security-Policy"), base64.StdEncoding.EncodeToString(hash[:]); !strings.Contains(csp, "'sha256-"+want+"'") {
		t.Errorf("the page's policy %q does not allow its style, whose hash is %s", csp, want)
	}
	back := get(query(f.start(t, client.StartRequest{ReturnURL: "https://front.example/done?a=1#there"}), "&code=c"))
	location, err := url.Parse(back.header.Get("Location"))
	if err != nil || back.status != http.StatusSeeOther || location.Host != "front.example" || location.Fragment != "there" || location.Query().Get("a") != "1" || location.Query().Get("credential_id") == "" {
		t.Errorf("GET callback = %d Location %q, want 303 with credential_id", back.status, back.header.Get("Location"))
	}
	if back.header.Get("Referrer-Policy") != "no-referrer" || back.header.Get("Cache-Control") != "no-store" || back.body != "" {
		t.Errorf("303 has header %v and body %q, want no-referrer, no-store and no body", back.header, back.body)
	}

	for _, test := range []struct {
		query, host string
		provider    error
		status      int
		code, text  string
	}{
		{"&error=access_denied&error_description=x", "", nil, 403, "access_denied", "Access was not granted"},
		{"&error=server_error", "", nil, 502, "provider_error", "could not be completed"},
		{"", "", nil, 400, "invalid_request", "could not be completed"},
		{"&code=c", "", &broker.ProviderError{Op: "exchange", Sent: broker.SentAnswered, Status: 400, Code: "invalid_grant"}, 502, "provider_error", "could not be completed"},
		{"&code=c", "", &broker.ProviderError{Op: "exchange", Timeout: true}, 502, "provider_timeout", "could not be completed"},
		{"&code=c", "", broker.ErrStoreUnavailable, 502, "store_unavailable", "could not be completed"},
		{"&code=c", "", errors.New("unforeseen"), 502, "internal", "could not be completed"},
		{"&code=c", "rebound.example", nil, 403, "", "Not here"},
	} {
		f.provider.fail(test.provider)
		headers := []string{}
		if test.host != "" {
			headers = []string{"Host", test.host}
		}
		shown := get(query(f.start(t, client.StartRequest{}), test.query), headers...)
		if shown.status != test.status || !strings.Contains(shown.body, test.text) {
			t.Errorf("GET callback?%s (%v) = %d %s, want %d with %q", test.query, test.provider, shown.status, shown.body, test.status, test.text)
		}
		if test.code == "" {
			continue
		}
		sent := get(query(f.start(t, client.StartRequest{ReturnURL: "https://front.example/done"}), test.query), headers...)
		if want := "https://front.example/done?oauth_error=" + test.code; sent.status != http.StatusSeeOther || sent.header.Get("Location") != want {
			t.Errorf("GET callback?%s = %d Location %q, want 303 to %q", test.query, sent.status, sent.header.Get("Location"), want)
		}
	}
	for _, unknown := range []string{"", "code=c", "state=unknown&code=c", "state=" + strings.Repeat("a", 8000)} {
		if got := get(unknown); got.status != http.StatusBadRequest || !strings.Contains(got.body, "does not work any more") {
			t.Errorf("GET callback?%.40s = %d, want the page with 400", unknown, got.status)
		}
		if got := get(unknown, "Host", "rebound.example"); got.status != http.StatusForbidden {
			t.Errorf("GET callback?%.40s from another host = %d, want 403", unknown, got.status)
		}
	}
}

// TestCallbackEchoesNothing sends markup in every part of the request.
func TestCallbackEchoesNothing(t *testing.T) {
	f := newFixture(t)
	base, browser := f.callbackServer(t)
	for _, evil := range []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "javascript:alert(1)", "{{.Title}}", "\x00\r\nSet-Cookie: a=b",
		"'-alert(1)-'", strings.Repeat("<b>", 3000),
	} {
		for _, name := range []string{"error", "error_description", "error_uri", "state", "code", "iss"} {
			for _, state := range []string{"unknown", f.start(t, client.StartRequest{})} {
				q := url.Values{"state": {state}, name: {evil}}
				got := send(t, browser, base+callbackPath+"?"+q.Encode(), "GET", "")
				if strings.Contains(got.body, evil) || strings.Contains(got.body, "alert") || strings.Contains(got.body, state) {
					t.Errorf("%s=%.30q: the page echoes it: %s", name, evil, got.body)
				}
				for header, values := range got.header {
					if strings.Contains(strings.Join(values, ""), "alert") || header == "Set-Cookie" {
						t.Errorf("%s=%.30q: header %s: %v", name, evil, header, values)
					}
				}
				csp := got.header.Get("Content-Security-Policy")
				if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") ||
					got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Referrer-Policy") != "no-referrer" || got.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s=%.30q: header %v, want all that protects the page", name, evil, got.header)
				}
			}
		}
	}
	if log := f.log.String(); strings.Contains(log, "<b>") || strings.Contains(log, "<script") {
		t.Errorf("log = %s, want nothing of the request in it", log)
	}
}

// TestCallbackHasOnePath: other methods and paths do not spend a state.
func TestCallbackHasOnePath(t *testing.T) {
	f := newFixture(t)
	base, browser := f.callbackServer(t)
	state := f.start(t, client.StartRequest{})
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
		if got := send(t, browser, base+callbackPath+"?code=c&state="+state, method, ""); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET" {
			t.Errorf("%s callback = %d, want 405", method, got.status)
		}
	}
	for _, path := range []string{"/", "/credentials", "/credentials/", "/status", "/healthz", "/credentials//oauth2/callback", callbackPath + "/", "/x/.." + callbackPath, "/credentials/oauth2%2Fcallback"} {
		got := send(t, browser, base+path+"?code=c&state="+state, "GET", "")
		if got.status != http.StatusNotFound || got.header.Get("Location") != "" || !strings.Contains(got.body, "not_found") {
			t.Errorf("GET %s = %d %s, want 404", path, got.status, got.body)
		}
	}
	if got := send(t, browser, base+callbackPath+"?code=c&state="+state, "GET", ""); got.status != http.StatusOK {
		t.Errorf("GET callback = %d, want that its state is still good", got.status)
	}
}

func TestParallelCallbacksSpendTheStateOnce(t *testing.T) {
	f := newFixture(t)
	base, browser := f.callbackServer(t)
	state := f.start(t, client.StartRequest{})
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			var status int
			if i%2 == 0 {
				status = send(t, browser, base+callbackPath+"?code=c&state="+state, "GET", "").status
			} else {
				status = f.do(t, "POST", callbackPath, `{"code":"c","state":"`+state+`"}`).status
			}
			switch status {
			case http.StatusOK:
				won.Add(1)
			case http.StatusBadRequest:
				lost.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 39 || f.provider.exchanges != 1 || f.count(t) != 1 {
		t.Errorf("%d won, %d lost, %d exchanges, %d credentials; want 1, 39, 1, 1", won.Load(), lost.Load(), f.provider.exchanges, f.count(t))
	}
}
