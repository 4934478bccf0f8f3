package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Definition says how one provider speaks OAuth2: where its endpoints are and
// all that it does otherwise than RFC 6749. It is data; the JSON names are those
// of the contract. What is absent means the standard behaviour.
type Definition struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	AuthorizationURL string `json:"authorizationUrl,omitempty"`
	TokenURL         string `json:"tokenUrl,omitempty"`
	// Issuer is the issuer identifier of RFC 8414. Endpoints that are not given
	// are discovered there, and the `iss` of RFC 9207 is compared with it.
	Issuer      string `json:"issuer,omitempty"`
	Description string `json:"description"`
	Icon        string `json:"icon,omitempty"`
	Category    string `json:"category"`
	DocsURL     string `json:"docsUrl,omitempty"`

	DefaultScopes        []string          `json:"defaultScopes"`            // sent where a flow names none
	RequiredScopes       []string          `json:"requiredScopes,omitempty"` // always added
	ScopeSeparator       string            `json:"scopeSeparator,omitempty"` // "" is a space
	AdditionalAuthParams map[string]string `json:"additionalAuthParams,omitempty"`
	SupportsRefresh      *bool             `json:"supportsRefresh,omitempty"` // nil: whether a refresh token came

	AuthorizationRequest AuthorizationRequestShape `json:"authorizationRequest,omitzero"`

	GrantTypes           []GrantType          `json:"grantTypes,omitempty"`
	PKCE                 PKCE                 `json:"pkce,omitempty"`
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitempty"`

	TokenRequest   TokenRequest       `json:"tokenRequest,omitzero"`
	TokenResponse  TokenResponseShape `json:"tokenResponse,omitzero"`
	RefreshRequest TokenRequest       `json:"refreshRequest,omitzero"`
	// LongLivedRequest, where it has a URL, trades the token that a code brought
	// for the one to keep.
	LongLivedRequest TokenRequest  `json:"longLivedRequest,omitzero"`
	Refresh          RefreshPolicy `json:"refresh,omitzero"`

	RevocationURL          string            `json:"revocationUrl,omitempty"` // RFC 7009
	RevocationRequest      RevocationRequest `json:"revocationRequest,omitzero"`
	IntrospectionURL       string            `json:"introspectionUrl,omitempty"`       // RFC 7662
	DeviceAuthorizationURL string            `json:"deviceAuthorizationUrl,omitempty"` // RFC 8628

	Identity *IdentityRequest `json:"identity,omitempty"` // what a test asks
	Lookup   *Lookup          `json:"lookup,omitempty"`   // what is asked once after connecting
	Inputs   map[string]Input `json:"inputs,omitempty"`   // {name} in any URL or parameter
	APIHosts []string         `json:"apiHosts,omitempty"` // where its tokens may be sent
	Override bool             `json:"override,omitempty"` // may replace one of an earlier source

	// Extends is the id of a built-in definition that gives what this one leaves
	// out: another product, or the sandbox, of the same provider.
	Extends string `json:"extends,omitempty"`
	// Experimental says that the facts come from one source alone, and that
	// nobody has confirmed them.
	Experimental bool   `json:"experimental,omitempty"`
	Hooks        []Hook `json:"hooks,omitempty"` // what its plugin has to do; no other source may have any
}

// A PKCE value says whether RFC 7636 is spoken. S256 is the only method.
type PKCE string

// PKCEOptional, the default, sends the challenge without relying on it.
const (
	PKCEOptional PKCE = "optional"
	PKCERequired PKCE = "required"
	PKCENone     PKCE = "none"
)

// A ClientAuthentication is how the client proves itself at the token endpoint,
// with the names of RFC 7591, section 2.
type ClientAuthentication string

// The methods; absent means client_secret_post, or none without a secret.
const (
	ClientSecretBasic ClientAuthentication = "client_secret_basic"
	ClientSecretPost  ClientAuthentication = "client_secret_post"
	ClientSecretJWT   ClientAuthentication = "client_secret_jwt"
	PrivateKeyJWT     ClientAuthentication = "private_key_jwt"
	TLSClientAuth     ClientAuthentication = "tls_client_auth"
	ClientAuthNone    ClientAuthentication = "none"
)

