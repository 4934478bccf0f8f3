package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
)

// scriptedHooks are those of a plugin that does what a test wants.
type scriptedHooks struct {
	ready    error
	request  func(broker.HookRequest) (broker.HookRequest, error)
	response func(broker.HookResponse) (broker.HookResponse, error)
	url      func(string) string
	client   broker.Client // as it was shown last
	op       string
}

func (s *scriptedHooks) Ready(*broker.Definition) error { return s.ready }

func (s *scriptedHooks) AuthorizationURL(_ context.Context, _ broker.Connection, url string) (string, error) {
	return s.url(url), nil
}

func (s *scriptedHooks) Callback(context.Context, broker.Connection, string) error { return nil }

func (s *scriptedHooks) TokenRequest(_ context.Context, c broker.Connection, op string, r broker.HookRequest) (broker.HookRequest, error) {
	s.client, s.op = c.Client, op
	return s.request(r)
}

func (s *scriptedHooks) TokenResponse(_ context.Context, _ broker.Connection, _ string, r broker.HookResponse) (broker.HookResponse, error) {
	return s.response(r)
}

// hooked returns a connection whose definition needs hooks.
func hooked(tokenURL string, hooks ...broker.Hook) broker.Connection {
	k := connection(tokenURL)
	k.Definition.Hooks = hooks
	return k
}

func withHooks(t *testing.T, hooks broker.Hooks) *Client {
	t.Helper()
	c := New(Config{Addresses: loopback, Timeout: 5 * time.Second, Hooks: hooks})
	t.Cleanup(c.Close)
	return c
}

