package oauth

import (
	"net/http"
	"testing"

	"github.com/invectd/invectd/broker"
)

func TestRevocationRequests(t *testing.T) {
	null := (*string)(nil)
	basic := "Basic Y2xpZW50K2lkOmNhbmFyeS1jbGllbnQtc2VjcmV0JTJGJTJCJUMzJUJD"
	client := "client_id=client+id&client_secret=canary-client-secret%2F%2B%C3%BC"
	for _, test := range []struct {
		name    string
		edit    func(*broker.Definition)
		request string
		body    string
		headers map[string]string
	}{
		{
			"RFC 7009", func(*broker.Definition) {}, "POST /revoke",
			client + "&token=" + canaryRefresh + "&token_type_hint=refresh_token",
			map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "Authorization": ""},
		},
		{
			"everything else", func(d *broker.Definition) {
				d.RevocationURL += "/{client_id}/{region}"
				d.TokenRequest = broker.TokenRequest{
					Headers: map[string]string{"Accept": "a/b", "X-Kept": "1"}, Params: map[string]*string{"realm": new("x")}, Rename: map[string]string{"client_id": "app"},
				}
				d.RevocationRequest = broker.RevocationRequest{
					Method: "DELETE", Format: "json", Headers: map[string]string{"Accept": "c/d"},
					Params: map[string]*string{"token_type_hint": null, "area": new("{region}")}, Rename: map[string]string{"token": "access_token"},
					ClientAuthentication: broker.ClientSecretBasic, Token: broker.RevokeAccessToken,
				}
			}, "DELETE /revoke/client%20id/eu",
			`{"access_token":"` + canaryRefresh + `","area":"eu"}`,
			map[string]string{"Content-Type": "application/json", "Accept": "c/d", "X-Kept": "1", "Authorization": basic},
		},
		{
			"bearer", func(d *broker.Definition) {
				d.ClientAuthentication = broker.PrivateKeyJWT // for which there is no key here
				d.RevocationRequest = broker.RevocationRequest{ClientAuthentication: broker.ClientAuthBearer, Token: broker.RevokeBoth}
			}, "POST /revoke", "", map[string]string{"Authorization": "Bearer " + canaryRefresh},
		},
		{
			"the token alone", func(d *broker.Definition) {
				d.ClientAuthentication = broker.ClientSecretBasic
				d.RevocationRequest = broker.RevocationRequest{
					ClientAuthentication: broker.ClientAuthNone, Params: map[string]*string{"client_id": null, "token_type_hint": null},
				}
			}, "POST /revoke", "token=" + canaryRefresh, map[string]string{"Authorization": ""},
		},
		{
			"post over basic", func(d *broker.Definition) {
				d.ClientAuthentication = broker.ClientSecretBasic
				d.RevocationRequest.ClientAuthentication = broker.ClientSecretPost
			}, "POST /revoke", client + "&token=" + canaryRefresh + "&token_type_hint=refresh_token", map[string]string{"Authorization": ""},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, says(http.StatusNoContent, "", ""))
			k := connection(provider.URL + "/token")
			k.Definition.RevocationURL = provider.URL + "/revoke"
			k.Definition.Inputs, k.Inputs = map[string]broker.Input{"region": {}}, map[string]string{"region": "eu"}
			test.edit(&k.Definition)
			if err := k.Definition.Check(loopback); err != nil {
				t.Fatal(err)
			}
			if err := newClient(t).Revoke(t.Context(), k, broker.NewSecret(canaryRefresh), "refresh_token"); err != nil {
				t.Fatalf("Revoke = %v", err)
			}
			got := provider.requests()
			if len(got) != 1 || got[0].Method+" "+got[0].URL.RequestURI() != test.request || got[0].body != test.body {
				t.Fatalf("requests = %v with %q, want one %s with %q", got, got[0].body, test.request, test.body)
			}
			for name, want := range test.headers {
				if value := got[0].Header.Get(name); value != want {
					t.Errorf("header %s = %q, want %q", name, value, want)
				}
			}
		})
	}
}

func TestNothingLeftToRevoke(t *testing.T) {
	for _, test := range []struct {
		name   string
		gone   []string
		status int
		answer string
		code   string // of the error; "none" for an error without one, "" for success
	}{
		{"by status", []string{"404"}, 404, `{"message":"Not Found"}`, ""},
		{"by status without a body", []string{"404"}, 404, ``, ""},
		{"another status", []string{"404"}, 422, `{"message":"Validation Failed"}`, "none"},
		{"by code in a 200", []string{"token_revoked"}, 200, `{"ok":false,"error":"token_revoked"}`, ""},
		{"by code in a 400", []string{"invalid_grant"}, 400, `{"error":"invalid_grant"}`, ""},
		{"by a code that looks like none", []string{"Token-Gone"}, 400, `{"error":"Token-Gone"}`, ""},
		{"another code", []string{"token_revoked"}, 200, `{"ok":false,"error":"fatal_error"}`, "fatal_error"},
		{"nothing is said of it", nil, 404, ``, "none"},
		{"an outage", []string{"404", "token_revoked"}, 503, ``, "none"},
		{"a code that repeats the token", []string{"404"}, 400, `{"error":"` + canaryRefresh + `"}`, "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := record(t, says(test.status, "application/json", test.answer))
			k := connection(provider.URL + "/token")
			k.Definition.TokenResponse.Success = &broker.SuccessCheck{Path: "ok", Equals: true}
			k.Definition.RevocationURL = provider.URL + "/revoke"
			k.Definition.RevocationRequest = broker.RevocationRequest{
				ClientAuthentication: broker.ClientAuthBearer, Token: broker.RevokeAccessToken, Gone: test.gone,
			}
			if err := k.Definition.Check(loopback); err != nil {
				t.Fatal(err)
			}
			err := newClient(t).Revoke(t.Context(), k, broker.NewSecret(canaryRefresh), "access_token")
			noCanary(t, err)
			if test.code == "" {
				if err != nil {
					t.Errorf("Revoke = %v, want nil", err)
				}
				return
			}
			failed := providerError(t, err)
			if want := map[bool]string{false: test.code}[test.code == "none"]; failed.Code != want || failed.Status != test.status {
				t.Errorf("Revoke = %+v, want %d %q", *failed, test.status, want)
			}
		})
	}
}