// ClientAuthBearer authenticates a request by the token that it carries, and not
// by the client. It is for [RevocationRequest] alone.
const ClientAuthBearer ClientAuthentication = "bearer"

// A TokenRequest says how a token request differs from RFC 6749.
type TokenRequest struct {
	URL     string             `json:"url,omitempty"`     // not in tokenRequest
	Method  string             `json:"method,omitempty"`  // POST (default), or GET with the format query
	Format  string             `json:"format,omitempty"`  // form (default), json or query
	Headers map[string]string  `json:"headers,omitempty"` //
	Params  map[string]*string `json:"params,omitempty"`  // added or replaced; null removes
	Rename  map[string]string  `json:"rename,omitempty"`  // standard name to the vendor's
}

// A RevocationRequest says how the request to the revocation endpoint differs
// from RFC 7009. Format, headers and names are those of the token request where
// it is silent; the parameters are its own.
type RevocationRequest struct {
	Method  string             `json:"method,omitempty"` // POST (default) or DELETE
	Format  string             `json:"format,omitempty"`
	Headers map[string]string  `json:"headers,omitempty"`
	Params  map[string]*string `json:"params,omitempty"`
	Rename  map[string]string  `json:"rename,omitempty"`
	// ClientAuthentication is client_secret_basic, client_secret_post, none or
	// bearer; absent, that of the definition. With bearer the token is in the
	// Authorization header, and neither it nor the client is a parameter.
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitempty"`
	// Token is which of the tokens is revoked: access_token, refresh_token, or
	// both, each by a request of its own. Absent, it is the refresh token, which
	// ends the access tokens too (RFC 7009, section 2.1), else the access token.
	Token string `json:"token,omitempty"`
	// Gone are the error codes and the HTTP statuses of 4xx that mean that there
	// is nothing left to revoke. The code invalid_token always does.
	Gone []string `json:"gone,omitempty"`
}

// The values of [RevocationRequest.Token].
const (
	RevokeAccessToken  = "access_token"
	RevokeRefreshToken = "refresh_token"
	RevokeBoth         = "both"
)

// A TokenResponseShape says where the fields of a token answer lie. Each path
// has dots between its steps; a list of paths is tried in turn.
type TokenResponseShape struct {
	AccessToken      Paths             `json:"accessToken,omitempty"`
	RefreshToken     Paths             `json:"refreshToken,omitempty"`
	ExpiresIn        Paths             `json:"expiresIn,omitempty"`
	ExpiresAt        Paths             `json:"expiresAt,omitempty"` // a time: RFC 3339, or seconds or milliseconds since 1970
	Scope            Paths             `json:"scope,omitempty"`
	Success          *SuccessCheck     `json:"success,omitempty"`
	ErrorCode        Paths             `json:"errorCode,omitempty"`
	ErrorDescription Paths             `json:"errorDescription,omitempty"`
	ReauthErrors     []string          `json:"reauthErrors,omitempty"`     // codes that mean a person must consent
	ClientErrors     []string          `json:"clientErrors,omitempty"`     // codes that mean that the client itself is refused
	DefaultExpiresIn int64             `json:"defaultExpiresIn,omitempty"` // seconds, where the answer is silent
	Capture          map[string]string `json:"capture,omitempty"`          // name to path
	// Tokens are the paths of objects that hold further tokens, by a name for
	// each: {"user": "authed_user"}. Such an object has the same fields.
	Tokens map[string]string `json:"tokens,omitempty"`
}

// A SuccessCheck tells success from failure inside an HTTP 200.
type SuccessCheck struct {
	Path   string `json:"path"`
	Equals any    `json:"equals"`
}

// A RefreshPolicy tells what a provider does with refresh tokens.
type RefreshPolicy struct {
	// Rotation is "always", "never" or "sometimes"; absent, a new refresh token
	// is kept if one comes.
	Rotation string `json:"rotation,omitempty"`
	// ReuseGrace is how long a spent refresh token may be sent again;
	// [Unlimited] where it never dies.
	ReuseGrace   Duration `json:"reuseGrace,omitempty"`
	Lead         Duration `json:"lead,omitempty"`         // how long before the end of a token it is renewed
	IdleLifetime Duration `json:"idleLifetime,omitempty"` // after which an unused refresh token dies
	MaxLifetime  Duration `json:"maxLifetime,omitempty"`  // after which any refresh token of a grant dies
}

