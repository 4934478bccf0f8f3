package broker

import (
	"context"
	"fmt"
)

// DeleteCredential removes a credential; with revoke, only after the provider
// has revoked its tokens.
func (b *Broker) DeleteCredential(ctx context.Context, caller Caller, ref string, revoke bool) error {
	s, err := b.find(caller, VerbWrite, ref)
	if err != nil {
		return err
	}
	if revoke {
		if err := b.revoke(ctx, s); err != nil {
			return fmt.Errorf("credential %q was not deleted, since its tokens could not be revoked: %w", s.Name, err)
		}
	}
	if err := b.Store.Delete(ctx, s.ID); err != nil {
		return fmt.Errorf("deleting credential %q: %w", s.Name, err)
	}
	b.Tokens.Delete(s.ID)
	b.Refresher.Forget(s.ID)
	b.Events.Publish(Event{Type: EventDeleted, CredentialID: s.ID})
	return nil
}

// revoke invalidates the grant behind a credential: by its refresh token, which
// ends the access tokens too (RFC 7009, section 2.1), else by the access token.
func (b *Broker) revoke(ctx context.Context, s Summary) error {
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return err
	}
	if c.AuthType != AuthOAuth2 {
		return invalid("revoke", "a credential of type %s has no tokens to revoke", c.AuthType)
	}
	connection, err := b.connections.For(ctx, &c)
	if err != nil {
		return err
	}
	for _, key := range []string{KeyRefreshToken, KeyAccessToken} {
		if token := c.Config.Secret(key); !token.Empty() {
			hint := map[string]string{KeyRefreshToken: "refresh_token", KeyAccessToken: "access_token"}[key]
			return b.Server.Revoke(ctx, connection, token, hint)
		}
	}
	return nil
}
