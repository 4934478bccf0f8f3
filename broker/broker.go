package broker

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Parts are what a [Broker] is made of. All are needed, but for Trace.
type Parts struct {
	Store       Store
	Backups     Backups // of the store
	Keys        Keys    // of the store
	Definitions Definitions
	Plugins     Plugins
	Hooks       Hooks // of the plugins
	Server      AuthorizationServer
	Refresher   Refresher
	Tokens      *Tokens
	Events      *Events
	Auditor     Auditor
	Policy      Policy
	Log         *slog.Logger

	// CallbackURL returns the redirect URI of the daemon's own callback, or ""
	// where that is off.
	CallbackURL func() string
	// Addresses are the private ones where providers may live.
	Addresses Addresses
	// ReturnOrigins are the origins that a returnUrl may point to.
	ReturnOrigins []string

	Trace Trace
}

// A Trace holds functions that are called as things happen; each may be nil.
type Trace struct {
	// TokenRead tells how a read of a token ended: nil, or the error.
	TokenRead func(err error)
}

// A Broker carries out what callers ask for. Every method takes the caller right
// after the context, and decides and audits before it does anything. All methods
// may be called concurrently.
type Broker struct {
	Parts
	connections Connections
}

// New returns a Broker. Its [Broker.Run] has to run beside it.
func New(p Parts) *Broker {
	return &Broker{Parts: p, connections: Connections{p.Definitions, p.Store}}
}

const (
	expiryInterval = time.Minute
	usageInterval  = 10 * time.Minute
	// stopTimeout bounds the last write of usage counts at the end of Run.
	stopTimeout = 2 * time.Second
)

// Run does what happens by itself: authorizations that nobody finished are
// removed and usage is written down. It blocks until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	expiry := time.NewTicker(expiryInterval)
	defer expiry.Stop()
	usage := time.NewTicker(usageInterval)
	defer usage.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			b.writeUsage(last)
			return nil
		case <-expiry.C:
			if _, err := b.Store.ExpireAuthorizations(ctx, time.Now()); err != nil && ctx.Err() == nil {
				b.Log.Warn("removing authorizations that expired", "error", err)
			}
		case <-usage.C:
			b.writeUsage(ctx)
		}
	}
}

// authorize decides whether caller may do verb, and writes the decision down. A
// denial names nothing that the caller does not see: a credential that it may
// not touch does not exist for it. A change that cannot be audited is refused.
func (b *Broker) authorize(caller Caller, verb Verb, id ID, target string) error {
	allowed, rule := b.Policy.Decide(caller, verb)
	err := b.Auditor.Record(AuditEntry{
		At: time.Now(), Caller: caller, Verb: verb, CredentialID: id, Target: target,
		Allowed: allowed, Rule: rule, Changes: verb.changes(),
	})
	switch {
	case !allowed && id != "":
		return fmt.Errorf("credential %q: %w", target, ErrNotFound)
	case !allowed:
		return fmt.Errorf("%s may not %s here: %w", caller, verb, ErrForbidden)
	case err != nil && verb.changes():
		return fmt.Errorf("the change cannot be audited, so it is not made: %w", ErrStoreUnavailable)
	}
	return nil
}

// find looks a credential up for a caller who wants to do verb with it.
func (b *Broker) find(caller Caller, verb Verb, ref string) (Summary, error) {
	e, err := b.Tokens.find(ref)
	if err != nil {
		// Whoever may do nothing learns nothing, not even that a name is taken twice.
		if denied := b.authorize(caller, verb, "", ref); denied != nil {
			return Summary{}, fmt.Errorf("credential %q: %w", ref, ErrNotFound)
		}
		return Summary{}, err
	}
	if err := b.authorize(caller, verb, e.summary.ID, ref); err != nil {
		return Summary{}, err
	}
	return e.summary, nil
}
