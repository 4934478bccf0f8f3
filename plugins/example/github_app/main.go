// Command github_app is a provider plugin for what no definition can say: the
// tokens of a GitHub App's installation. GitHub gives one, for an hour, to whoever
// shows a JWT that the app's private key signed, and tells its end as a date.
//
//	go build -o "$DATA_DIR/plugins/github_app" ./plugins/example/github_app
//	invectd plugins trust github_app --hook token_request --hook token_response
//	invectd apps set github_app --client-id 123456 --private-key-file app.pem
//
// A credential of it has the grant type client_credentials and the input
// `installation`, the number at the end of the installation's address.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins/sdk"
)

var plugin = sdk.Plugin{Version: "1.0.0", Providers: []sdk.Provider{{
	Definition: sdk.Definition{
		ID:          "github_app",
		Name:        "GitHub App installation",
		Description: "Act as a GitHub App in one of its installations",
		Category:    "developer",
		DocsURL:     "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app",
		TokenURL:    "https://{host}/app/installations/{installation}/access_tokens",
		GrantTypes:  []broker.GrantType{broker.GrantClientCredentials},
		// The JWT stands in the header of the request, where no method of RFC 7591 puts it.
		ClientAuthentication: broker.ClientAuthNone,
		Inputs: map[string]broker.Input{
			"host":         {Label: "API host", Default: "api.github.com", Pattern: `api\.github\.com|[a-z0-9.-]+\.ghe\.com`},
			"installation": {Label: "Installation ID", Pattern: `[0-9]{1,20}`},
		},
		APIHosts: []string{"api.github.com"},
	},
	TokenRequest:  func(_ context.Context, r *sdk.TokenRequest) error { return sign(r, time.Now()) },
	TokenResponse: func(_ context.Context, r *sdk.TokenResponse) error { return read(r, time.Now()) },
}}}

func main() { sdk.Serve(plugin) }

// assertionLifetime is a minute less than what GitHub allows, for clocks differ.
const assertionLifetime = 9 * time.Minute

// sign makes the token request what GitHub wants: no parameters, and a JWT of the
// app as the bearer token.
func sign(r *sdk.TokenRequest, now time.Time) error {
	if r.Client.PrivateKey == "" {
		return errors.New("a GitHub App authenticates by its private key: invectd apps set github_app --client-id ID --private-key-file app.pem")
	}
	key, err := parseKey(r.Client.PrivateKey)
	if err != nil {
		return err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return errors.New("the private key of the GitHub App is no RSA key")
	}
	assertion, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:   r.Client.ID,
		IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)),
		Expiry:   jwt.NewNumericDate(now.Add(assertionLifetime)),
	}).Serialize()
	if err != nil {
		return errors.New("the private key of the GitHub App cannot sign")
	}
	r.HTTP.Method, r.HTTP.Body = http.MethodPost, nil
	r.HTTP.Headers = map[string]string{
		"Authorization":        "Bearer " + assertion,
		"Accept":               "application/vnd.github+json",
		"X-Github-Api-Version": "2022-11-28",
	}
	return nil
}

// read turns GitHub's answer into that of RFC 6749, section 5.1 or 5.2.
func read(r *sdk.TokenResponse, now time.Time) error {
	var got struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	answer := map[string]any{}
	switch {
	case r.HTTP.Status == http.StatusUnauthorized:
		answer["error"] = "invalid_client" // the key or the app's id is wrong
	case r.HTTP.Status == http.StatusNotFound, r.HTTP.Status == http.StatusForbidden:
		answer["error"] = "unauthorized_client" // not installed there, or suspended
	case r.HTTP.Status/100 != 2:
		return nil
	case json.Unmarshal(r.HTTP.Body, &got) != nil || got.Token == "":
		return errors.New("GitHub answered without a token")
	default:
		answer["access_token"], answer["token_type"] = got.Token, "Bearer"
		if !got.ExpiresAt.IsZero() {
			answer["expires_in"] = max(0, int64(got.ExpiresAt.Sub(now)/time.Second))
		}
		r.HTTP.Status = http.StatusOK // GitHub says 201
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	r.HTTP.Headers = map[string]string{"Content-Type": "application/json"}
	r.HTTP.Body = body
	return nil
}
