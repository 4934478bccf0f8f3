package oauth

import (
	"context"
	"net/url"

	"github.com/invectd/invectd/broker"
)

// Revoke implements [broker.AuthorizationServer]. The request has the format,
// the headers and the names of the token request, and none of its other
// parameters.
//
// Success is any 2xx that does not say otherwise, and the error `invalid_token`,
// which some vendors answer for a token that they do not know, where RFC 7009,
// section 2.2, wants 200.
func (c *Client) Revoke(ctx context.Context, k broker.Connection, token broker.Secret, hint string) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, opRevoke, k, revocationEndpoint)
	if err != nil {
		return err
	}
	if k.Definition.RevocationURL == "" {
		return invalid("revocationUrl", k.Definition.ID+" has no revocation endpoint; revoke its access there, in a browser")
	}
	target, err := expandURL("revocationUrl", k.Definition.RevocationURL, k)
	if err != nil {
		return err
	}
	proof, err := c.authenticate(k, target)
	if err != nil {
		return err
	}
	return c.revoke(ctx, k, proof, target, url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}})
}

func (c *Client) revoke(ctx context.Context, k broker.Connection, proof proof, target string, params url.Values) error {
	o := operation{opRevoke, &k.Definition, proof.transport}
	shape, inputs := k.Definition.TokenRequest, inputsOf(k)
	shape.Params = nil
	authorization := proof.apply(k.Client.ID, params)
	r, err := newRequest(ctx, target, shape, shapeParams(shape, params, inputs))
	if err != nil {
		return o.unanswered("", broker.SentNever, errNoRequest)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	setHeaders(r, shape.Headers, inputs)
	got, err := c.send(o, r)
	if err != nil {
		return err
	}
	value, err := got.value()
	if err != nil {
		return nil // a success whose body RFC 7009 gives no meaning
	}
	answers := k.Definition.TokenResponse
	if check := answers.Success; check != nil {
		if _, has := lookup(value, check.Path); !has {
			answers.Success = nil // it is a rule for token answers first of all
		}
	}
	code, refused := refusalIn(&answers, got.status, value)
	reason := cleanCode(code, secretsIn(params, k))
	if !refused || reason == "invalid_token" {
		return nil
	}
	return o.refused(r.URL.Host, got, reason, nil)
}
