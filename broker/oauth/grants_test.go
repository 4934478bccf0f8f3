package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func signingKey(t *testing.T) broker.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemOf(t, "PRIVATE KEY", der, err)
}

func formOf(t *testing.T, s seen) url.Values {
	t.Helper()
	form, err := url.ParseQuery(s.body)
	if err != nil {
		t.Fatal(err)
	}
	return form
}

func claimsOf(t *testing.T, assertion string) (claims map[string]any) {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(assertion+"..", ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestAssert(t *testing.T) {
	key := signingKey(t)
	for name, test := range map[string]struct {
		assertion broker.Assertion
		secret    string
		claims    map[string]any // iss, sub, aud and what else is wanted
		clientID  string         // in the form
	}{
		"a service account": {
			broker.Assertion{Scopes: []string{"a", "b"}, Audience: "https://token.example", Subject: "ada"}, "",
			map[string]any{"iss": "client id", "sub": "ada", "aud": "https://token.example", "scope": "a b"}, "",
		},
		"all by default": {broker.Assertion{}, "", map[string]any{"iss": "client id", "sub": "client id", "aud": "TOKEN", "scope": nil}, ""},
		"a client with a secret": {
			broker.Assertion{Issuer: "me", Claims: map[string]any{"box_sub_type": "enterprise"}}, canarySecret,
			map[string]any{"iss": "me", "sub": "me", "box_sub_type": "enterprise"}, "client id",
		},
	} {
		t.Run(name, func(t *testing.T) {
			provider := record(t, saysJSON(goodAnswer))
			k := connection(provider.URL + "/token")
			k.Client.PrivateKey, k.Client.PrivateKeyID, k.Client.Secret = key, "k1", broker.NewSecret(test.secret)
			if _, err := newClient(t).Assert(t.Context(), k, test.assertion); err != nil {
				t.Fatalf("Assert = %v", err)
			}
			form := formOf(t, provider.requests()[0])
			if form.Get("grant_type") != string(broker.GrantJWTBearer) || form.Get("client_id") != test.clientID || form.Get("client_secret") != test.secret {
				t.Errorf("form = %v", form)
			}
			claims := claimsOf(t, form.Get("assertion"))
			for name, want := range test.claims {
				if want == "TOKEN" {
					want = provider.URL + "/token"
				}
				if claims[name] != want {
					t.Errorf("claim %s = %v, want %v", name, claims[name], want)
				}
			}
			if scope, _ := test.claims["scope"].(string); form.Get("scope") != scope {
				t.Errorf("scope = %q, want %q", form.Get("scope"), scope)
			}
		})
	}
	k := connection("https://provider.example/token")
	k.Client.PrivateKey = broker.NewSecret("no key")
	if _, err := newClient(t).Assert(t.Context(), k, broker.Assertion{}); err == nil || !strings.Contains(err.Error(), "privateKey: give a PEM key") {
		t.Errorf("Assert without a key = %v, want that it says so", err)
	}
}

// TestAssertClocks: a provider whose clock is elsewhere refuses the first
// assertion, and takes the second, which is dated by its own clock; the next one
// is right at once.
func TestAssertClocks(t *testing.T) {
	for _, offset := range []time.Duration{-time.Hour, 7 * time.Minute, 10 * time.Second} {
		t.Run(offset.String(), func(t *testing.T) {
			var provider *recorder
			provider = record(t, func(w http.ResponseWriter, r *http.Request) {
				asked := provider.requests()
				last := asked[len(asked)-1]
				now := time.Now().Add(offset)
				w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
				claims := claimsOf(t, formOf(t, last).Get("assertion"))
				if float64(now.Unix()) < claims["iat"].(float64) || float64(now.Unix()) >= claims["exp"].(float64) {
					says(http.StatusBadRequest, "application/json", `{"error":"invalid_grant"}`)(w, r)
					return
				}
				saysJSON(goodAnswer)(w, r)
			})
			k := connection(provider.URL + "/token")
			k.Client.PrivateKey = signingKey(t)
			c := newClient(t)
			want := 3 // refused, taken, taken
			if offset.Abs() < clockTolerance {
				want = 2
			}
			for range 2 {
				if _, err := c.Assert(t.Context(), k, broker.Assertion{}); err != nil {
					t.Fatalf("Assert = %v", err)
				}
			}
			if got := len(provider.requests()); got != want {
				t.Errorf("the provider was asked %d times, want %d", got, want)
			}
		})
	}
}

func TestExchangeToken(t *testing.T) {
	const access, idToken = "urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:id_token"
	answer := func(issued string) string {
		return strings.Replace(goodAnswer, "{", `{"issued_token_type":`+issued+`,`, 1)
	}
	for name, test := range map[string]struct {
		answer, requested string
		taken             bool
	}{
		"an access token":             {answer(`"` + access + `"`), "", true},
		"a JWT":                       {answer(`"urn:ietf:params:oauth:token-type:jwt"`), "", true},
		"what was asked for":          {answer(`"` + idToken + `"`), idToken, true},
		"an id token":                 {answer(`"` + idToken + `"`), "", false},
		"something else than asked":   {answer(`"` + access + `"`), idToken, false},
		"a refresh token":             {answer(`"urn:ietf:params:oauth:token-type:refresh_token"`), "", false},
		"no string":                   {answer(`7`), "", false},
		"silence":                     {goodAnswer, access, true},
		"a refusal with its own code": {`{"error":"invalid_target"}`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			provider := record(t, saysJSON(test.answer))
			got, err := newClient(t).ExchangeToken(t.Context(), connection(provider.URL+"/token"), broker.TokenExchange{
				SubjectToken: broker.NewSecret(canaryAccess), SubjectTokenType: access, RequestedTokenType: test.requested,
				ActorToken: broker.NewSecret(canaryCode), ActorTokenType: idToken, Audience: "https://api.example", Scopes: []string{"s"},
			})
			if (err == nil) != test.taken || (got.AccessToken.Empty()) == test.taken {
				t.Errorf("ExchangeToken = %v, %v, want taken: %v", got.AccessToken, err, test.taken)
			}
			if err != nil {
				noCanary(t, err)
			}
			form := formOf(t, provider.requests()[0])
			for name, want := range map[string]string{
				"grant_type": string(broker.GrantTokenExchange), "subject_token": canaryAccess, "subject_token_type": access,
				"actor_token": canaryCode, "actor_token_type": idToken, "audience": "https://api.example", "scope": "s", "requested_token_type": test.requested,
			} {
				if form.Get(name) != want {
					t.Errorf("%s = %q, want %q", name, form.Get(name), want)
				}
			}
			if form.Has("resource") {
				t.Error("resource is sent, and none was given")
			}
		})
	}
}

func TestStartDevice(t *testing.T) {
	good := `{"device_code":"dc","user_code":"WDJB-MJHT","verification_uri":"https://p.example/activate","verification_uri_complete":"https://p.example/activate?c=WDJB-MJHT","expires_in":600,"interval":3}`
	for name, test := range map[string]struct {
		answer   string
		taken    bool
		complete string
		lives    time.Duration
		interval time.Duration
	}{
		"as RFC 8628 has it":   {good, true, "https://p.example/activate?c=WDJB-MJHT", 10 * time.Minute, 3 * time.Second},
		"as Google does":       {strings.Replace(good, `"verification_uri"`, `"verification_url"`, 1), true, "https://p.example/activate?c=WDJB-MJHT", 10 * time.Minute, 3 * time.Second},
		"silent":               {`{"device_code":"dc","user_code":"W","verification_uri":"https://p.example/"}`, true, "", 15 * time.Minute, 5 * time.Second},
		"absurd":               {`{"device_code":"dc","user_code":"W","verification_uri":"https://p.example/","expires_in":1e99,"interval":-4}`, true, "", 24 * time.Hour, time.Second},
		"asleep":               {`{"device_code":"dc","user_code":"W","verification_uri":"https://p.example/","interval":"99999999"}`, true, "", 15 * time.Minute, 5 * time.Minute},
		"a script to click on": {strings.Replace(good, "https://p.example/activate?", "javascript:", 1), true, "", 10 * time.Minute, 3 * time.Second},
		"a script to open":     {strings.Replace(good, `"https://p.example/activate"`, `"javascript:alert(1)"`, 1), false, "", 0, 0},
		"a page of this host":  {strings.Replace(good, `"https://p.example/activate"`, `"https://10.1.2.3/"`, 1), false, "", 0, 0},
		"a terminal's codes":   {strings.Replace(good, `WDJB-MJHT"`, `\u001b[2J"`, 1), false, "", 0, 0},
		"no code":              {strings.Replace(good, `"dc"`, `""`, 1), false, "", 0, 0},
		"no user code":         {strings.Replace(good, `"user_code"`, `"code"`, 1), false, "", 0, 0},
		"an endless code":      {strings.Replace(good, `"dc"`, `"`+strings.Repeat("c", 5000)+`"`, 1), false, "", 0, 0},
		"no JSON":              {"<html>", false, "", 0, 0},
		"a refusal in 200":     {`{"error":"unauthorized_client"}`, false, "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			provider := record(t, saysJSON(test.answer))
			k := connection(provider.URL + "/token")
			k.Definition.DeviceAuthorizationURL = provider.URL + "/device"
			k.Definition.ClientAuthentication = broker.ClientSecretBasic
			k.Definition.TokenResponse.Success = &broker.SuccessCheck{Path: "ok", Equals: true} // of token answers only
			asked := time.Now()
			got, err := newClient(t).StartDevice(t.Context(), k, []string{"a", "b"})
			if (err == nil) != test.taken {
				t.Fatalf("StartDevice = %v, want taken: %v", err, test.taken)
			}
			if err != nil {
				noCanary(t, err)
				return
			}
			if lives := got.ExpiresAt.Sub(asked) - test.lives; got.VerificationURIComplete != test.complete || got.Interval != test.interval || lives.Abs() > 5*time.Second {
				t.Errorf("StartDevice = %+v, want %q, %v, every %v", got, test.complete, test.lives, test.interval)
			}
			first := provider.requests()[0]
			if id, _, ok := first.BasicAuth(); !ok || id == "" || first.URL.Path != "/device" || formOf(t, first).Get("scope") != "a b" || formOf(t, first).Get("client_id") != "client id" {
				t.Errorf("asked %s with %q", first.URL, first.body)
			}
		})
	}
}

