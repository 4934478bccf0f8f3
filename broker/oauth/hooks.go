package oauth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/invectd/invectd/broker"
)

// A hookError says why a plugin did not do what a definition needs of it.
type hookError struct{ err error }

func (e *hookError) Error() string { return e.err.Error() }

func (e *hookError) Unwrap() error { return e.err }

var (
	errNoPlugins = errors.New("it needs a plugin, and there are none")
	errHookHost  = errors.New("its plugin wants to send the request to another host, which no plugin may")
	errHookForm  = errors.New("its plugin made a request of it that cannot be sent")
)

// hookAuthorizationURL lets the provider's plugin change where a person is sent.
func (c *Client) hookAuthorizationURL(ctx context.Context, k broker.Connection, target string) (string, error) {
	if len(k.Definition.Hooks) == 0 {
		return target, nil
	}
	o := operation{op: opAuthorize, definition: &k.Definition}
	err := c.ready(&k.Definition) // all of them: nobody should consent in vain
	if err == nil && k.Definition.HasHook(broker.HookAuthorizationURL) {
		before := target
		if target, err = c.config.Hooks.AuthorizationURL(ctx, k, target); err == nil && !broker.SameHost(before, target) {
			err = errHookHost
		}
	}
	if err != nil {
		return "", o.unanswered("", broker.SentNever, &hookError{err})
	}
	return target, nil
}

func (c *Client) ready(d *broker.Definition) error {
	if c.config.Hooks == nil {
		return errNoPlugins
	}
	return c.config.Hooks.Ready(d)
}

// hookRequest lets the provider's plugin change a request that is about to be
// sent. Where a hook is missing nothing is sent at all: a single-use token must
// not be spent on an answer that nobody can read.
func (c *Client) hookRequest(o operation, k broker.Connection, r *http.Request) (*http.Request, error) {
	if len(k.Definition.Hooks) == 0 {
		return r, nil
	}
	err := c.ready(&k.Definition)
	if err == nil && k.Definition.HasHook(broker.HookTokenRequest) {
		r, err = c.changeRequest(o, k, r)
	}
	if err != nil {
		return nil, &hookError{err}
	}
	return r, nil
}

func (c *Client) changeRequest(o operation, k broker.Connection, r *http.Request) (*http.Request, error) {
	before := broker.HookRequest{Method: r.Method, URL: r.URL.String(), Headers: flat(r.Header)}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, errHookForm
		}
		before.Body = body
	}
	after, err := c.config.Hooks.TokenRequest(r.Context(), k, o.op, before)
	switch {
	case err != nil:
		return nil, err
	case !broker.SameHost(before.URL, after.URL):
		return nil, errHookHost
	}
	changed, err := http.NewRequestWithContext(r.Context(), after.Method, after.URL, bytes.NewReader(after.Body))
	if err != nil {
		return nil, errHookForm
	}
	for name, value := range after.Headers {
		changed.Header.Set(name, value)
	}
	return changed, nil
}

// hookResponsePause is how long a plugin is given to come back before it is asked
// again to read an answer.
const hookResponsePause = time.Second

// hookResponse lets the provider's plugin change an answer. The answer may hold
// the only refresh token there is, so that a plugin that fails is asked again as
// long as there is time.
func (c *Client) hookResponse(ctx context.Context, o operation, k broker.Connection, got answer) (answer, error) {
	if !k.Definition.HasHook(broker.HookTokenResponse) {
		return got, nil
	}
	before := broker.HookResponse{Status: got.status, Headers: flat(got.header), Body: got.body}
	for {
		after, err := c.config.Hooks.TokenResponse(ctx, k, o.op, before)
		if err == nil {
			return answer{after.Status, got.header, after.Body}, nil
		}
		if _, refused := errors.AsType[*broker.HookRefusal](err); refused {
			return got, &hookError{err}
		}
		select {
		case <-ctx.Done():
			return got, &hookError{err}
		case <-time.After(hookResponsePause):
		}
	}
}

// flat returns the first value of each header.
func flat(header http.Header) map[string]string {
	out := make(map[string]string, len(header))
	for name := range header {
		out[name] = header.Get(name)
	}
	return out
}
