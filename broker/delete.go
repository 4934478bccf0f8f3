package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeleteCredential removes a credential. With revoke its provider is told first
// (RFC 7009); where that cannot be reached, is out of order or does not answer
// within ten seconds, the credential is deleted all the same and its tokens are
// revoked from a queue that survives a restart. Nothing is deleted, and the error
// says why, where the provider refuses or there is no way to revoke at all.
func (b *Broker) DeleteCredential(ctx context.Context, caller Caller, ref string, revoke bool) (err error) {
	s, err := b.find(ctx, caller, VerbWrite, ref)
	if errors.Is(err, ErrDamaged) && b.Tokens.damaged(ID(ref)) && !revoke {
		s.Summary, err = Summary{ID: ID(ref), Name: ref}, nil // to get rid of it
		s.entry.CredentialID = s.ID
	}
	if err != nil {
		return err
	}
	c, err := b.Store.Get(ctx, s.ID)
	if errors.Is(err, ErrDamaged) && !revoke {
		c, err = Credential{Summary: s.Summary}, nil
	}
	if err != nil {
		return fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	change, err := b.begin(s.entry)
	if err != nil {
		return err
	}
	defer change.end(&err)
	reason := ""
	if revoke {
		pending, err := b.deleteRevoking(ctx, s.Summary)
		if err != nil {
			return fmt.Errorf("credential %q was not deleted, since its tokens could not be revoked: %w", s.Name, err)
		}
		if pending != nil {
			reason = "its tokens are not revoked yet, and it is tried again: " + pending.Reason
		}
	} else if err := b.Store.Delete(ctx, s.ID); err != nil {
		return fmt.Errorf("deleting credential %q: %w", s.Name, err)
	}
	b.deleted(&c, reason)
	return nil
}

// deleted makes it known that a credential is gone.
func (b *Broker) deleted(c *Credential, reason string) {
	b.Tokens.Delete(c.ID)
	b.Refresher.Forget(c.ID)
	b.Events.Publish(Event{Type: EventDeleted, CredentialID: c.ID, Reason: reason, about: new(c.subject())})
}

// errRefreshed says that a refresh came between the revocation of a credential's
// tokens and its deletion.
var errRefreshed = errors.New("it was refreshed meanwhile")

// maxRevokes bounds how often tokens are revoked anew that a refresh replaced.
const maxRevokes = 3

// deleteRevoking revokes and deletes. It returns what is left to revoke, nil if
// nothing is.
func (b *Broker) deleteRevoking(ctx context.Context, s Summary) (pending *Revocation, err error) {
	if s.AuthType != AuthOAuth2 {
		return nil, invalid("revoke", "a credential of type %s has no tokens to revoke", s.AuthType)
	}
	if err := b.Store.Writable(ctx); err != nil {
		return nil, err
	}
	for range maxRevokes {
		pending, err = b.revokeOnce(ctx, s.ID)
		if !errors.Is(err, errRefreshed) {
			return pending, err
		}
	}
	return nil, &RetryError{After: time.Second, Err: fmt.Errorf("it is refreshed again and again: %w", ErrWaitEnded)}
}

// revokeOnce revokes the present tokens and deletes the credential, unless it has
// others by then.
func (b *Broker) revokeOnce(ctx context.Context, id ID) (pending *Revocation, err error) {
	c, err := b.settled(ctx, id)
	if err != nil {
		return nil, err
	}
	connection, err := b.connections.For(ctx, &c)
	if err != nil {
		return nil, err
	}
	tokens, err := b.revocable(ctx, &c, connection.Definition.RevocationRequest.Token)
	if err != nil {
		return nil, err
	}
	if c, err = b.Store.Get(ctx, id); err != nil { // its access token may have been renewed
		return nil, err
	}
	// The provider's answer counts, whether or not the caller waits for it.
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeWait)
	defer cancel()
	left, failure := b.revokeAll(detached, connection, tokens)
	if failure != nil && !mayPass(failure) {
		return nil, failure
	}
	err = b.Store.DeleteRevoking(context.WithoutCancel(ctx), id, func(now *Credential) (*Revocation, error) {
		pending = nil
		if now.Generation != c.Generation || !now.Config.Secret(KeyRefreshToken).Equal(c.Config.Secret(KeyRefreshToken)) || now.Intent != nil && c.Intent == nil {
			return nil, errRefreshed
		}
		if failure != nil {
			pending = newRevocation(now, left, failure, time.Now().UTC())
		}
		return pending, nil
	})
	if err != nil {
		return nil, err
	}
	b.told(&c, pending)
	return pending, nil
}

// mayPass reports whether a revocation that failed is worth another attempt
// without anybody doing anything.
func mayPass(failure error) bool {
	_, invalid := errors.AsType[*InvalidError](failure)
	_, answered := errors.AsType[*ProviderError](failure)
	return !invalid && (!answered || isSick(failure))
}

// settled returns a credential once the refresh that is under way is over, so
// that what it brings is revoked too.
func (b *Broker) settled(ctx context.Context, id ID) (Credential, error) {
	c, err := b.Store.Get(ctx, id)
	if err != nil || c.Intent == nil {
		return c, err
	}
	_, _ = b.refresh(ctx, id, Need{After: c.Generation}, revokeWait) // however it ends
	return b.Store.Get(ctx, id)
}

// told takes note of how the revocation on deletion went.
func (b *Broker) told(c *Credential, pending *Revocation) {
	if pending == nil {
		b.traceRevocation(c.Provider, Revoked)
		return
	}
	b.failedRevocation(pending)
	b.revocations.put(*pending)
	b.revocations.look()
}

// revocable returns the tokens to revoke, one after the other; none where the
// credential has none. which is [RevocationRequest.Token].
func (b *Broker) revocable(ctx context.Context, c *Credential, which string) ([]RevocableToken, error) {
	if which == RevokeAccessToken {
		access, err := b.liveAccessToken(ctx, c)
		return present(RevocableToken{access, hintAccessToken}), err
	}
	// The refresh token comes first: no new access token is had from then on.
	tokens := present(
		RevocableToken{c.Config.Secret(KeyRefreshToken), hintRefreshToken},
		RevocableToken{c.Config.Secret(KeyAccessToken), hintAccessToken},
	)
	switch {
	case which == RevokeBoth || len(tokens) == 0:
		return tokens, nil
	case which == RevokeRefreshToken && tokens[0].Hint != hintRefreshToken:
		return nil, invalid("revoke", "it has no refresh token, and %s revokes nothing else; delete it without revoke", c.Provider)
	}
	return tokens[:1], nil
}

// The hints of RFC 7009, section 2.1.
const (
	hintAccessToken  = "access_token"
	hintRefreshToken = "refresh_token"
)

func present(tokens ...RevocableToken) []RevocableToken {
	return slices.DeleteFunc(tokens, func(t RevocableToken) bool { return t.Token.Empty() })
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
