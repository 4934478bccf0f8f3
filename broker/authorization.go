package broker

import (
	"crypto/rand"
	"encoding/base64"
	"time"
)

// AuthorizationLifetime is how long a person has for the consent screen.
const AuthorizationLifetime = 10 * time.Minute

// An Authorization is an authorization-code flow in flight: what has to be
// remembered between sending a person away and the provider's redirect. It is
// stored, so it survives a restart, and is taken at most once.
type Authorization struct {
	State       string // 256 bits, the key; RFC 6749, section 10.12
	Definition  Definition
	Client      Client // empty where the registered app serves
	RedirectURI string
	Scopes      []string
	Inputs      map[string]string
	Params      map[string]string // added to the authorization URL
	Verifier    Secret            // RFC 7636; empty where the provider has no PKCE
	ReturnURL   string            // where the browser goes in the end; "" shows a page

	CredentialName string
	CredentialID   ID // set where an existing credential is reconnected

	StartedBy Caller
	ExpiresAt time.Time

	origins string // of what the code was traded with, not stored
}

// random256 returns 256 random bits in base64url, 43 characters: a state, or a
// code verifier as RFC 7636, section 4.1, recommends it.
func random256() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
