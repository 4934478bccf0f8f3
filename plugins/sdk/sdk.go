// Package sdk is what the author of a provider plugin imports. A plugin is a
// program whose main calls [Serve]; the operator puts it into the folder that
// invectd watches, and trusts it.
//
//	func main() {
//		sdk.Serve(sdk.Plugin{Version: "1.0.0", Providers: []sdk.Provider{{
//			Definition: sdk.Definition{
//				ID:               "my_service",
//				Name:             "My Service",
//				AuthorizationURL: "https://myservice.com/oauth/authorize",
//				TokenURL:         "https://myservice.com/oauth/token",
//				DefaultScopes:    []string{"read", "write"},
//			},
//		}}})
//	}
//
// What a definition cannot say is done by hooks, the functions of [Provider]. The
// daemon calls one only if the operator granted it. It makes all requests to the
// provider itself: a plugin has no network, no files but the system's libraries,
// and needs neither.
//
// Package sdktest checks a plugin in one call.
package sdk

import (
	"context"

	"github.com/invectd/invectd/broker"
)

// A Definition says how a provider speaks OAuth2. Its JSON names are those of the
// files in the providers folder.
type Definition = broker.Definition

// A Plugin is what a program offers.
type Plugin struct {
	// Version is the plugin's own, shown to operators.
	Version   string
	Providers []Provider
}

// A Provider is a definition, and what it takes beside it. Each function that is
// not nil is a hook: the plugin declares it, the operator grants it, and until
// then the calls that need it fail without anything being sent. Hooks may be
// called concurrently and have 5 seconds. The text of an error is shown to people,
// so that it must hold no secret.
type Provider struct {
	Definition Definition

	// AuthorizationURL returns where to send a person instead of r.URL, on the
	// same host. It sees no secret but the state.
	AuthorizationURL func(ctx context.Context, r AuthorizationURLRequest) (string, error)
	// Callback checks what a browser brought back, before the code is spent. It
	// sees the code and the client's secret.
	Callback func(ctx context.Context, r CallbackRequest) error
	// TokenRequest changes or signs r.HTTP, on its way to the provider's token,
	// revocation or introspection endpoint, whose host stays. It sees the client's
	// secret and key and what is sent.
	TokenRequest func(ctx context.Context, r *TokenRequest) error
	// TokenResponse changes what the token endpoint answered. It sees the tokens.
	TokenResponse func(ctx context.Context, r *TokenResponse) error
}

// A Client is what the provider knows the daemon as (RFC 6749, section 2).
type Client struct {
	ID, Secret   string
	PrivateKey   string // PEM
	PrivateKeyID string
}

// An AuthorizationURLRequest asks where to send a person.
type AuthorizationURLRequest struct {
	ProviderID string
	Inputs     map[string]string // what the connection gave for {name} in the definition
	URL        string
}

// A CallbackRequest is what a browser brought back.
type CallbackRequest struct {
	ProviderID string
	Inputs     map[string]string
	Client     Client
	Query      string // as it was sent, undecoded
}

// A TokenRequest is a request that is about to be sent.
type TokenRequest struct {
	ProviderID string
	Inputs     map[string]string
	Client     Client
	// Operation is exchange, refresh, client_credentials, device, jwt_bearer,
	// token_exchange, revoke or introspect.
	Operation string
	HTTP      HTTPRequest
}

// A TokenResponse is an answer that came.
type TokenResponse struct {
	ProviderID string
	Inputs     map[string]string
	Operation  string // as in [TokenRequest]
	HTTP       HTTPResponse
}

// An HTTPRequest is a request as it goes out. Header names are canonical.
type HTTPRequest struct {
	Method, URL string
	Headers     map[string]string
	Body        []byte
}

// An HTTPResponse is an answer as it came in. Header names are canonical.
type HTTPResponse struct {
	Status  int
	Headers map[string]string
	Body    []byte
}
