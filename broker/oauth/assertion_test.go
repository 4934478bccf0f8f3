package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func pemOf(t *testing.T, kind string, der []byte, err error) broker.Secret {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return broker.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func TestAssertions(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKeys := map[string]*ecdsa.PrivateKey{}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if ecKeys[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	ecVerify := func(key *ecdsa.PrivateKey, sum, signature []byte) bool {
		half := len(signature) / 2
		return half == (key.Params().BitSize+7)/8 &&
			ecdsa.Verify(&key.PublicKey, sum, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	}
	pkcs8 := func(key any) broker.Secret {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pemOf(t, "PRIVATE KEY", der, err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKeys["ES256"])
	for _, test := range []struct {
		algorithm string
		key       broker.Secret
		verify    func(input, signature []byte) bool
	}{
		{"HS256", broker.Secret{}, func(input, signature []byte) bool {
			mac := hmac.New(sha256.New, []byte(canarySecret))
			mac.Write(input)
			return hmac.Equal(mac.Sum(nil), signature)
		}},
		{"RS256", pkcs8(rsaKey), func(input, signature []byte) bool {
			sum := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, sum[:], signature) == nil
		}},
		{"RS256", pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), func(input, signature []byte) bool {
			sum := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, sum[:], signature) == nil
		}},
		{"ES256", pemOf(t, "EC PRIVATE KEY", sec1, err), func(input, signature []byte) bool {
			sum := sha256.Sum256(input)
			return ecVerify(ecKeys["ES256"], sum[:], signature)
		}},
		{"ES384", pkcs8(ecKeys["ES384"]), func(input, signature []byte) bool {
			sum := sha512.Sum384(input)
			return ecVerify(ecKeys["ES384"], sum[:], signature)
		}},
		{"ES512", pkcs8(ecKeys["ES512"]), func(input, signature []byte) bool {
			sum := sha512.Sum512(input)
			return ecVerify(ecKeys["ES512"], sum[:], signature)
		}},
		{"EdDSA", pkcs8(edKey), func(input, signature []byte) bool {
			return ed25519.Verify(edKey.Public().(ed25519.PublicKey), input, signature)
		}},
	} {
		t.Run(test.algorithm, func(t *testing.T) {
			provider := record(t, saysJSON(goodAnswer))
			k := connection(provider.URL + "/token")
			k.Client.PrivateKeyID, k.Client.PrivateKey = "key 1", test.key
			k.Definition.ClientAuthentication = broker.PrivateKeyJWT
			if test.algorithm == "HS256" {
				k.Definition.ClientAuthentication = broker.ClientSecretJWT
			}
			if _, err := refreshAt(t, k); err != nil {
				t.Fatal(err)
			}
			form, err := url.ParseQuery(provider.requests()[0].body)
			if err != nil {
				t.Fatal(err)
			}
			if form.Has("client_secret") || form.Get("client_id") != "client id" || form.Get("client_assertion_type") != jwtBearer {
				t.Errorf("form = %v, want an assertion, the client's id and no secret", form)
			}
			checkAssertion(t, form.Get("client_assertion"), test.algorithm, provider.URL+"/token", test.verify)
		})
	}
}

func checkAssertion(t *testing.T, assertion, algorithm, audience string, verify func(input, signature []byte) bool) {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Fatalf("assertion has %d parts, want 3", len(parts))
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			t.Fatal(err)
		}
	}
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Sub, Aud, Jti string
		Iat, Exp           int64
	}
	if err := json.Unmarshal(decoded[0], &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(decoded[1], &claims); err != nil {
		t.Fatal(err)
	}
	if header.Alg != algorithm || header.Typ != "JWT" || header.Kid != "key 1" {
		t.Errorf("header = %+v, want %s with a kid", header, algorithm)
	}
	if claims.Iss != "client id" || claims.Sub != "client id" || claims.Aud != audience || len(claims.Jti) < 20 {
		t.Errorf("claims = %+v, want the client at %s", claims, audience)
	}
	if claims.Exp-claims.Iat != 150 || (time.Since(time.Unix(claims.Iat, 0))-assertionLead).Abs() > 5*time.Second {
		t.Errorf("iat, exp = %d, %d, want half a minute ago and two minutes on", claims.Iat, claims.Exp)
	}
	if !verify([]byte(parts[0]+"."+parts[1]), decoded[2]) {
		t.Error("the signature does not verify")
	}
}