// An IdentityRequest asks a provider whose token it is.
type IdentityRequest struct {
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"` // GET
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"` // JSON, sent as it is
	Subject string            `json:"subject,omitempty"`
	Label   string            `json:"label,omitempty"`
}

// Paths is a list of dotted paths, written in JSON as one string or a list.
type Paths []string

// UnmarshalJSON implements [json.Unmarshaler].
func (p *Paths) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*p = Paths{one}
		return nil
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("want a path or a list of paths")
	}
	*p = list
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (p Paths) MarshalJSON() ([]byte, error) {
	if len(p) == 1 {
		return json.Marshal(p[0])
	}
	return json.Marshal([]string(p))
}

// A Duration is written as Go does, "30s", or "unlimited".
type Duration time.Duration

// Unlimited is longer than any other duration.
const Unlimited = Duration(forever)

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) {
	if d == Unlimited {
		return []byte("unlimited"), nil
	}
	text := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2] // Go writes 2160h0m0s
		}
	}
	return []byte(text), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	if string(text) == "unlimited" {
		*d = Unlimited
		return nil
	}
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is no duration; write it like 30s, 10m or 2160h", text)
	}
	*d = Duration(parsed)
	return nil
}

// A Source tells where a definition comes from. A later one replaces an earlier
// one only where the operator says so.
type Source string

// The sources by precedence.
const (
	SourceBuiltin Source = "builtin"
	SourceFile    Source = "file"
	SourcePlugin  Source = "plugin"
	SourceAPI     Source = "api"
)

// A SourcedDefinition is a definition in force.
type SourcedDefinition struct {
	Definition
	Source Source `json:"source"`
	// State is [ProviderStale] or [ProviderGone] where the source does not hold
	// the definition any more; else "".
	State  Status `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"` // of the state, for a person
	Held   *Held  `json:"held,omitempty"`
}

// Held says that a definition names another token host than it did, and that
// the operator has not accepted that.
type Held struct {
	Count   int      `json:"count"`   // credentials, and the registered app, that send nothing there
	Origins []string `json:"origins"` // that the definition names, to be accepted
}

// Refreshes reports whether a refresh token is worth keeping: supportsRefresh,
// true where the definition is silent.
func (d *Definition) Refreshes() bool { return d.SupportsRefresh == nil || *d.SupportsRefresh }

// Scopes returns the scopes to ask for: wanted, or where it is nil the default
// ones, and after them the required ones that it lacks.
func (d *Definition) Scopes(wanted []string) []string {
	if wanted == nil {
		wanted = d.DefaultScopes
	}
	out := make([]string, 0, len(wanted)+len(d.RequiredScopes))
	seen := map[string]bool{}
	for _, list := range [][]string{wanted, d.RequiredScopes} {
		for _, scope := range list {
			if scope != "" && !seen[scope] {
				seen[scope] = true
				out = append(out, scope)
			}
		}
	}
	return out
}

// JoinScopes renders scopes as this provider separates them.
func (d *Definition) JoinScopes(scopes []string) string {
	separator := d.ScopeSeparator
	if separator == "" {
		separator = " "
	}
	return strings.Join(scopes, separator)
}

// IsReauthError reports whether an error code of the token endpoint means that
// the grant is gone. RFC 6749, section 5.2, has invalid_grant for it.
func (d *Definition) IsReauthError(code string) bool {
	return code == "invalid_grant" || slices.Contains(d.TokenResponse.ReauthErrors, code)
}

// IsClientError reports whether an error code of the token endpoint means that
// the client or what it asks for is refused, which only an operator can mend.
func (d *Definition) IsClientError(code string) bool {
	switch code {
	case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request", "invalid_target":
		return true
	}
	return slices.Contains(d.TokenResponse.ClientErrors, code)
}