// TestTokenHooks: a plugin signs the request and reads the answer, in all calls
// that carry the client or a token.
func TestTokenHooks(t *testing.T) {
	provider := record(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"odd":{"token":"`+canaryAccess+`"}}`)
	})
	hooks := &scriptedHooks{
		request: func(r broker.HookRequest) (broker.HookRequest, error) {
			r.Method = http.MethodPut
			r.URL += "?signed=1"
			r.Headers["X-Signature"] = fmt.Sprintf("of %d bytes", len(r.Body))
			r.Body = append(r.Body, "&more=1"...)
			return r, nil
		},
		response: func(r broker.HookResponse) (broker.HookResponse, error) {
			if r.Status != http.StatusCreated || !strings.Contains(string(r.Body), "odd") {
				t.Errorf("TokenResponse was shown %d %s, want the provider's answer", r.Status, r.Body)
			}
			return broker.HookResponse{Status: 200, Body: []byte(`{"access_token":"` + canaryAccess + `","expires_in":60}`)}, nil
		},
	}
	k := hooked(provider.URL, broker.HookTokenRequest, broker.HookTokenResponse)
	k.Definition.RevocationURL, k.Definition.IntrospectionURL = provider.URL+"/revoke", provider.URL+"/introspect"
	c := withHooks(t, hooks)
	token, err := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh))
	if err != nil || token.AccessToken.Reveal() != canaryAccess || token.ExpiresAt.IsZero() {
		t.Errorf("Refresh() = %v, want the token that the plugin read", err)
	}
	if err := c.Revoke(t.Context(), k, broker.NewSecret(canaryRefresh), "refresh_token"); err != nil {
		t.Errorf("Revoke() = %v, want nil", err)
	}
	_, _ = c.Introspect(t.Context(), k, broker.NewSecret(canaryAccess)) // what it answers says nothing
	requests := provider.requests()
	if len(requests) != 3 {
		t.Fatalf("the provider was asked %d times, want 3", len(requests))
	}
	for _, r := range requests {
		if r.Method != http.MethodPut || r.URL.RawQuery != "signed=1" || !strings.HasPrefix(r.Header.Get("X-Signature"), "of ") || !strings.HasSuffix(r.body, "&more=1") {
			t.Errorf("the provider was asked %s %s with %q, want it as the plugin made it", r.Method, r.URL, r.body)
		}
	}
	if hooks.client.Secret.Reveal() != canarySecret || hooks.op != opIntrospect {
		t.Errorf("the plugin was shown the client %q in %s, want the whole client", hooks.client.ID, hooks.op)
	}
}

// TestHooksSpendNothing: where a hook is missing, refuses or wants to go elsewhere,
// no request leaves.
func TestHooksSpendNothing(t *testing.T) {
	provider, evil := record(t, saysJSON(`{}`)), record(t, saysJSON(`{}`))
	missing := errors.New("plugin acme is not granted the hook token_request")
	for name, hooks := range map[string]broker.Hooks{
		"needs a plugin": nil,
		"not granted":    &scriptedHooks{ready: missing},
		"says: no": &scriptedHooks{request: func(broker.HookRequest) (broker.HookRequest, error) {
			return broker.HookRequest{}, &broker.HookRefusal{Plugin: "acme", Message: "no"}
		}},
		"another host": &scriptedHooks{request: func(r broker.HookRequest) (broker.HookRequest, error) {
			r.URL = evil.URL
			return r, nil
		}},
		"cannot be sent": &scriptedHooks{request: func(r broker.HookRequest) (broker.HookRequest, error) {
			r.Method = "NO WAY"
			return r, nil
		}},
	} {
		_, err := withHooks(t, hooks).Refresh(t.Context(), hooked(provider.URL, broker.HookTokenRequest), broker.NewSecret(canaryRefresh))
		failed, ok := errors.AsType[*broker.ProviderError](err)
		if !ok || failed.Sent != broker.SentNever || !strings.Contains(err.Error(), name) {
			t.Errorf("Refresh() = %v, want that nothing was sent, since: %s", err, name)
		}
	}
	if got := len(provider.requests()) + len(evil.requests()); got != 0 {
		t.Errorf("%d requests were sent, want none", got)
	}
}

// TestResponseHookIsAskedAgain: the answer may hold the only refresh token there
// is, so that a plugin that died over it is waited for.
func TestResponseHookIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		hooks := &scriptedHooks{response: func(r broker.HookResponse) (broker.HookResponse, error) {
			if asked.Add(1) < 4 {
				return broker.HookResponse{}, errors.New("its plugin acme does not run")
			}
			return r, nil
		}}
		c := New(Config{Hooks: hooks})
		k := hooked("https://acme.example", broker.HookTokenResponse)
		o := operation{op: opRefresh, definition: &k.Definition}
		want := answer{status: 200, body: []byte("{}")}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if got, err := c.hookResponse(ctx, o, k, want); err != nil || string(got.body) != "{}" || asked.Load() != 4 {
			t.Errorf("hookResponse() = %s, %v after %d calls, want the answer after 4", got.body, err, asked.Load())
		}
		hooks.response = func(broker.HookResponse) (broker.HookResponse, error) {
			asked.Add(1)
			return broker.HookResponse{}, &broker.HookRefusal{Plugin: "acme", Message: "no"}
		}
		asked.Store(0)
		if _, err := c.hookResponse(ctx, o, k, want); err == nil || asked.Load() != 1 {
			t.Errorf("hookResponse() = %v after %d calls, want a refusal after 1", err, asked.Load())
		}
	})
}

// TestAuthorizationHook: a plugin may change the address, and not the host.
func TestAuthorizationHook(t *testing.T) {
	k := hooked("https://acme.example/token", broker.HookAuthorizationURL)
	hooks := &scriptedHooks{url: func(url string) string { return url + "&shop=1" }}
	c := withHooks(t, hooks)
	got, err := c.AuthorizationURL(t.Context(), k, broker.AuthorizationRequest{State: "s"})
	if err != nil || !strings.HasSuffix(got, "&shop=1") {
		t.Errorf("AuthorizationURL() = %q, %v, want what the plugin made of it", got, err)
	}
	hooks.url = func(string) string { return "https://evil.example/authorize?state=s" }
	if got, err := c.AuthorizationURL(t.Context(), k, broker.AuthorizationRequest{State: "s"}); err == nil {
		t.Errorf("AuthorizationURL() = %q, want an error for another host", got)
	}
	hooks.ready = errors.New("does not run")
	if _, err := c.AuthorizationURL(t.Context(), k, broker.AuthorizationRequest{State: "s"}); err == nil {
		t.Error("AuthorizationURL() without its plugin = nil, want an error before anybody consents")
	}
}
