package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/invectd/invectd/broker"
)

// Introspect implements [broker.AuthorizationServer] (RFC 7662). An answer that
// does not say plainly whether the token is active, or says so of one that it
// says has ended, is an error.
func (c *Client) Introspect(ctx context.Context, k broker.Connection, accessToken broker.Secret) (broker.Introspection, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, opIntrospect, k, introspectionEndpoint)
	if err != nil || k.Definition.IntrospectionURL == "" {
		return broker.Introspection{}, err
	}
	o, got, value, err := c.call(ctx, opIntrospect, k, "introspectionUrl", k.Definition.IntrospectionURL,
		url.Values{"token": {accessToken.Reveal()}, "token_type_hint": {"access_token"}})
	if err != nil {
		return broker.Introspection{}, err
	}
	given, _ := lookup(value, "active")
	active, plain := given.(bool)
	exp, _ := lookup(value, "exp")
	end, ends := number(exp)
	now := c.clocks.at(hostOf(k.Definition.IntrospectionURL), time.Now())
	if got.status != http.StatusOK || !plain || active && ends && float64(now.Add(-clockTolerance).Unix()) > end {
		return broker.Introspection{}, o.refused(hostOf(k.Definition.IntrospectionURL), got, "", errNotPlain)
	}
	return broker.Introspection{Supported: true, Active: active}, nil
}

var errNotPlain = errors.New("the answer does not say plainly whether the token is active")
