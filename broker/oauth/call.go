package oauth

import (
	"context"
	"net/url"

	"github.com/invectd/invectd/broker"
)

// call makes one request as the client to an endpoint that is not the token
// endpoint but speaks as it does, and returns the JSON of a success.
func (c *Client) call(ctx context.Context, op string, k broker.Connection, field, endpoint string, params url.Values) (o operation, got answer, value any, err error) {
	target, err := expandURL(field, endpoint, k)
	if err != nil {
		return o, got, nil, err
	}
	proof, err := c.authenticate(k, target)
	if err != nil {
		return o, got, nil, err
	}
	o = operation{op, &k.Definition, proof.transport}
	authorization := proof.apply(k.Client.ID, params)
	secrets, inputs := secretsIn(params, k), inputsOf(k)
	shape := k.Definition.TokenRequest
	shape.Params = nil
	r, err := newRequest(ctx, target, shape, shapeParams(shape, params, inputs))
	if err != nil {
		return o, got, nil, o.unanswered("", broker.SentNever, errNoRequest)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	setHeaders(r, shape.Headers, inputs)
	if r, err = c.hookRequest(o, k, r); err != nil {
		return o, got, nil, o.unanswered("", broker.SentNever, err)
	}
	if got, err = c.send(o, r); err != nil {
		return o, got, nil, err
	}
	value, err = got.value()
	if err != nil {
		return o, got, nil, o.refused(r.URL.Host, got, "", err)
	}
	if code, refused := apiRefusal(&k.Definition.TokenResponse, got.status, value); refused {
		return o, got, nil, o.refused(r.URL.Host, got, cleanCode(code, secrets, knownCodes(&k.Definition)...), nil)
	}
	return o, got, value, nil
}

// apiRefusal is refusalIn without the rule for success of token answers, which
// these have no need to follow.
func apiRefusal(shape *broker.TokenResponseShape, status int, value any) (code any, refused bool) {
	own := *shape
	own.Success = nil
	return refusalIn(&own, status, value)
}
