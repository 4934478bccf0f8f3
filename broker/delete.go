package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeleteCredential removes a credential; with revoke, only after the provider
// has revoked its tokens.
func (b *Broker) DeleteCredential(ctx context.Context, caller Caller, ref string, revoke bool) (err error) {
	s, err := b.find(ctx, caller, VerbWrite, ref)
	if err != nil {
		return err
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	change, err := b.begin(s.entry)
	if err != nil {
		return err
	}
	defer change.end(&err)
	if revoke {
		if err := b.revoke(ctx, &c); err != nil {
			return fmt.Errorf("credential %q was not deleted, since its tokens could not be revoked: %w", s.Name, err)
		}
	}
	if err := b.Store.Delete(ctx, s.ID); err != nil {
		return fmt.Errorf("deleting credential %q: %w", s.Name, err)
	}
	b.Tokens.Delete(s.ID)
	b.Refresher.Forget(s.ID)
	b.Events.Publish(Event{Type: EventDeleted, CredentialID: s.ID, about: new(c.subject())})
	return nil
}

// revoke invalidates the grant behind a credential, by the tokens that its
// provider wants for it.
func (b *Broker) revoke(ctx context.Context, c *Credential) error {
	if c.AuthType != AuthOAuth2 {
		return invalid("revoke", "a credential of type %s has no tokens to revoke", c.AuthType)
	}
	connection, err := b.connections.For(ctx, c)
	if err != nil {
		return err
	}
	tokens, err := b.revocable(ctx, c, connection.Definition.RevocationRequest.Token)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if err := b.Server.Revoke(ctx, connection, t.token, t.hint); err != nil {
			return err
		}
	}
	return nil
}

// A revocableToken is a token with its token_type_hint of RFC 7009, section 2.1.
type revocableToken struct {
	token Secret
	hint  string
}

// revocable returns the tokens to revoke, one after the other; none where the
// credential has none. which is [RevocationRequest.Token].
func (b *Broker) revocable(ctx context.Context, c *Credential, which string) ([]revocableToken, error) {
	if which == RevokeAccessToken {
		access, err := b.liveAccessToken(ctx, c)
		return stored(revocableToken{access, "access_token"}), err
	}
	// The refresh token comes first: no new access token is had from then on.
	tokens := stored(
		revocableToken{c.Config.Secret(KeyRefreshToken), "refresh_token"},
		revocableToken{c.Config.Secret(KeyAccessToken), "access_token"},
	)
	switch {
	case which == RevokeBoth || len(tokens) == 0:
		return tokens, nil
	case which == RevokeRefreshToken && tokens[0].hint != "refresh_token":
		return nil, invalid("revoke", "it has no refresh token, and %s revokes nothing else; delete it without revoke", c.Provider)
	}
	return tokens[:1], nil
}

func stored(tokens ...revocableToken) []revocableToken {
	return slices.DeleteFunc(tokens, func(t revocableToken) bool { return t.token.Empty() })
}

// liveAccessToken returns the access token, renewed where it has ended and could
// be: that a provider does not know an ended one says nothing about the grant,
// which its refresh token keeps alive.
func (b *Broker) liveAccessToken(ctx context.Context, c *Credential) (Secret, error) {
	need := Need{Validity: DefaultValidity}
	token, _ := c.Token()
	if need.Met(token, time.Now()) || c.Config.Secret(KeyRefreshToken).Empty() {
		return token.Access, nil
	}
	renewed, err := b.refresh(ctx, c.ID, need, DefaultWait)
	switch {
	case err == nil:
		return renewed.Access, nil
	case !token.Access.Empty() && token.ValidFor(time.Now()) > 0:
		return token.Access, nil
	case errors.Is(err, ErrReauthorize), errors.Is(err, ErrDisabled):
		return Secret{}, invalid("revoke", "its access token has ended and cannot be renewed, and %s revokes by a living one only; delete it without revoke and remove the access there, in a browser", c.Provider)
	}
	return Secret{}, err
}
