package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// vendor returns a connection to a provider whose definition is given in the
// JSON of the contract, with $ for where it lives.
func vendor(t *testing.T, at *recorder, definition string) broker.Connection {
	t.Helper()
	k := connection("")
	k.Definition = broker.Definition{}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(definition, "$", at.URL)), &k.Definition); err != nil {
		t.Fatal(err)
	}
	if err := k.Definition.Check(loopback); err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	google = `{"id":"google","name":"Google","authorizationUrl":"https://accounts.google.com/o/oauth2/v2/auth","tokenUrl":"$/token",
		"refresh":{"rotation":"never"},"revocationUrl":"$/revoke","identity":{"url":"$/userinfo","subject":"sub","label":"email"}}`
	github = `{"id":"github","name":"GitHub","authorizationUrl":"https://github.com/login/oauth/authorize","tokenUrl":"$/login/oauth/access_token",
		"tokenResponse":{"reauthErrors":["bad_refresh_token"]},"identity":{"url":"$/user","subject":"id","label":"login"}}`
	slack = `{"id":"slack","name":"Slack","authorizationUrl":"https://slack.com/oauth/v2/authorize","tokenUrl":"$/api/oauth.v2.access",
		"scopeSeparator":",","pkce":"none","clientAuthentication":"client_secret_basic","revocationUrl":"$/api/auth.revoke",
		"tokenResponse":{"accessToken":["access_token","authed_user.access_token"],"refreshToken":["refresh_token","authed_user.refresh_token"],
			"expiresIn":["expires_in","authed_user.expires_in"],"scope":["scope","authed_user.scope"],
			"success":{"path":"ok","equals":true},"reauthErrors":["invalid_refresh_token","token_expired"],"capture":{"team_id":"team.id"}},
		"identity":{"url":"$/api/auth.test","method":"POST","subject":"user_id","label":"team"}}`
	notion = `{"id":"notion","name":"Notion","authorizationUrl":"https://api.notion.com/v1/oauth/authorize","tokenUrl":"$/v1/oauth/token","pkce":"none",
		"clientAuthentication":"client_secret_basic","tokenRequest":{"format":"json","headers":{"Notion-Version":"2022-06-28"}},
		"tokenResponse":{"capture":{"workspace_id":"workspace_id"}}}`
	linear = `{"id":"linear","name":"Linear","authorizationUrl":"https://linear.app/oauth/authorize","tokenUrl":"$/oauth/token","scopeSeparator":",",
		"identity":{"url":"$/graphql","method":"POST","body":"{\"query\":\"{ viewer { id name } }\"}","subject":"data.viewer.id","label":"data.viewer.name"}}`
	atlassian = `{"id":"jira","name":"Jira","authorizationUrl":"https://auth.atlassian.com/authorize","tokenUrl":"$/oauth/token","tokenRequest":{"format":"json"},
		"identity":{"url":"$/oauth/token/accessible-resources","subject":"0.id","label":"0.name"}}`
)

