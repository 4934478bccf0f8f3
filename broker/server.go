package broker

import (
	"context"
	"time"
)

// A Client is what a provider knows this broker as (RFC 6749, section 2).
type Client struct {
	ID           string
	Secret       Secret
	PrivateKey   Secret // PEM, for private_key_jwt
	PrivateKeyID string
	Certificate  string // PEM, for tls_client_auth
}

// hasSecret reports whether the client proves itself with something that others
// must not get.
func (c Client) hasSecret() bool {
	return !c.Secret.Empty() || !c.PrivateKey.Empty()
}

// A Connection is what it takes to speak to a provider for one credential.
type Connection struct {
	Definition Definition
	Client     Client
	Inputs     map[string]string // values for {name} in the definition, captured ones included
	// Trusted are the origins that secrets may be sent to, separated by spaces;
	// "" for all, as of a new connection with a client of its own.
	Trusted string
}

// An AuthorizationRequest is what goes into an authorization URL (RFC 6749,
// section 4.1.1).
type AuthorizationRequest struct {
	RedirectURI string
	State       string
	Scopes      []string
	Verifier    Secret            // PKCE; empty where the definition says none
	Params      map[string]string // the front end's own, which win over additionalAuthParams
}

// A CodeExchange is what an authorization code is traded with (RFC 6749,
// section 4.1.3).
type CodeExchange struct {
	Code        Secret
	RedirectURI string
	Verifier    Secret // RFC 7636, section 4.5; empty if none was sent
}

// A TokenResponse is a successful answer of a token endpoint (RFC 6749, section
// 5.1), whatever shape the vendor gave it.
type TokenResponse struct {
	AccessToken  Secret
	RefreshToken Secret         // empty if the answer has none
	Scope        string         // space-separated; "" if the answer has none
	ScopeEmpty   bool           // the answer has a scope with nothing in it: a GitHub App's token, whose reach is set elsewhere
	ExpiresAt    time.Time      // zero: never
	Captured     map[string]any // what the definition captures
	// Others are the further tokens of an answer that brings several, by the
	// names that the definition gives them; each becomes a credential of its own.
	Others map[string]TokenResponse
}

// A DeviceAuthorization is what a person needs to consent on another device
// (RFC 8628, section 3.2). All of it but the code has been checked to be fit to
// be shown.
type DeviceAuthorization struct {
	DeviceCode              Secret
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string // with the user code in it; "" if the answer has none
	ExpiresAt               time.Time
	Interval                time.Duration // between two polls
}

// An Assertion is what a JWT says that is itself a grant (RFC 7523, section 2.1).
// The key of the client signs it.
type Assertion struct {
	Issuer   string         // "" for the client
	Subject  string         // "" for the issuer
	Audience string         // "" for the token endpoint
	Claims   map[string]any // further ones
	Scopes   []string
}

// A TokenExchange is what a token is traded for another with (RFC 8693, section
// 2.1). Types are URIs; "" leaves the choice to the provider.
type TokenExchange struct {
	SubjectToken       Secret
	SubjectTokenType   string
	ActorToken         Secret // empty: nobody acts for the subject
	ActorTokenType     string
	RequestedTokenType string
	Audience, Resource string
	Scopes             []string
}

// An Introspection is what a provider knows of a token (RFC 7662, section 2.2).
type Introspection struct {
	Supported bool // there is an endpoint to ask
	Active    bool
}

// An Identity is whom a token belongs to.
type Identity struct{ Subject, Label string }

// An APIRequest is one request to an API, sent from here.
type APIRequest struct {
	Method  string
	URL     string
	Headers map[string]string
	Body    []byte
}

// An APIResponse is what an API answered.
type APIResponse struct {
	Status int
	Body   []byte // at most 1 MiB of it
}

// An IssuerCheck tells what RFC 9207 asks of a callback.
type IssuerCheck struct {
	Issuer   string // "" if the provider has none: nothing to compare with
	Required bool   // the metadata advertises it, so its absence is an attack
}

// An AuthorizationServer speaks to providers. Every error of a call that meant
// to reach one is or wraps a [*ProviderError]; no error carries a secret or the
// text of an answer. All methods may be called concurrently.
type AuthorizationServer interface {
	// AuthorizationURL returns where to send a person.
	AuthorizationURL(ctx context.Context, c Connection, r AuthorizationRequest) (string, error)
	// IssuerCheck returns what the `iss` of a callback has to be.
	IssuerCheck(ctx context.Context, c Connection) (IssuerCheck, error)
	// Exchange trades an authorization code for the first tokens, and those for
	// long-lived ones where the definition says so. It captures what a lookup
	// tells; Refresh does where that failed, and neither fails for it.
	Exchange(ctx context.Context, c Connection, x CodeExchange) (TokenResponse, error)
	// Refresh spends a refresh token (RFC 6749, section 6).
	Refresh(ctx context.Context, c Connection, refreshToken Secret) (TokenResponse, error)
	// ClientCredentials asks for a token of the client's own (section 4.4).
	ClientCredentials(ctx context.Context, c Connection, scopes []string) (TokenResponse, error)
	// StartDevice begins a device grant (RFC 8628, section 3.1).
	StartDevice(ctx context.Context, c Connection, scopes []string) (DeviceAuthorization, error)
	// PollDevice asks whether a person has consented (section 3.4).
	PollDevice(ctx context.Context, c Connection, deviceCode Secret) (TokenResponse, error)
	// Assert asks for a token with an assertion that it signs.
	Assert(ctx context.Context, c Connection, a Assertion) (TokenResponse, error)
	// ExchangeToken trades a token for another.
	ExchangeToken(ctx context.Context, c Connection, x TokenExchange) (TokenResponse, error)
	// Introspect asks the provider whether an access token is one of its own and
	// lives.
	Introspect(ctx context.Context, c Connection, accessToken Secret) (Introspection, error)
	// Revoke invalidates a token (RFC 7009), as the definition's revocationRequest
	// wants it; hint is "refresh_token" or "access_token". A token unknown to the
	// provider is no error.
	Revoke(ctx context.Context, c Connection, token Secret, hint string) error
	// Identify asks the provider whose token it is.
	Identify(ctx context.Context, c Connection, accessToken Secret) (Identity, error)
	// Send makes one request to any public address, and to none that is not
	// (an [*InvalidError]); it follows no redirect. A redirect and a refusal are
	// answers like any other.
	Send(ctx context.Context, r APIRequest) (APIResponse, error)
}
