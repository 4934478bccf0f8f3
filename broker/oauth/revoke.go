package oauth

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/invectd/invectd/broker"
)

// Revoke implements [broker.AuthorizationServer]. The request has the format,
// the headers and the names of the token request, and none of its other
// parameters; revocationRequest says what is different.
//
// Success is any 2xx that does not say otherwise, and what the definition says
// of tokens that are gone: the error `invalid_token` at least, which some vendors
// answer for a token that they do not know, where RFC 7009, section 2.2, wants
// 200.
func (c *Client) Revoke(ctx context.Context, k broker.Connection, token broker.Secret, hint string) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, opRevoke, k, revocationEndpoint)
	if err != nil {
		return err
	}
	if k.Definition.RevocationURL == "" {
		return invalid("revocationUrl", k.Definition.ID+" has no revocation; delete the credential without revoke and remove the access there, in a browser")
	}
	target, err := expandURL("revocationUrl", k.Definition.RevocationURL, k)
	if err != nil {
		return err
	}
	switch method := k.Definition.RevocationRequest.ClientAuthentication; method {
	case "":
	case broker.ClientAuthBearer:
		k.Definition.ClientAuthentication = broker.ClientAuthNone
	default:
		k.Definition.ClientAuthentication = method
	}
	proof, err := c.authenticate(k, target)
	if err != nil {
		return err
	}
	return c.revoke(ctx, k, proof, target, url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}})
}

func (c *Client) revoke(ctx context.Context, k broker.Connection, proof proof, target string, params url.Values) error {
	o := operation{opRevoke, &k.Definition, proof.transport}
	authorization := proof.apply(k.Client.ID, params)
	secrets := secretsIn(params, k)
	if k.Definition.RevocationRequest.ClientAuthentication == broker.ClientAuthBearer {
		// RFC 6750, section 2: a token is in one place alone.
		authorization, params = "Bearer "+params.Get("token"), nil
	}
	r, err := revocationRequest(ctx, k, target, params, authorization)
	if err != nil {
		return o.unanswered("", broker.SentNever, errNoRequest)
	}
	if r, err = c.hookRequest(o, k, r); err != nil {
		return o.unanswered("", broker.SentNever, err)
	}
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
	reason := cleanCode(code, secrets, slices.Concat(knownCodes(&k.Definition), k.Definition.RevocationRequest.Gone)...)
	if !refused || isGone(&k.Definition, got.status, reason) {
		return nil
	}
	return o.refused(r.URL.Host, got, reason, nil)
}

func revocationRequest(ctx context.Context, k broker.Connection, target string, params url.Values, authorization string) (*http.Request, error) {
	base, own, inputs := k.Definition.TokenRequest, k.Definition.RevocationRequest, inputsOf(k)
	shape := broker.TokenRequest{
		Format:  cmp.Or(own.Format, base.Format),
		Headers: merged(base.Headers, own.Headers),
		Params:  own.Params,
		Rename:  merged(base.Rename, own.Rename),
	}
	r, err := newRequest(ctx, target, shape, shapeParams(shape, params, inputs))
	if err != nil {
		return nil, err
	}
	r.Method = cmp.Or(own.Method, http.MethodPost)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	setHeaders(r, shape.Headers, inputs)
	return r, nil
}

// isGone reports whether a refusal means that there is nothing left to revoke.
func isGone(d *broker.Definition, status int, code string) bool {
	gone := d.RevocationRequest.Gone
	return code == "invalid_token" || slices.Contains(gone, code) || slices.Contains(gone, strconv.Itoa(status))
}
