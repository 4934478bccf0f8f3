package sandbox

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

func TestAuthorizationResponse(t *testing.T) {
	s := start(t, Config{})
	cfg := s.config()
	for name, test := range map[string]struct {
		options []oauth2.AuthCodeOption
		allow   bool
		error   string
	}{
		"allowed":     {allow: true},
		"denied":      {error: "access_denied"},
		"prompt none": {options: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "none")}, allow: true, error: "login_required"},
	} {
		t.Run(name, func(t *testing.T) {
			target, err := Decide(t.Context(), cfg.AuthCodeURL("some-state", test.options...), test.allow)
			if err != nil {
				t.Fatalf("Decide() = %v, want a redirect", err)
			}
			query := target.Query()
			if query.Get("error") != test.error || query.Has("code") != (test.error == "") {
				t.Errorf("redirect = %s, want error %q", target, test.error)
			}
			if query.Get("state") != "some-state" || query.Get("iss") != s.Issuer() {
				t.Errorf("state, iss = %q, %q, want some-state, %q", query.Get("state"), query.Get("iss"), s.Issuer())
			}
			if query.Del("code"); !strings.HasPrefix(target.String(), cfg.RedirectURL+"?") {
				t.Errorf("redirect = %s, want one to %s", target, cfg.RedirectURL)
			}
		})
	}
}

func TestRedirectURIs(t *testing.T) {
	s := start(t, Config{RedirectURIs: []string{testRedirect, "https://app.example.com/callback"}})
	for uri, allowed := range map[string]bool{
		testRedirect:                               true,
		"http://127.0.0.1:1/callback":              true,
		"http://[::1]:65535/callback":              true,
		"http://127.0.0.1:1/other":                 false,
		"http://127.0.0.1:1@evil.example/callback": false,
		"http://127.0.0.1.evil.example/callback":   false,
		"https://app.example.com/callback":         true,
		"https://app.example.com:8443/callback":    false,
		"https://app.example.com/callback?a=b":     false,
		"http://app.example.com/callback":          false,
		"":                                         false,
	} {
		cfg := s.config()
		cfg.RedirectURL = uri
		_, err := Decide(t.Context(), cfg.AuthCodeURL("s"), true)
		if (err == nil) != allowed {
			t.Errorf("authorization with redirect_uri %q: %v, want allowed %t", uri, err, allowed)
		}
	}
	cfg := s.config()
	cfg.ClientID = "somebody"
	if target, err := Decide(t.Context(), cfg.AuthCodeURL("s"), true); err == nil {
		t.Errorf("authorization of an unknown client leads to %s, want an error page", target)
	}
}

func TestConsentPage(t *testing.T) {
	s := start(t, Config{})
	cfg := s.config()
	cfg.Scopes = []string{"read", `<script>alert("x")</script>`}
	consent, err := redirect(t.Context(), http.MethodGet, cfg.AuthCodeURL("s"), nil)
	if err != nil {
		t.Fatalf("authorization = %v, want the consent page", err)
	}
	status, header, body := get(t, consent.String(), "")
	if status != http.StatusOK || strings.Contains(body, "<script>") {
		t.Errorf("consent page = %d %s, want 200 without a script", status, body)
	}
	for _, want := range []string{Person, s.ClientID(), "<code>read</code>", "<code>offline_access</code>", ">Allow<", ">Deny<"} {
		if !strings.Contains(body, want) {
			t.Errorf("consent page lacks %q", want)
		}
	}
	if policy := header.Get("Content-Security-Policy"); policy != contentPolicy {
		t.Errorf("Content-Security-Policy = %q, want %q", policy, contentPolicy)
	}
	address := s.Issuer() + consentPath
	id := consent.Query().Get("id")
	foreign := func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }
	for _, test := range []struct {
		name string
		form url.Values
		edit func(*http.Request)
		want int
	}{
		{"foreign origin", url.Values{"id": {id}, "decision": {"allow"}}, foreign, http.StatusForbidden},
		{"unknown request", url.Values{"id": {"guess"}, "decision": {"allow"}}, nil, http.StatusBadRequest},
		{"no decision", url.Values{"id": {id}}, nil, http.StatusBadRequest},
		{"allow", url.Values{"id": {id}, "decision": {"allow"}}, nil, http.StatusFound},
		{"allow again", url.Values{"id": {id}, "decision": {"allow"}}, nil, http.StatusBadRequest},
	} {
		if status, _ := post(t, address, test.form, test.edit); status != test.want {
			t.Errorf("POST %s, %s = %d, want %d", consentPath, test.name, status, test.want)
		}
	}
	if status, _, _ := get(t, consent.String(), ""); status != http.StatusBadRequest {
		t.Errorf("consent page of a decided request = %d, want 400", status)
	}
}
