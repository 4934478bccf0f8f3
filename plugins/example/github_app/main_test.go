package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/invectd/invectd/plugins/sdk"
	"github.com/invectd/invectd/plugins/sdk/sdktest"
)

func TestPlugin(t *testing.T) { sdktest.Check(t, plugin) }

// TestSign: the JWT is what GitHub's documentation asks for, in both forms that
// keys come in.
func TestSign(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for kind, der := range map[string][]byte{"RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(key), "PRIVATE KEY": pkcs8} {
		r := &sdk.TokenRequest{
			Client: sdk.Client{ID: "123456", PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))},
			HTTP: sdk.HTTPRequest{
				Method: "POST", URL: "https://api.github.com/app/installations/1/access_tokens",
				Headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, Body: []byte("grant_type=client_credentials&client_id=123456"),
			},
		}
		if err := sign(r, now); err != nil {
			t.Fatalf("sign() with a %s = %v", kind, err)
		}
		token, err := jwt.ParseSigned(strings.TrimPrefix(r.HTTP.Headers["Authorization"], "Bearer "), []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatalf("Authorization is no JWT: %v", err)
		}
		var claims jwt.Claims
		if err := token.Claims(&key.PublicKey, &claims); err != nil {
			t.Fatalf("the signature: %v", err)
		}
		if life := claims.Expiry.Time().Sub(now); claims.Issuer != "123456" || claims.IssuedAt.Time().After(now) || life <= 0 || life > 10*time.Minute {
			t.Errorf("claims = %+v, want the app, issued before now, for 10 minutes at most", claims)
		}
		if len(r.HTTP.Body) > 0 || r.HTTP.Headers["Accept"] != "application/vnd.github+json" {
			t.Errorf("the request = %+v, want no parameters and GitHub's type", r.HTTP)
		}
	}
	for _, bad := range []string{"", "no PEM", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"} {
		if err := sign(&sdk.TokenRequest{Client: sdk.Client{ID: "1", PrivateKey: bad}}, now); err == nil || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("sign() with the key %q = %v, want an error without the key", bad, err)
		}
	}
}

func TestRead(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		status int
		body   string
		want   string
	}{
		{201, `{"token":"ghs_1","expires_at":"2026-01-02T04:04:05Z","permissions":{}}`, `{"access_token":"ghs_1","expires_in":3600,"token_type":"Bearer"}`},
		{201, `{"token":"ghs_1"}`, `{"access_token":"ghs_1","token_type":"Bearer"}`},
		{401, `{"message":"A JSON web token could not be decoded"}`, `{"error":"invalid_client"}`},
		{404, `{"message":"Not Found"}`, `{"error":"unauthorized_client"}`},
		{500, `oops`, `oops`},
	} {
		r := &sdk.TokenResponse{HTTP: sdk.HTTPResponse{Status: test.status, Body: []byte(test.body)}}
		if err := read(r, now); err != nil || string(r.HTTP.Body) != test.want {
			t.Errorf("read(%d %s) = %s, %v, want %s", test.status, test.body, r.HTTP.Body, err, test.want)
		}
	}
	if err := read(&sdk.TokenResponse{HTTP: sdk.HTTPResponse{Status: 201, Body: json.RawMessage(`{}`)}}, now); err == nil {
		t.Error("read() of an answer without a token = nil, want an error")
	}
}