func TestVendorTokens(t *testing.T) {
	for _, test := range []struct {
		name, definition, contentType, answer string
		scope                                 string
		life                                  time.Duration
		refresh                               string
		captured                              map[string]any
	}{
		{
			"google", google, "application/json; charset=utf-8",
			"{\n  \"access_token\": \"a\",\n  \"expires_in\": 3599,\n  \"scope\": \"openid email\",\n  \"token_type\": \"Bearer\", \"id_token\": \"x.y.z\"\n}",
			"openid email", 3599 * time.Second, "", nil,
		},
		{
			"github", github, "application/x-www-form-urlencoded; charset=utf-8",
			"access_token=a&expires_in=28800&refresh_token=ghr_1&refresh_token_expires_in=15897600&scope=repo%2Cgist&token_type=bearer",
			"repo gist", 8 * time.Hour, "ghr_1", nil,
		},
		{
			"slack bot", slack, "application/json",
			`{"ok":true,"access_token":"a","token_type":"bot","scope":"chat:write,team:read","expires_in":43200,"refresh_token":"xoxe-1","team":{"id":"T1","name":"x"},"authed_user":{"id":"U1"}}`,
			"chat:write team:read", 12 * time.Hour, "xoxe-1", map[string]any{"team_id": "T1"},
		},
		{
			"slack user", slack, "application/json",
			`{"ok":true,"team":{"id":"T1"},"authed_user":{"id":"U1","access_token":"a","scope":"search:read","expires_in":43200,"refresh_token":"xoxe-2"}}`,
			"search:read", 12 * time.Hour, "xoxe-2", map[string]any{"team_id": "T1"},
		},
		{
			"notion", notion, "application/json",
			`{"access_token":"a","token_type":"bearer","refresh_token":"nrt_1","bot_id":"b","workspace_id":"w","workspace_name":null,"owner":{"type":"user"}}`,
			"", 0, "nrt_1", map[string]any{"workspace_id": "w"},
		},
		{
			"linear list", linear, "application/json",
			`{"access_token":"a","token_type":"Bearer","expires_in":86399,"refresh_token":"l1","scope":["read","write"]}`,
			"read write", 86399 * time.Second, "l1", nil,
		},
		{
			"atlassian", atlassian, "application/json",
			`{"access_token":"a","expires_in":3600,"token_type":"Bearer","refresh_token":"j1","scope":"read:jira-work offline_access"}`,
			"read:jira-work offline_access", time.Hour, "j1", nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, says(http.StatusOK, test.contentType, test.answer))
			got, err := refreshAt(t, vendor(t, provider, test.definition))
			if err != nil {
				t.Fatal(err)
			}
			if got.AccessToken.Reveal() != "a" || got.RefreshToken.Reveal() != test.refresh || got.Scope != test.scope {
				t.Errorf("Refresh = %q, %q, scope %q, want a, %q, scope %q", got.AccessToken.Reveal(), got.RefreshToken.Reveal(), got.Scope, test.refresh, test.scope)
			}
			if !maps.Equal(got.Captured, test.captured) {
				t.Errorf("Captured = %v, want %v", got.Captured, test.captured)
			}
			left := time.Until(got.ExpiresAt)
			if test.life == 0 && !got.ExpiresAt.IsZero() || test.life > 0 && (left > test.life || left < test.life-5*time.Second) {
				t.Errorf("ExpiresAt in %v, want %v", left, test.life)
			}
		})
	}
}