func TestDeviceEndpointIsDiscovered(t *testing.T) {
	var provider *recorder
	provider = record(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/oauth-authorization-server" {
			saysJSON(`{"device_code":"dc","user_code":"W","verification_uri":"https://p.example/"}`)(w, r)
			return
		}
		device := fmt.Sprintf(`,"device_authorization_endpoint":"%s/device"`, provider.URL)
		if strings.Contains(r.Host, "localhost") {
			device = ""
		}
		saysJSON(fmt.Sprintf(`{"issuer":"http://%s"%s}`, r.Host, device))(w, r)
	})
	k := connection(provider.URL + "/token")
	k.Definition.AuthorizationURL, k.Definition.Issuer = provider.URL+"/authorize", provider.URL
	if _, err := newClient(t).StartDevice(t.Context(), k, nil); err != nil {
		t.Errorf("StartDevice = %v", err)
	}
	k.Definition.Issuer = strings.Replace(provider.URL, "127.0.0.1", "localhost", 1)
	if _, err := newClient(t).StartDevice(t.Context(), k, nil); err == nil || !strings.Contains(err.Error(), "publishes no device authorization endpoint") {
		t.Errorf("StartDevice = %v, want that there is none", err)
	}
}

func TestIntrospect(t *testing.T) {
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   broker.Introspection
		fails  bool
	}{
		"active":                {saysJSON(fmt.Sprintf(`{"active":true,"exp":%d}`, future)), broker.Introspection{Supported: true, Active: true}, false},
		"inactive":              {saysJSON(`{"active":false}`), broker.Introspection{Supported: true}, false},
		"active and over":       {saysJSON(fmt.Sprintf(`{"active":true,"exp":%d}`, past)), broker.Introspection{}, true},
		"inactive and over":     {saysJSON(fmt.Sprintf(`{"active":false,"exp":%d}`, past)), broker.Introspection{Supported: true}, false},
		"a string":              {saysJSON(`{"active":"true"}`), broker.Introspection{}, true},
		"nothing":               {saysJSON(`{}`), broker.Introspection{}, true},
		"no object":             {saysJSON(`true`), broker.Introspection{}, true},
		"a refused client":      {says(401, "application/json", `{"error":"invalid_client"}`), broker.Introspection{}, true},
		"a redirect":            {says(302, "", ""), broker.Introspection{}, true},
		"the token in an error": {says(400, "application/json", `{"error":"`+canaryAccess+`"}`), broker.Introspection{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			provider := record(t, test.answer)
			k := connection(provider.URL + "/token")
			k.Definition.IntrospectionURL = provider.URL + "/introspect"
			got, err := newClient(t).Introspect(t.Context(), k, broker.NewSecret(canaryAccess))
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("Introspect = %+v, %v, want %+v, an error: %v", got, err, test.want, test.fails)
			}
			if err != nil {
				noCanary(t, err)
			}
			if form := formOf(t, provider.requests()[0]); form.Get("token") != canaryAccess || form.Get("client_secret") != canarySecret {
				t.Errorf("form = %v, want the token and the client", form)
			}
		})
	}
	if got, err := newClient(t).Introspect(t.Context(), connection("https://p.example/token"), broker.NewSecret("t")); err != nil || got.Supported {
		t.Errorf("Introspect without an endpoint = %+v, %v, want that there is none", got, err)
	}
}
