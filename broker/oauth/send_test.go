package oauth

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/invectd/invectd/broker"
)

func TestSend(t *testing.T) {
	api := record(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "https://evil.example/")
		w.WriteHeader(http.StatusFound)
		io.WriteString(w, "moved")
	})
	got, err := newClient(t).Send(t.Context(), broker.APIRequest{
		Method: "PUT", URL: api.URL + "/x", Headers: map[string]string{"X-Own": "1", "": ""}, Body: []byte("b"),
	})
	if err != nil || got.Status != http.StatusFound || string(got.Body) != "moved" {
		t.Errorf("Send = %d %q, %v, want the redirect itself", got.Status, got.Body, err)
	}
	if seen := api.seen[0]; len(api.seen) != 1 || seen.Method != "PUT" || seen.Header.Get("X-Own") != "1" || seen.body != "b" {
		t.Errorf("the API saw %v", api.seen)
	}
}

// TestSendRefused shows that nothing is sent to an address that is not public,
// however it is written.
func TestSendRefused(t *testing.T) {
	inside := record(t, saysJSON(`{}`))
	closed := New(Config{}) // allows no private address
	defer closed.Close()
	port := inside.Listener.Addr().String()[len("127.0.0.1"):]
	for _, url := range []string{
		inside.URL, "http://localhost" + port, "http://[::1]" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port,
		"http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://192.168.1.1/", "http://[fe80::1]/", "http://[fd00::1]/",
		"http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://100.64.0.1/", "https://127.0.0.1" + port,
	} {
		_, err := closed.Send(t.Context(), broker.APIRequest{Method: "GET", URL: url})
		if _, ok := errors.AsType[*broker.InvalidError](err); !ok {
			t.Errorf("Send to %s = %v, want an InvalidError", url, err)
		}
	}
	if len(inside.seen) != 0 {
		t.Errorf("%d requests came through", len(inside.seen))
	}
	_, err := newClient(t).Send(t.Context(), broker.APIRequest{Method: "GET", URL: inside.URL, Headers: map[string]string{"host": "x"}})
	if _, ok := errors.AsType[*broker.InvalidError](err); !ok {
		t.Errorf("a Host header: %v, want an InvalidError", err)
	}
}

// TestSeveralTokens plays Slack's answer, whose user token lies beside the bot's
// (docs.slack.dev, oauth.v2.access, read 2026-11-25).
func TestSeveralTokens(t *testing.T) {
	shape := broker.TokenResponseShape{
		Success: &broker.SuccessCheck{Path: "ok", Equals: true},
		Tokens:  map[string]string{"user": "authed_user"},
	}
	for _, test := range []struct{ name, body, first, user string }{
		{"both", `{"ok":true,"access_token":"xoxb-1","scope":"chat:write","authed_user":{"id":"U1","scope":"search:read","access_token":"xoxp-2","refresh_token":"xoxe-3","expires_in":43200}}`, "xoxb-1", "xoxp-2"},
		{"bot alone", `{"ok":true,"access_token":"xoxb-1","authed_user":{"id":"U1"}}`, "xoxb-1", ""},
		{"user alone", `{"ok":true,"authed_user":{"id":"U1","access_token":"xoxp-2"}}`, "xoxp-2", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, saysJSON(test.body))
			k := connection(provider.URL)
			k.Definition.TokenResponse = shape
			token, err := newClient(t).Exchange(t.Context(), k, broker.CodeExchange{Code: broker.NewSecret("c"), RedirectURI: "https://x.example/"})
			if err != nil {
				t.Fatal(err)
			}
			if got := token.AccessToken.Reveal(); got != test.first {
				t.Errorf("the token is %q, want %q", got, test.first)
			}
			user, has := token.Others["user"]
			if got := user.AccessToken.Reveal(); got != test.user || has != (test.user != "") {
				t.Errorf("the user's token is %q, want %q", got, test.user)
			}
			if test.user != "" && (user.RefreshToken.Reveal() != "xoxe-3" || user.Scope != "search:read" || user.ExpiresAt.IsZero()) {
				t.Errorf("the user's token came without what belongs to it: %+v", user)
			}
		})
	}
}
