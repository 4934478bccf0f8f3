package oauth

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/invectd/invectd/broker"
)

// AuthorizationURL implements [broker.AuthorizationServer]. What the definition's
// own URL already has in its query stays, unless the flow sets it.
func (c *Client) AuthorizationURL(ctx context.Context, k broker.Connection, r broker.AuthorizationRequest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, opAuthorize, k, authorizationEndpoint)
	if err != nil {
		return "", err
	}
	target, err := expandURL("authorizationUrl", k.Definition.AuthorizationURL, k)
	if err != nil {
		return "", err
	}
	base, own, _ := strings.Cut(target, "?")
	params := authorizationParams(k, r)
	var query []string
	for pair := range strings.SplitSeq(own, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name, err = url.QueryUnescape(name); err == nil && pair != "" && !params.Has(name) {
			query = append(query, pair)
		}
	}
	return c.hookAuthorizationURL(ctx, k, base+"?"+strings.Join(append(query, params.Encode()), "&"))
}

// authorizationParams returns the parameters of RFC 6749, section 4.1.1, and RFC
// 7636, section 4.3, and the vendor's around them.
func authorizationParams(k broker.Connection, r broker.AuthorizationRequest) url.Values {
	params := url.Values{}
	inputs := inputsOf(k)
	for name, value := range k.Definition.AdditionalAuthParams {
		params.Set(name, broker.Expand(value, inputs))
	}
	for name, value := range r.Params {
		params.Set(name, value)
	}
	for name := range params {
		if params.Get(name) == "" || broker.IsProtocolParam(name) {
			params.Del(name)
		}
	}
	shape := k.Definition.AuthorizationRequest
	protocol := map[string]string{
		"response_type": cmp.Or(shape.ResponseType, "code"),
		"client_id":     k.Client.ID,
		"redirect_uri":  r.RedirectURI,
		"scope":         k.Definition.JoinScopes(r.Scopes),
		"state":         r.State,
	}
	if !r.Verifier.Empty() {
		protocol["code_challenge"] = oauth2.S256ChallengeFromVerifier(r.Verifier.Reveal())
		protocol["code_challenge_method"] = "S256"
	}
	if shape.ResponseType == broker.NoResponseType {
		delete(protocol, "response_type")
	}
	for name, value := range protocol {
		if value != "" {
			params.Set(cmp.Or(shape.Rename[name], name), value)
		}
	}
	return params
}
