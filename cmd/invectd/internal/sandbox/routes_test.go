package sandbox

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestClientAuthentication(t *testing.T) {
	s := start(t, Config{})
	endpoints := s.Endpoints()
	token := connect(t, s.config())
	basic := func(secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(s.ClientID(), secret) }
	}
	for name, endpoint := range map[string]string{"token": endpoints.Token, "introspection": endpoints.Introspection, "revocation": endpoints.Revocation} {
		form := func(extra ...string) url.Values {
			values := url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}, "token": {token.AccessToken}}
			for i := 0; i < len(extra); i += 2 {
				values.Set(extra[i], extra[i+1])
			}
			return values
		}
		for how, request := range map[string]struct {
			form url.Values
			edit func(*http.Request)
			want bool
		}{
			"basic":        {form(), basic(s.ClientSecret()), true},
			"post":         {form("client_id", s.ClientID(), "client_secret", s.ClientSecret()), nil, true},
			"basic, wrong": {form(), basic("wrong"), false},
			"post, wrong":  {form("client_id", s.ClientID(), "client_secret", "wrong"), nil, false},
			"public":       {form("client_id", s.ClientID()), nil, false},
			"none":         {form(), nil, false},
			"in the query": {form(), func(r *http.Request) {
				r.URL.RawQuery = url.Values{"client_id": {s.ClientID()}, "client_secret": {s.ClientSecret()}}.Encode()
			}, false},
		} {
			status, answer := post(t, endpoint, request.form, request.edit)
			if (status == http.StatusOK) != request.want {
				t.Errorf("%s endpoint, %s: %d %v, want success %t", name, how, status, answer, request.want)
			}
		}
	}
}

func TestClientCredentials(t *testing.T) {
	s := start(t, Config{})
	status, answer := post(t, s.Endpoints().Token, url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}},
		func(r *http.Request) { r.SetBasicAuth(s.ClientID(), s.ClientSecret()) })
	if status != http.StatusOK || answer["refresh_token"] != nil || answer["scope"] != "read" {
		t.Fatalf("client credentials: %d %v, want an access token alone", status, answer)
	}
	_, _, body := get(t, s.Endpoints().Resource, answer["access_token"].(string))
	var me struct{ Subject string }
	if err := json.Unmarshal([]byte(body), &me); err != nil || me.Subject != s.ClientID() {
		t.Errorf("GET /api/me = %s, want subject %q", body, s.ClientID())
	}
}

func TestMetadata(t *testing.T) {
	s := start(t, Config{})
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		_, _, body := get(t, s.Issuer()+path, "")
		var metadata struct {
			Issuer        string
			TokenEndpoint string   `json:"token_endpoint"`
			Challenges    []string `json:"code_challenge_methods_supported"`
			Iss           bool     `json:"authorization_response_iss_parameter_supported"`
			Keys          string   `json:"jwks_uri"`
		}
		if err := json.Unmarshal([]byte(body), &metadata); err != nil {
			t.Fatalf("GET %s = %s: %v", path, body, err)
		}
		if metadata.Issuer != s.Issuer() || metadata.TokenEndpoint != s.Endpoints().Token || !metadata.Iss || len(metadata.Challenges) != 1 {
			t.Errorf("GET %s = %s, want issuer %s and what is supported", path, body, s.Issuer())
		}
		if status, _, keys := get(t, metadata.Keys, ""); status != http.StatusOK || !strings.Contains(keys, `"ES256"`) || strings.Contains(keys, `"d"`) {
			t.Errorf("GET %s = %d %s, want one public ES256 key", metadata.Keys, status, keys)
		}
	}
}
