package oauth

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/invectd/invectd/broker"
)

const goodAnswer = `{"access_token":"` + canaryAccess + `","token_type":"bearer","expires_in":3600}`

func TestRequestShapes(t *testing.T) {
	null := (*string)(nil)
	basic := "Basic Y2xpZW50K2lkOmNhbmFyeS1jbGllbnQtc2VjcmV0JTJGJTJCJUMzJUJD" // client+id:canary-client-secret%2F%2B%C3%BC
	for _, test := range []struct {
		name    string
		edit    func(*broker.Connection)
		path    string
		query   url.Values
		body    string
		headers map[string]string
	}{
		{
			name: "standard",
			edit: func(*broker.Connection) {},
			path: "/token",
			body: "client_id=client+id&client_secret=canary-client-secret%2F%2B%C3%BC&grant_type=refresh_token&refresh_token=" + canaryRefresh,
			headers: map[string]string{
				"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json",
				"User-Agent": "invectd", "Authorization": "", "Accept-Encoding": "", "Cookie": "",
			},
		},
		{
			name:    "basic, form-encoded first",
			edit:    func(k *broker.Connection) { k.Definition.ClientAuthentication = broker.ClientSecretBasic },
			path:    "/token",
			body:    "grant_type=refresh_token&refresh_token=" + canaryRefresh,
			headers: map[string]string{"Authorization": basic},
		},
		{
			name: "basic without a secret is a public client",
			edit: func(k *broker.Connection) {
				k.Definition.ClientAuthentication = broker.ClientSecretBasic
				k.Client.Secret = broker.Secret{}
			},
			path:    "/token",
			body:    "client_id=client+id&grant_type=refresh_token&refresh_token=" + canaryRefresh,
			headers: map[string]string{"Authorization": ""},
		},
		{
			name: "json with headers, params and renames, refresh over token",
			edit: func(k *broker.Connection) {
				k.Inputs = map[string]string{"region": "eu"}
				k.Definition.ClientAuthentication = broker.ClientSecretBasic
				k.Definition.TokenRequest = broker.TokenRequest{
					Format:  "json",
					Headers: map[string]string{"X-Region": "{region}", "X-Over": "token"},
					Params:  map[string]*string{"realm": new("{region}-{client_id}-{other}"), "over": new("token"), "empty": new("")},
					Rename:  map[string]string{"refresh_token": "rt"},
				}
				k.Definition.RefreshRequest = broker.TokenRequest{
					URL:     k.Definition.TokenURL + "/again?at={region}",
					Headers: map[string]string{"X-Over": "refresh", "Accept": "text/plain"},
					Params:  map[string]*string{"grant_type": null, "over": new("refresh")},
				}
			},
			path:    "/token/again",
			query:   url.Values{"at": {"eu"}},
			body:    `{"over":"refresh","realm":"eu-client id-{other}","rt":"` + canaryRefresh + `"}`,
			headers: map[string]string{"Content-Type": "application/json", "X-Region": "eu", "X-Over": "refresh", "Accept": "text/plain", "Authorization": basic},
		},
		{
			name: "query",
			edit: func(k *broker.Connection) {
				k.Definition.ClientAuthentication = broker.ClientAuthNone
				k.Definition.TokenURL += "?own=1"
				k.Definition.TokenRequest.Format = "query"
			},
			path:    "/token",
			query:   url.Values{"own": {"1"}, "client_id": {"client id"}, "grant_type": {"refresh_token"}, "refresh_token": {canaryRefresh}},
			headers: map[string]string{"Content-Type": ""},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, saysJSON(goodAnswer))
			k := connection(provider.URL + "/token")
			test.edit(&k)
			if _, err := refreshAt(t, k); err != nil {
				t.Fatal(err)
			}
			got := provider.requests()
			if len(got) != 1 {
				t.Fatalf("requests = %d, want 1", len(got))
			}
			if got[0].Method != "POST" || got[0].URL.Path != test.path || got[0].URL.Query().Encode() != test.query.Encode() || got[0].body != test.body {
				t.Errorf("request = %s %s %q, want POST %s?%s %q", got[0].Method, got[0].URL, got[0].body, test.path, test.query.Encode(), test.body)
			}
			for name, want := range test.headers {
				if value := got[0].Header.Get(name); value != want {
					t.Errorf("header %s = %q, want %q", name, value, want)
				}
			}
		})
	}
}

func TestRevokeSpeaksTheFormatOfTokenRequests(t *testing.T) {
	provider := record(t, saysJSON(`{}`))
	k := connection(provider.URL + "/token")
	k.Definition.RevocationURL = provider.URL + "/revoke"
	k.Definition.ClientAuthentication = broker.ClientSecretBasic
	k.Definition.TokenRequest = broker.TokenRequest{
		Format: "json", Headers: map[string]string{"Notion-Version": "2022-06-28"}, Params: map[string]*string{"realm": new("x")},
	}
	if err := newClient(t).Revoke(t.Context(), k, broker.NewSecret(canaryRefresh), "refresh_token"); err != nil {
		t.Fatal(err)
	}
	got := provider.requests()[0]
	var body map[string]string
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatal(err)
	}
	if len(body) != 2 || body["token"] != canaryRefresh || body["token_type_hint"] != "refresh_token" {
		t.Errorf("body = %v, want token and token_type_hint", body)
	}
	if got.Header.Get("Notion-Version") == "" || got.Header.Get("Authorization") == "" {
		t.Errorf("headers = %v, want Notion-Version and Authorization", got.Header)
	}
}
