package broker

import (
	"context"
	"errors"
	"net/url"
	"slices"
)

// A Hook is a place where a plugin steps in, for what a definition cannot say.
type Hook string

// The hooks. All but the first see secrets.
const (
	HookAuthorizationURL Hook = "authorization_url" // changes where a person is sent
	HookCallback         Hook = "callback"          // checks what the browser brought back
	HookTokenRequest     Hook = "token_request"     // changes or signs a request with a client or a token in it
	HookTokenResponse    Hook = "token_response"    // changes what the token endpoint answered
)

// AllHooks are the hooks by name, in the order in which a flow meets them.
var AllHooks = []Hook{HookAuthorizationURL, HookCallback, HookTokenRequest, HookTokenResponse}

// SeesSecrets reports whether a hook is shown tokens, codes or the client's secret.
func (h Hook) SeesSecrets() bool { return h != HookAuthorizationURL }

// A HookRequest is an HTTP request that is about to be sent. Header names are
// canonical.
type HookRequest struct {
	Method, URL string
	Headers     map[string]string
	Body        []byte
}

// A HookResponse is an HTTP answer that came. Header names are canonical.
type HookResponse struct {
	Status  int
	Headers map[string]string
	Body    []byte
}

// Hooks are the functions of plugins. Each is called only where the definition
// names its hook, and then has to succeed: an error means that the plugin is not
// there, that the operator did not grant the hook, or that it said no, and nothing
// is sent. Errors hold no secret. All methods may be called concurrently.
type Hooks interface {
	// Ready returns nil if all hooks of the definition could be called now.
	Ready(d *Definition) error
	// AuthorizationURL returns where to send a person instead, on the same host.
	AuthorizationURL(ctx context.Context, c Connection, url string) (string, error)
	// Callback checks the query that a browser brought back.
	Callback(ctx context.Context, c Connection, query string) error
	// TokenRequest returns the request to send instead, to the same host.
	TokenRequest(ctx context.Context, c Connection, operation string, r HookRequest) (HookRequest, error)
	// TokenResponse returns the answer to read instead.
	TokenResponse(ctx context.Context, c Connection, operation string, r HookResponse) (HookResponse, error)
}

// A HookRefusal is a plugin's own no: to ask it again changes nothing.
type HookRefusal struct {
	Plugin  string
	Message string // the plugin's words, for a person
}

func (e *HookRefusal) Error() string { return "its plugin " + e.Plugin + " says: " + e.Message }

// SameHost reports whether two URLs have one scheme and host. A hook may change
// all else.
func SameHost(a, b string) bool {
	first, err := url.Parse(a)
	second, otherErr := url.Parse(b)
	return err == nil && otherErr == nil && second.User == nil && first.Scheme == second.Scheme && first.Host == second.Host
}

// HasHook reports whether the provider needs a hook.
func (d *Definition) HasHook(h Hook) bool { return slices.Contains(d.Hooks, h) }

// hookCallback has the provider's plugin check what a browser brought back.
func (b *Broker) hookCallback(ctx context.Context, c Connection, query Secret) error {
	if !c.Definition.HasHook(HookCallback) {
		return nil
	}
	if query.Empty() {
		return invalid("code", "the plugin of %s checks the whole redirect, which has to come to the daemon's own callback", c.Definition.ID)
	}
	err := b.Hooks.Callback(ctx, c, query.Reveal())
	if refusal, ok := errors.AsType[*HookRefusal](err); ok {
		return invalid("code", "%v", refusal)
	}
	if err != nil {
		return &ProviderError{Op: "authorize", Provider: c.Definition.ID, Sent: SentNever, Err: err}
	}
	return nil
}
