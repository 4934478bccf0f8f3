package sandbox

import (
	"crypto/ecdsa"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var grantTypes = []oidc.GrantType{
	oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials, oidc.GrantTypeDeviceCode,
}

// client is the registered client, as the library asks for it.
type client struct {
	id           string
	secret       string
	redirectURIs []string
}

func (c client) GetID() string                       { return c.id }
func (c client) RedirectURIs() []string              { return c.redirectURIs }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType        { return grantTypes }
func (c client) LoginURL(requestID string) string    { return consentPath + "?id=" + requestID }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (c client) IDTokenLifetime() time.Duration      { return time.Hour }
func (c client) DevMode() bool                       { return false }
func (c client) ClockSkew() time.Duration            { return 0 }

// IsScopeAllowed is true: a scope means nothing here, so any may be asked for.
func (c client) IsScopeAllowed(string) bool { return true }

func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }

func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { return sameScopes }

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return sameScopes }

func sameScopes(scopes []string) []string { return scopes }

// nativeClient is the same client where the library is to apply RFC 8252 to its
// redirect URIs. Everywhere else the client is one that has to authenticate.
type nativeClient struct{ client }

func (c nativeClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }

// signingKey signs ID tokens. Access tokens are opaque.
type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

// publicKey is the public half of a signingKey.
type publicKey struct{ signingKey }

func (k publicKey) Key() any                           { return k.private.Public() }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }
