package oauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/url"
	"time"

	"github.com/invectd/invectd/broker"
)

// Assert implements [broker.AuthorizationServer] (RFC 7523, section 2.1). A
// client with a secret proves itself too, as the definition says; any other is
// known by the assertion alone.
//
// Scopes are in the request, as RFC 7521, section 4.1, has it, and among the
// claims, where Google wants them. Where a provider refuses an assertion and its
// clock turns out to be another than the one that it was dated by, it gets a
// second one.
func (c *Client) Assert(ctx context.Context, k broker.Connection, a broker.Assertion) (broker.TokenResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, opAssert, k, tokenEndpoint)
	if err != nil {
		return broker.TokenResponse{}, err
	}
	target, err := expandURL("tokenUrl", k.Definition.TokenURL, k)
	if err != nil {
		return broker.TokenResponse{}, err
	}
	if k.Client.Secret.Empty() {
		k.Definition.ClientAuthentication = broker.ClientAuthNone
	}
	begun := time.Now()
	dated := c.clocks.at(hostOf(target), begun)
	token, err := c.assert(ctx, k, a, target, dated)
	if failed, ok := errors.AsType[*broker.ProviderError](err); !ok || failed.Sent != broker.SentAnswered || failed.Status/100 != 4 {
		return token, err
	}
	known := c.clocks.at(hostOf(target), begun)
	if known.Sub(dated).Abs() <= clockTolerance {
		return token, err
	}
	return c.assert(ctx, k, a, target, known)
}

func (c *Client) assert(ctx context.Context, k broker.Connection, a broker.Assertion, target string, now time.Time) (broker.TokenResponse, error) {
	scope := k.Definition.JoinScopes(a.Scopes)
	issuer := cmp.Or(a.Issuer, k.Client.ID)
	claims := map[string]any{
		"iss": issuer, "sub": cmp.Or(a.Subject, issuer), "aud": cmp.Or(a.Audience, target),
		"jti": rand.Text(), "iat": issued(now), "exp": ends(now),
	}
	if scope != "" {
		claims["scope"] = scope
	}
	maps.Copy(claims, a.Claims)
	assertion, err := signedJWT(k.Client, claims)
	if err != nil {
		return broker.TokenResponse{}, err
	}
	return c.token(ctx, opAssert, k, url.Values{
		"grant_type": {string(broker.GrantJWTBearer)},
		"assertion":  {assertion},
		"scope":      {scope},
	})
}
