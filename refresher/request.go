package refresher

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/invectd/invectd/broker"
)

// A request asks a provider for tokens, once.
type request func(context.Context) (broker.TokenResponse, error)

// requestOf returns the request of a credential's grant. Nothing is asked yet,
// but where it trades another credential's token that one is renewed first. A
// refresh token that a grant brings which repeats is not needed.
func (f *flight) requestOf(ctx context.Context, k broker.Connection, c *broker.Credential) (request, error) {
	ask, err := f.plainRequestOf(ctx, k, c)
	if err != nil || !c.GrantType().Repeats() {
		return ask, err
	}
	return func(ctx context.Context) (broker.TokenResponse, error) {
		answer, err := ask(ctx)
		answer.RefreshToken = broker.Secret{}
		return answer, err
	}, nil
}

func (f *flight) plainRequestOf(ctx context.Context, k broker.Connection, c *broker.Credential) (request, error) {
	server, scopes := f.config.Server, k.Definition.Scopes(wantedScopes(c))
	if d, ok := c.DeviceFlow(); ok && d.Status == broker.DevicePending {
		return func(ctx context.Context) (broker.TokenResponse, error) {
			answer, err := server.PollDevice(ctx, k, d.Code)
			if answer.Scope == "" && !answer.ScopeEmpty {
				answer.Scope = strings.Join(wantedScopes(c), " ") // RFC 6749, section 5.1
			}
			if !k.Definition.Refreshes() {
				answer.RefreshToken = broker.Secret{}
			}
			return answer, err
		}, nil
	}
	switch c.GrantType() {
	case broker.GrantClientCredentials:
		return func(ctx context.Context) (broker.TokenResponse, error) {
			return server.ClientCredentials(ctx, k, scopes)
		}, nil
	case broker.GrantJWTBearer:
		return func(ctx context.Context) (broker.TokenResponse, error) {
			return server.Assert(ctx, k, c.Assertion(scopes))
		}, nil
	case broker.GrantTokenExchange:
		x := c.TokenExchange(scopes)
		if id := c.SubjectID(); id != "" {
			subject, err := f.subject(ctx, id)
			if err != nil {
				return nil, err
			}
			x.SubjectToken = subject
		}
		return func(ctx context.Context) (broker.TokenResponse, error) { return server.ExchangeToken(ctx, k, x) }, nil
	}
	token := c.Config.Secret(broker.KeyRefreshToken)
	return func(ctx context.Context) (broker.TokenResponse, error) { return server.Refresh(ctx, k, token) }, nil
}

// subject returns the token of the credential that another one trades. What is
// wrong with it is told, but is not a failure of the other one's own grant or
// client.
func (f *flight) subject(ctx context.Context, id broker.ID) (broker.Secret, error) {
	c, err := f.config.Store.Get(ctx, id)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return broker.Secret{}, &broker.InvalidError{Message: fmt.Sprintf("credential %s, whose token is exchanged, is gone; create this one anew", id)}
	case err != nil:
		return broker.Secret{}, err
	case c.SubjectID() != "": // two would wait for each other
		return broker.Secret{}, &broker.InvalidError{Message: fmt.Sprintf("credential %s, whose token is exchanged, exchanges another one's itself", id)}
	}
	token, has := c.Token()
	if !has || !(broker.Need{Validity: broker.DefaultValidity}).Met(token, wallClock()) || !c.IsActive {
		token, err = f.Refresh(ctx, id, broker.Need{Validity: broker.DefaultValidity})
	}
	switch {
	case err == nil:
		return token.Access, nil
	case errors.Is(err, broker.ErrShuttingDown), errors.Is(err, broker.ErrStoreUnavailable):
		return broker.Secret{}, err
	}
	return broker.Secret{}, fmt.Errorf("the token to exchange is missing: %s", err)
}

// wantedScopes are those that the credential was made for; nil for the
// provider's default ones.
func wantedScopes(c *broker.Credential) (scopes []string) {
	list, _ := c.Metadata["scopes"].([]any)
	for _, scope := range list {
		if text, ok := scope.(string); ok {
			scopes = append(scopes, text)
		}
	}
	if scopes == nil {
		scopes = strings.Fields(c.Config.Text(broker.KeyScope))
	}
	if len(scopes) == 0 {
		return nil
	}
	return scopes
}