func TestVendorErrors(t *testing.T) {
	for _, test := range []struct {
		name, definition string
		status           int
		contentType      string
		answer           string
		code             string
		reauth           bool
	}{
		{"google", google, 400, "application/json", `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, "invalid_grant", true},
		{"github form", github, 200, "application/x-www-form-urlencoded", `error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect`, "bad_refresh_token", true},
		{"github json", github, 200, "application/json", `{"error":"incorrect_client_credentials","error_uri":"x"}`, "incorrect_client_credentials", false},
		{"slack", slack, 200, "application/json", `{"ok":false,"error":"invalid_refresh_token"}`, "invalid_refresh_token", true},
		{"slack client", slack, 200, "application/json", `{"ok":false,"error":"bad_client_secret"}`, "bad_client_secret", false},
		{"slack silent", slack, 200, "application/json", `{"access_token":"a"}`, "", false},
		{"notion", notion, 400, "application/json", `{"error":"invalid_grant","request_id":"r"}`, "invalid_grant", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, says(test.status, test.contentType, test.answer))
			_, err := refreshAt(t, vendor(t, provider, test.definition))
			failed := providerError(t, err)
			if failed.Code != test.code || failed.Reauth != test.reauth || failed.Status != test.status || failed.Sent != broker.SentAnswered {
				t.Errorf("Refresh = %+v, want %d %q, Reauth %v", *failed, test.status, test.code, test.reauth)
			}
			if test.code == "" && !errors.Is(err, errSaysFailed) {
				t.Errorf("Refresh = %v, want %v", err, errSaysFailed)
			}
		})
	}
}

func TestVendorRequests(t *testing.T) {
	provider := record(t, saysJSON(`{"access_token":"a"}`))
	if _, err := refreshAt(t, vendor(t, provider, notion)); err != nil {
		t.Fatal(err)
	}
	got := provider.requests()[0]
	if want := fmt.Sprintf(`{"grant_type":"refresh_token","refresh_token":%q}`, canaryRefresh); got.body != want ||
		got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Notion-Version") != "2022-06-28" || got.Header.Get("Authorization") == "" {
		t.Errorf("Notion is sent %s %v, want %s with Basic and a version", got.body, got.Header, want)
	}
}

func TestIdentities(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, test := range []struct {
		name, definition string
		status           int
		answer           string
		want             broker.Identity
		fails            bool
		code             string
	}{
		{"google", google, 200, `{"sub":"10769150350006150715113082367","email":"ann@example.com"}`, broker.Identity{Subject: "10769150350006150715113082367", Label: "ann@example.com"}, false, ""},
		{"github", github, 200, `{"login":"octocat","id":583231,"error":"of another kind"}`, broker.Identity{Subject: "583231", Label: "octocat"}, false, ""},
		{"github 401", github, 401, `{"message":"Bad credentials"}`, broker.Identity{}, true, ""},
		{"github 403", github, 403, ``, broker.Identity{}, true, ""},
		{"slack", slack, 200, `{"ok":true,"user_id":"U1","team":"Acme"}`, broker.Identity{Subject: "U1", Label: "Acme"}, false, ""},
		{"slack dead", slack, 200, `{"ok":false,"error":"invalid_auth"}`, broker.Identity{}, true, "invalid_auth"},
		{"linear", linear, 200, `{"data":{"viewer":{"id":"l","name":"Ann"}}}`, broker.Identity{Subject: "l", Label: "Ann"}, false, ""},
		{"linear dead", linear, 200, `{"errors":[{"message":"` + canaryAccess + `"}],"data":null}`, broker.Identity{}, true, ""},
		{"linear no errors", linear, 200, `{"errors":[],"data":{"viewer":{"id":"l"}}}`, broker.Identity{Subject: "l"}, false, ""},
		{"atlassian", atlassian, 200, `[{"id":"cloud","name":"site"}]`, broker.Identity{Subject: "cloud", Label: "site"}, false, ""},
		{"atlassian empty", atlassian, 200, `[]`, broker.Identity{}, false, ""},
		{"HTML", google, 200, `<html>`, broker.Identity{}, true, ""},
		{"escapes and length", google, 200, `{"sub":"a\u001b[31m\n\u202eb","email":"` + long + `"}`, broker.Identity{Subject: "a[31mb", Label: long[:256]}, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, says(test.status, "application/json", test.answer))
			got, err := newClient(t).Identify(t.Context(), vendor(t, provider, test.definition), broker.NewSecret(canaryAccess))
			if request := provider.requests()[0]; request.Header.Get("Authorization") != "Bearer "+canaryAccess {
				t.Errorf("Authorization = %q, want the token", request.Header.Get("Authorization"))
			}
			if test.fails {
				if failed := providerError(t, err); failed.Status != test.status || failed.Code != test.code {
					t.Errorf("Identify = %+v, want %d %q", *failed, test.status, test.code)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("Identify = %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestLinearIsSentGraphQL(t *testing.T) {
	provider := record(t, saysJSON(`{"data":{}}`))
	if _, err := newClient(t).Identify(t.Context(), vendor(t, provider, linear), broker.NewSecret("x")); err != nil {
		t.Fatal(err)
	}
	got := provider.requests()[0]
	if want := `{"query":"{ viewer { id name } }"}`; got.Method != "POST" || got.body != want || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("request = %s %s, want POST %s", got.Method, got.body, want)
	}
}

func TestRevocations(t *testing.T) {
	for _, test := range []struct {
		name, definition string
		status           int
		answer           string
		code             string // of the error; "none" for an error without one
	}{
		{"empty 200", google, 200, ``, ""},
		{"JSON 200", google, 200, `{}`, ""},
		{"204", google, 204, ``, ""},
		{"already dead", google, 400, `{"error":"invalid_token"}`, ""},
		{"unsupported", google, 400, `{"error":"unsupported_token_type"}`, "unsupported_token_type"},
		{"unavailable", google, 503, ``, "none"},
		{"slack", slack, 200, `{"ok":true,"revoked":true}`, ""},
		{"slack silent", slack, 200, `{}`, ""},
		{"error in a 200", google, 200, `{"error":"server_error"}`, "server_error"},
		{"slack refuses", slack, 200, `{"ok":false,"error":"invalid_auth"}`, "invalid_auth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, says(test.status, "application/json", test.answer))
			err := newClient(t).Revoke(t.Context(), vendor(t, provider, test.definition), broker.NewSecret(canaryRefresh), "refresh_token")
			if test.code == "" {
				if err != nil {
					t.Errorf("Revoke = %v, want nil", err)
				}
				return
			}
			failed := providerError(t, err)
			if want := strings.TrimPrefix(test.code, "none"); failed.Code != want || failed.Op != "revoke" || failed.Status != test.status {
				t.Errorf("Revoke = %+v, want revoke %d %q", *failed, test.status, want)
			}
		})
	}
}
