package oauth

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/invectd/invectd/broker"
)

// lookupTimeout bounds a lookup, as does half of the time that its caller has
// left: within that the new token has to be stored too.
const lookupTimeout = 5 * time.Second

// longLived trades the token that a code brought for the one to keep, where the
// definition has a request for that. What the first answer captured and the
// second lacks stays.
func (c *Client) longLived(ctx context.Context, k broker.Connection, first broker.TokenResponse) (broker.TokenResponse, error) {
	if k.Definition.LongLivedRequest.URL == "" {
		return first, nil
	}
	second, err := c.token(ctx, opLongLived, k, url.Values{
		"grant_type":   {"exchange_token"},
		"access_token": {first.AccessToken.Reveal()},
	})
	if err != nil {
		return broker.TokenResponse{}, err
	}
	if second.Scope == "" {
		second.Scope = first.Scope
	}
	second.Captured = merged(first.Captured, second.Captured)
	return second, nil
}

// lookup adds to a token what a request with it tells about the connection. It is
// asked once, and again after each refresh until it was answered: a token is not
// given up for it.
func (c *Client) lookup(ctx context.Context, k broker.Connection, token *broker.TokenResponse) {
	ask := k.Definition.Lookup
	if ask == nil || known(k, ask) {
		return
	}
	patience := lookupTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k.Inputs = merged(k.Inputs, texts(token.Captured))
	target, err := expandURL("lookup.url", ask.URL, k)
	if err != nil {
		return
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
	setHeaders(r, ask.Headers, withToken(k, token.AccessToken))
	got, err := c.send(operation{opLookup, &k.Definition, c.transport}, r)
	if err != nil || got.status/100 != 2 {
		return
	}
	value, err := got.value()
	if err != nil {
		return
	}
	token.Captured = merged(token.Captured, captureAt(ask.Capture, value))
	for name, text := range texts(token.Captured) {
		token.Captured[name] = text // a number too, so that it can stand for {name}
	}
}

// known reports whether a connection has all that a lookup is for.
func known(k broker.Connection, ask *broker.Lookup) bool {
	for name := range ask.Capture {
		if k.Inputs[name] == "" {
			return false
		}
	}
	return true
}

// texts returns the values that are text.
func texts(values map[string]any) map[string]string {
	out := map[string]string{}
	for name := range values {
		if text := textAt(values, name); text != "" {
			out[name] = text
		}
	}
	return out
}
