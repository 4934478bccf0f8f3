package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"time"

	_ "crypto/sha512" // ES384 and ES512

	"github.com/invectd/invectd/broker"
)

// An assertion lives for assertionLifetime from when it is made, and is dated
// assertionLead earlier: that is how far clocks may differ before a provider
// takes it for ended, or for one of the future.
const (
	assertionLifetime = 2 * time.Minute
	assertionLead     = 30 * time.Second
)

// newAssertion returns the JWT that proves a client (RFC 7523, section 3): signed
// with its private key, or with its secret as a MAC (HS256). now is the time by
// the provider's clock.
func newAssertion(k broker.Connection, audience string, now time.Time) (string, error) {
	if k.Definition.ClientAuthentication == broker.ClientSecretJWT {
		if k.Client.Secret.Empty() {
			return "", invalid("clientSecret", "client_secret_jwt needs one")
		}
		mac := hmac.New(sha256.New, []byte(k.Client.Secret.Reveal()))
		return newJWT("HS256", k.Client.PrivateKeyID, clientClaims(k, audience, now), func(input []byte) ([]byte, error) {
			mac.Write(input)
			return mac.Sum(nil), nil
		})
	}
	return signedJWT(k.Client, clientClaims(k, audience, now))
}

func clientClaims(k broker.Connection, audience string, now time.Time) map[string]any {
	return map[string]any{"iss": k.Client.ID, "sub": k.Client.ID, "aud": audience, "jti": rand.Text(), "iat": issued(now), "exp": ends(now)}
}

func issued(now time.Time) int64 { return now.Add(-assertionLead).Unix() }
func ends(now time.Time) int64   { return now.Add(assertionLifetime).Unix() }

// signedJWT signs claims with the private key of a client.
func signedJWT(client broker.Client, claims map[string]any) (string, error) {
	algorithm, sign, ok := signerOf(client.PrivateKey)
	if !ok {
		return "", invalid("privateKey", "give a PEM key without a passphrase: RSA, P-256, P-384, P-521 or Ed25519")
	}
	return newJWT(algorithm, client.PrivateKeyID, claims, sign)
}

func newJWT(algorithm, keyID string, claims map[string]any, sign func([]byte) ([]byte, error)) (string, error) {
	header := map[string]string{"alg": algorithm, "typ": "JWT"}
	if keyID != "" {
		header["kid"] = keyID
	}
	input, err := joseEncode(header, claims)
	if err != nil {
		return "", err
	}
	signature, err := sign([]byte(input))
	if err != nil {
		return "", invalid("privateKey", "the key cannot sign")
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func joseEncode(header map[string]string, claims map[string]any) (string, error) {
	first, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	second, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(first) + "." + base64.RawURLEncoding.EncodeToString(second), nil
}

// signerOf returns the algorithm of RFC 7518, section 3.1, or RFC 8037 that a
// key is for, and its signature.
func signerOf(secret broker.Secret) (algorithm string, sign func([]byte) ([]byte, error), ok bool) {
	switch key := parseKey(secret).(type) {
	case *rsa.PrivateKey:
		return "RS256", func(input []byte) ([]byte, error) {
			sum := sha256.Sum256(input)
			return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		}, true
	case ed25519.PrivateKey:
		return "EdDSA", func(input []byte) ([]byte, error) { return ed25519.Sign(key, input), nil }, true
	case *ecdsa.PrivateKey:
		hashes := map[int]struct {
			algorithm string
			hash      crypto.Hash
		}{256: {"ES256", crypto.SHA256}, 384: {"ES384", crypto.SHA384}, 521: {"ES512", crypto.SHA512}}
		is, known := hashes[key.Params().BitSize]
		return is.algorithm, func(input []byte) ([]byte, error) { return signECDSA(key, is.hash, input) }, known
	}
	return "", nil, false
}

// signECDSA returns r and s in full length, one after the other (RFC 7518,
// section 3.4).
func signECDSA(key *ecdsa.PrivateKey, hash crypto.Hash, input []byte) ([]byte, error) {
	h := hash.New()
	h.Write(input)
	r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
	if err != nil {
		return nil, err
	}
	size := (key.Params().BitSize + 7) / 8
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out, nil
}

// parseKey reads PKCS #8, PKCS #1 or SEC 1; nil is none of them.
func parseKey(secret broker.Secret) any {
	block, _ := pem.Decode([]byte(secret.Reveal()))
	if block == nil {
		return nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	return nil
}
