package client

import (
	"context"
	"net/url"
	"time"
)

// ReadOptions say which token is good enough and how long to wait for it. A
// zero field leaves it to the daemon: 60 and 30 seconds.
type ReadOptions struct {
	MinValidity time.Duration
	Wait        time.Duration
}

func (o ReadOptions) query() url.Values {
	q := url.Values{}
	if o.MinValidity > 0 {
		q.Set("minValidity", o.MinValidity.String())
	}
	if o.Wait > 0 {
		q.Set("wait", o.Wait.String())
	}
	return q
}

// Token returns a valid token of a credential, named by its id or its name.
func (c *Client) Token(ctx context.Context, ref string, o ReadOptions) (t Token, err error) {
	_, err = c.Do(ctx, "GET", credentialPath(ref, "token"), o.query(), nil, &t)
	return t, err
}

// ProviderToken returns a valid token of the only credential of a provider.
func (c *Client) ProviderToken(ctx context.Context, provider string, o ReadOptions) (t Token, err error) {
	q := o.query()
	q.Set("provider", provider)
	_, err = c.Do(ctx, "GET", "/token", q, nil, &t)
	return t, err
}

// Resolve returns what an action sees of a credential.
func (c *Client) Resolve(ctx context.Context, ref string, o ReadOptions) (r Resolved, err error) {
	_, err = c.Do(ctx, "GET", credentialPath(ref, "resolve"), o.query(), nil, &r)
	return r, err
}

// Header returns the request header that authenticates with a credential, as
// names and values.
func (c *Client) Header(ctx context.Context, ref string, o ReadOptions) (h map[string]string, err error) {
	_, err = c.Do(ctx, "GET", credentialPath(ref, "header"), o.query(), nil, &h)
	return h, err
}

// Rejected says that an API answered 401 to the token of a generation, and
// returns the token to go on with.
func (c *Client) Rejected(ctx context.Context, ref string, generation uint64, o ReadOptions) (t Token, err error) {
	_, err = c.Do(ctx, "POST", credentialPath(ref, "rejected"), o.query(), Rejection{generation}, &t)
	return t, err
}

// credentialPath is the path of a credential, or of what is below it.
func credentialPath(ref string, below ...string) string {
	path := "/credentials/" + url.PathEscape(ref)
	for _, step := range below {
		path += "/" + step
	}
	return path
}
