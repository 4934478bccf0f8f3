package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Parts are what a [Broker] is made of. All are needed, but for
// SourceProblems and Trace.
type Parts struct {
	Store       Store
	Backups     Backups // of the store
	Keys        Keys    // of the store
	Definitions Definitions
	Plugins     Plugins // may be nil, as Hooks may: there are no plugins then
	Hooks       Hooks
	Server      AuthorizationServer
	Refresher   Refresher
	Tokens      *Tokens
	Events      *Events
	Auditor     Auditor
	Policy      *Policy
	Log         *slog.Logger

	// GrantKey is what the secrets of grants are kept under.
	GrantKey Secret
	// CallbackURL returns the redirect URI of the daemon's own callback, or ""
	// where that is off.
	CallbackURL func() string
	// Addresses are the private ones where providers may live.
	Addresses Addresses
	// ReturnOrigins are the origins that a returnUrl may point to.
	ReturnOrigins []string

	// SourceProblems returns what the operator has to mend in the sources of
	// definitions; optional.
	SourceProblems func() []Problem

	Trace Trace
}

// A Trace holds functions that are called as things happen; each may be nil.
type Trace struct {
	// TokenRead tells how a read of a token ended: nil, or the error.
	TokenRead func(err error)
	// ProviderChanged tells what became of a definition.
	ProviderChanged func(status Status)
	// Revocation tells how an attempt to revoke the tokens of a deleted
	// credential ended.
	Revocation func(provider string, result RevocationResult)
}

// A Broker carries out what callers ask for. Every method takes the caller right
// after the context, and decides and audits before it does anything. All methods
// may be called concurrently.
type Broker struct {
	Parts
	connections Connections
	devices     idSet // credentials that may have a device flow and never had a token
	grants      grants
	held        heldList
	revocations revocationQueue
}

// New returns a Broker. Its [Broker.Run] has to run beside it.
func New(p Parts) *Broker {
	return &Broker{
		Parts: p, connections: Connections{p.Definitions, p.Store},
		revocations: newRevocationQueue(),
	}
}

const (
	expiryInterval = time.Minute
	usageInterval  = 10 * time.Minute
	// stopTimeout bounds the last write of usage counts at the end of Run.
	stopTimeout = 2 * time.Second
)

// Run does what happens by itself: authorizations that nobody finished are
// removed, the credentials of such device flows and grants that are over too,
// tokens of deleted credentials are revoked and usage is written down. It blocks
// until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { b.runRevocations(ctx) })
	wg.Go(func() { b.findHeld(ctx) })
	expiry := time.NewTicker(expiryInterval)
	defer expiry.Stop()
	usage := time.NewTicker(usageInterval)
	defer usage.Stop()
	b.findDevices()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			b.writeUsage(last)
			b.writeGrantUsage(last)
			return nil
		case <-expiry.C:
			if _, err := b.Store.ExpireAuthorizations(ctx, time.Now()); err != nil && ctx.Err() == nil {
				b.Log.Warn("removing authorizations that expired", "error", err)
			}
			b.removeUnconnected(ctx, time.Now())
			b.sweepGrants(ctx, time.Now())
		case <-usage.C:
			b.writeUsage(ctx)
			b.writeGrantUsage(ctx)
		}
	}
}
