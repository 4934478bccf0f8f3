package oauth

import (
	"context"
	"net/http"
	"strings"
	"unicode"

	"github.com/invectd/invectd/broker"
)

// Identify implements [broker.AuthorizationServer]. A failure inside an HTTP 200
// is seen by the success check of token answers, where the answer has its path,
// and by the `errors` of GraphQL.
func (c *Client) Identify(ctx context.Context, k broker.Connection, accessToken broker.Secret) (broker.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	ask := k.Definition.Identity
	if ask == nil {
		return broker.Identity{}, invalid("identity", k.Definition.ID+" has no request that tests a token; add identity to its definition")
	}
	o := operation{opIdentify, &k.Definition, c.transport}
	r, err := identityRequest(ctx, k, accessToken)
	if err != nil {
		return broker.Identity{}, err
	}
	got, err := c.send(o, r)
	if err != nil {
		return broker.Identity{}, err
	}
	value, err := got.value()
	code, refused := identityRefusal(&k.Definition.TokenResponse, got.status, value)
	if refused || err != nil {
		return broker.Identity{}, o.refused(r.URL.Host, got, cleanCode(code, []string{accessToken.Reveal()}), err)
	}
	return broker.Identity{Subject: shown(textAt(value, ask.Subject)), Label: shown(textAt(value, ask.Label))}, nil
}

// shown returns what of a vendor's text a terminal may be given.
func shown(text string) string {
	const most = 256
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text))
	return string(runes[:min(len(runes), most)])
}

func identityRequest(ctx context.Context, k broker.Connection, accessToken broker.Secret) (*http.Request, error) {
	ask := k.Definition.Identity
	target, err := expandURL("identity.url", ask.URL, k)
	if err != nil {
		return nil, err
	}
	method := http.MethodGet
	if ask.Method != "" {
		method = ask.Method
	}
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(ask.Body))
	if err != nil {
		return nil, invalid("identity", "makes no HTTP request")
	}
	if ask.Body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	setHeaders(r, ask.Headers, withToken(k, accessToken))
	return r, nil
}

// withToken returns the values of {name} for a request that carries a token, which
// some vendors want in a header of their own.
func withToken(k broker.Connection, accessToken broker.Secret) map[string]string {
	return merged(inputsOf(k), map[string]string{"access_token": accessToken.Reveal()})
}

// identityRefusal is refusalIn for an answer that is an API's and not a token
// endpoint's, where a field called `error` may mean anything.
func identityRefusal(shape *broker.TokenResponseShape, status int, value any) (code any, refused bool) {
	if status/100 != 2 {
		return refusalIn(shape, status, value)
	}
	if check := shape.Success; check != nil {
		if got, has := lookup(value, check.Path); has && !sameJSON(got, check.Equals) {
			return refusalIn(shape, status, value)
		}
	}
	_, refused = lookup(value, "errors.0")
	return nil, refused
}
