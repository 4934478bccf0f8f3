package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// A Revocation is what is left to do of a credential that was deleted: its
// provider has not confirmed yet that the tokens are dead (RFC 7009).
type Revocation struct {
	ID           string
	CredentialID ID
	Name         string // of the credential
	Provider     string
	Origins      string           // as of [Summary]
	Config       Config           // the client, the inputs and what was captured, without tokens
	Tokens       []RevocableToken // that are left, in the order to be sent; none once given up
	EndsAt       time.Time        // when the tokens end by themselves; zero where they do not
	Since        time.Time        // when the credential was deleted
	RetryAt      time.Time
	Attempts     int
	Reason       string    // of the last failure, for a person
	GivenUpAt    time.Time // zero while it is tried
}

// A RevocableToken is a token with its token_type_hint of RFC 7009, section 2.1.
type RevocableToken struct {
	Token Secret
	Hint  string
}

// A RevocationResult is how an attempt ended. The set is closed.
type RevocationResult string

// The results.
const (
	Revoked           RevocationResult = "revoked"
	RevocationFailed  RevocationResult = "failed" // it is tried again
	RevocationGivenUp RevocationResult = "given_up"
)

const (
	// revokeWait bounds how long a deletion waits for the provider.
	revokeWait = 10 * time.Second
	// revocationAge is how long a revocation is tried, and how long one that was
	// given up is shown as a problem.
	revocationAge = 7 * 24 * time.Hour
	// The pause between attempts doubles between these two.
	firstRevocationPause   = 2 * time.Second
	longestRevocationPause = time.Hour
)

// newRevocation is the revocation of tokens of a credential.
func newRevocation(c *Credential, tokens []RevocableToken, cause error, now time.Time) *Revocation {
	fields := map[string]any{}
	for _, key := range []string{KeyClientID, KeyClientSecret, KeyPrivateKey, KeyPrivateKeyID, KeyCertificate, KeyInputs, KeyCaptured} {
		if value, ok := c.Config.raw()[key]; ok {
			fields[key] = value
		}
	}
	r := &Revocation{
		ID: string(NewID()), CredentialID: c.ID, Name: c.Name, Provider: c.Provider, Origins: c.Origins,
		Config: NewConfig(fields), Tokens: tokens, Since: now,
	}
	if tokens[0].Hint == hintAccessToken {
		r.EndsAt = c.ExpiresAt
	}
	r.fail(cause, now)
	return r
}

// fail takes note of an attempt that failed.
func (r *Revocation) fail(cause error, now time.Time) {
	r.Attempts++
	r.Reason = cause.Error()
	r.RetryAt = now.Add(revocationPause(r.Attempts, cause))
}

// revocationPause is how long to wait after so many failures in a row: longer each
// time, and by chance, so that those that failed together do not come back so.
func revocationPause(failures int, cause error) time.Duration {
	wait := min(longestRevocationPause, firstRevocationPause<<min(failures-1, 16))
	wait = wait/2 + rand.N(wait/2)
	if p, ok := errors.AsType[*ProviderError](cause); ok {
		wait = max(wait, min(p.RetryAfter, longestRevocationPause))
	}
	return wait
}

// isSick reports whether an error is the provider's and not one token's.
func isSick(err error) bool {
	p, ok := errors.AsType[*ProviderError](err)
	return ok && (p.Sent != SentAnswered || p.Status >= 500 || p.Status == http.StatusTooManyRequests ||
		p.Status == http.StatusRequestTimeout || p.Status == http.StatusTooEarly)
}

// hopeless returns why there is no use in trying again; nil if there is.
func (r *Revocation) hopeless(now time.Time) error {
	switch {
	case now.Sub(r.Since) > revocationAge:
		return fmt.Errorf("it was tried for %d days: %s", revocationAge/(24*time.Hour), r.Reason)
	case !r.EndsAt.IsZero() && now.After(r.EndsAt):
		return fmt.Errorf("the access token ended before it could be revoked, and the grant may live on: %s", r.Reason)
	}
	return nil
}

// attempt sends what is left of a revocation, and returns the error of the first
// token that is not revoked.
func (b *Broker) attempt(ctx context.Context, r *Revocation) error {
	if err := r.hopeless(time.Now()); err != nil {
		return err
	}
	connection, err := b.connections.For(ctx, &Credential{
		Summary: Summary{ID: r.CredentialID, Name: r.Name, AuthType: AuthOAuth2, Provider: r.Provider, Origins: r.Origins}, Config: r.Config,
	})
	if err != nil {
		return err
	}
	r.Tokens, err = b.revokeAll(ctx, connection, r.Tokens)
	return err
}

// revokeAll revokes tokens one after the other, and returns those that are left.
func (b *Broker) revokeAll(ctx context.Context, k Connection, tokens []RevocableToken) (left []RevocableToken, err error) {
	for i, t := range tokens {
		if err := b.Server.Revoke(ctx, k, t.Token, t.Hint); err != nil {
			return tokens[i:], err
		}
	}
	return nil, nil
}
