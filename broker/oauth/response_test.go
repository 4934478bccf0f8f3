package oauth

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func TestScopes(t *testing.T) {
	for _, test := range []struct{ answer, separator, want string }{
		{`"a b"`, "", "a b"}, {`"a,b"`, "", "a b"}, {`"a, b"`, ",", "a b"}, {`"a+b"`, "+", "a b"}, {`["a","b c",1]`, "", "a b c"},
		{`""`, "", ""}, {`null`, "", ""}, {`{}`, "", ""}, {`7`, "", ""}, {`"a\r\nb\u0000c"`, "", "a b c"}, {`" a  b "`, "", "a b"},
	} {
		value, err := parseJSON([]byte(`{"scope":` + test.answer + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got, given := scopeAt(value, broker.Paths{"scope"}, test.separator)
		if wantGiven := test.answer[0] == '"' || test.answer[0] == '['; got != test.want || given != wantGiven {
			t.Errorf("scope %s separated by %q = %q, %v, want %q, %v", test.answer, test.separator, got, given, test.want, wantGiven)
		}
	}
}

func TestLookup(t *testing.T) {
	value, err := parseJSON([]byte(`{"a":{"b":[{"c":1},null]},"":2,"x":false}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"a.b.0.c": json.Number("1"), "a.b.1": nil, "x": false, "": json.Number("2"),
	} {
		if got, ok := lookup(value, path); !ok || got != want {
			t.Errorf("lookup(%q) = %v, %v, want %v", path, got, ok, want)
		}
	}
	for _, path := range []string{"b", "a.b.2", "a.b.-1", "a.b.c", "a.b.0.c.d", "a..b", "x.y"} {
		if got, ok := lookup(value, path); ok {
			t.Errorf("lookup(%q) = %v, want nothing", path, got)
		}
	}
}

func TestSuccessChecks(t *testing.T) {
	for _, test := range []struct {
		answer string
		equals any
		want   bool
	}{
		{`{"ok":true}`, true, true}, {`{"ok":false}`, true, false}, {`{"ok":"true"}`, true, false}, {`{}`, true, false},
		{`{"ok":0}`, 0, true}, {`{"ok":0}`, 0.0, true}, {`{"ok":0}`, json.Number("0"), true}, {`{"ok":1}`, 0, false},
		{`{"ok":"success"}`, "success", true}, {`{"ok":null}`, nil, true},
	} {
		value, err := parseJSON([]byte(test.answer))
		if err != nil {
			t.Fatal(err)
		}
		shape := &broker.TokenResponseShape{Success: &broker.SuccessCheck{Path: "ok", Equals: test.equals}}
		if _, refused := refusalIn(shape, http.StatusOK, value); refused == test.want {
			t.Errorf("success of %s where %v is wanted = %v, want %v", test.answer, test.equals, !refused, test.want)
		}
	}
}

// FuzzTokenResponse holds what the rest of the daemon relies on, whatever a
// provider says: an error comes without a token; a token fits into a header,
// lives no longer than allowed, and reads the same from its standard form.
func FuzzTokenResponse(f *testing.F) {
	for _, seed := range []string{
		goodAnswer, `{"access_token":"a","refresh_token":null,"expires_in":"60","scope":["a","b"]}`,
		`{"ok":true,"authed_user":{"access_token":"x","expires_in":1e400}}`, `access_token=a&scope=b%2Cc&expires_in=5`,
		`{"error":"invalid_grant"}`, `{"access_token":"e30.eyJleHAiOjF9.x"}`, `[]`, "", `{"access_token":"a","access_token":"b"}`,
	} {
		f.Add(200, "application/json", seed)
		f.Add(400, "application/x-www-form-urlencoded", seed)
	}
	d := &broker.Definition{TokenResponse: broker.TokenResponseShape{
		AccessToken: broker.Paths{"access_token", "authed_user.access_token"}, Capture: map[string]string{"team": "team.id"},
	}}
	asked := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		token, refused := readToken(d, answer{status, http.Header{"Content-Type": {contentType}}, []byte(body)}, asked)
		if refused != nil {
			if !token.AccessToken.Empty() || !token.RefreshToken.Empty() || token.Captured != nil {
				t.Fatal("a refusal came with a token")
			}
			if code := cleanCode(refused.code, nil); len(code) > 40 || strings.ContainsFunc(code, func(r rune) bool { return r < '0' || r > 'z' }) {
				t.Fatalf("code = %q, want a short one", code)
			}
			return
		}
		access := token.AccessToken.Reveal()
		if status/100 != 2 || access == "" || strings.ContainsFunc(access, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("access token of status %d = %q, want visible ASCII of a 2xx", status, access)
		}
		if !token.ExpiresAt.IsZero() && (token.ExpiresAt.Before(asked) || token.ExpiresAt.After(asked.Add(maxLifetime))) {
			t.Fatalf("ExpiresAt = %v, want none or within ten years", token.ExpiresAt)
		}
		standard := map[string]any{"access_token": access, "refresh_token": token.RefreshToken.Reveal(), "scope": token.Scope}
		if !token.ExpiresAt.IsZero() {
			standard["expires_in"] = int64(token.ExpiresAt.Sub(asked) / time.Second)
		}
		again, err := json.Marshal(standard)
		if err != nil {
			t.Fatal(err)
		}
		second, refused := readToken(&broker.Definition{}, answer{200, http.Header{}, again}, asked)
		if refused != nil || !second.AccessToken.Equal(token.AccessToken) || !second.RefreshToken.Equal(token.RefreshToken) ||
			second.Scope != token.Scope || !second.ExpiresAt.Equal(token.ExpiresAt) {
			t.Fatalf("reading %s again = %+v, want the same", again, second)
		}
	})
}
