package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A revocationQueue is the memory of the revocations in the store. One at a time
// is sent to each provider, so that a sick one is not stormed with them.
type revocationQueue struct {
	wake chan struct{} // holds one: the queue is looked at again

	mu      sync.Mutex
	waiting map[string]Revocation // guarded by mu; by id, those given up included
	busy    map[string]bool       // guarded by mu; providers that are asked now
	failed  map[string]int        // guarded by mu; how often a provider failed in a row
	now     bool                  // guarded by mu: none waits for its time
}

func newRevocationQueue() revocationQueue {
	return revocationQueue{wake: make(chan struct{}, 1), waiting: map[string]Revocation{}, busy: map[string]bool{}, failed: map[string]int{}}
}

func (q *revocationQueue) put(r Revocation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[r.ID] = r
}

func (q *revocationQueue) drop(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, id)
}

// look has the queue be looked at.
func (q *revocationQueue) look() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns those that are due, one for each provider that is not asked
// already, and when the next is due; zero if none is.
func (q *revocationQueue) take(now time.Time) (due []Revocation, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := map[string]Revocation{}
	for _, r := range q.waiting {
		if q.busy[r.Provider] {
			continue
		}
		at := r.RetryAt
		switch {
		case !r.GivenUpAt.IsZero():
			at = r.GivenUpAt.Add(revocationAge)
		case q.now:
			at = now
		}
		if at.After(now) {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		if known, ok := first[r.Provider]; !ok || r.RetryAt.Before(known.RetryAt) {
			first[r.Provider] = r
		}
	}
	q.now = false
	for provider := range first {
		q.busy[provider] = true
	}
	return slices.Collect(maps.Values(first)), next
}

// done takes note that a provider is not asked any more, and that all that wait
// for it leave it alone until then.
func (q *revocationQueue) done(provider string, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, provider)
	for id, r := range q.waiting {
		if r.Provider == provider && r.RetryAt.Before(until) && r.GivenUpAt.IsZero() {
			r.RetryAt = until
			q.waiting[id] = r
		}
	}
}

// count takes note of how a provider answered, and returns how often it failed in
// a row.
func (q *revocationQueue) count(provider string, failed bool) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !failed {
		delete(q.failed, provider)
		return 0
	}
	q.failed[provider]++
	return q.failed[provider]
}

// uses reports whether a revocation needs the definition of a provider.
func (q *revocationQueue) uses(provider string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.waiting {
		if r.Provider == provider && r.GivenUpAt.IsZero() {
			return true
		}
	}
	return false
}

// problems are what of the queue an operator has to know.
func (q *revocationQueue) problems() (problems []Problem) {
	q.mu.Lock()
	all := slices.Collect(maps.Values(q.waiting))
	q.mu.Unlock()
	waiting, since := 0, time.Time{}
	for _, r := range all {
		if !r.GivenUpAt.IsZero() {
			problems = append(problems, Problem{
				What:  fmt.Sprintf("the tokens of the deleted credential %q were not revoked at %s, and may still work: %s", r.Name, r.Provider, r.Reason),
				Since: r.GivenUpAt,
				Todo:  "remove the access at the provider, in a browser; this line goes by itself after a week",
			})
			continue
		}
		if waiting++; since.IsZero() || r.Since.Before(since) {
			since = r.Since
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.What, b.What)) })
	if waiting > 0 {
		problems = append(problems, Problem{
			What:  fmt.Sprintf("%d deleted credentials have tokens that are not revoked yet; the provider is asked again", waiting),
			Since: since,
			Todo:  "read the log for the reason; after a week it is given up",
		})
	}
	return problems
}

// wakeRevocations has all that wait be tried now: what was wrong may just have
// been mended.
func (b *Broker) wakeRevocations() {
	b.revocations.mu.Lock()
	b.revocations.now = true
	b.revocations.mu.Unlock()
	b.revocations.look()
}

// LoadRevocations reads the revocations that a process before left, at start.
func (b *Broker) LoadRevocations(ctx context.Context) error {
	all, err := b.Store.Revocations(ctx)
	for _, r := range all {
		b.revocations.put(r)
	}
	return err
}

// RevocationsUse reports whether a revocation needs the definition of a provider.
func (b *Broker) RevocationsUse(provider string) bool { return b.revocations.uses(provider) }

// runRevocations keeps the queue until ctx ends. What is under way then stays in
// the store.
func (b *Broker) runRevocations(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.revocations.wake:
		case <-timer.C:
		}
		due, next := b.revocations.take(time.Now())
		for _, r := range due {
			wg.Go(func() {
				b.revocations.done(r.Provider, b.retryRevocation(ctx, r))
				b.revocations.look()
			})
		}
		sleep := expiryInterval // clocks may be set, and machines sleep
		if !next.IsZero() {
			sleep = min(sleep, max(0, time.Until(next)))
		}
		timer.Reset(sleep)
	}
}

// retryRevocation tries once more, and returns until when the provider should be
// left alone; zero if it need not.
func (b *Broker) retryRevocation(ctx context.Context, r Revocation) (until time.Time) {
	now := time.Now().UTC()
	if !r.GivenUpAt.IsZero() { // it was shown for long enough
		b.forgetRevocation(ctx, r)
		return time.Time{}
	}
	err := b.attempt(ctx, &r)
	if ctx.Err() != nil {
		return time.Time{}
	}
	inARow := b.revocations.count(r.Provider, isSick(err))
	if err == nil {
		b.revoked(r)
		b.forgetRevocation(ctx, r)
		return time.Time{}
	}
	r.fail(err, now)
	if final := r.hopeless(now); final != nil || isFinal(err) {
		b.giveUp(&r, now)
	} else {
		b.failedRevocation(&r)
	}
	if err := b.Store.PutRevocation(ctx, r); err != nil {
		b.Log.Warn("a revocation could not be stored; it is tried again all the same", "credential", r.CredentialID, "error", err)
	}
	b.revocations.put(r)
	if inARow == 0 {
		return time.Time{}
	}
	return now.Add(revocationPause(inARow, err))
}

// forgetRevocation removes one that is over. Where the store does not take that
// it is tried again: a provider takes a second revocation of the same token.
func (b *Broker) forgetRevocation(ctx context.Context, r Revocation) {
	err := b.Store.DeleteRevocation(ctx, r.ID)
	if err == nil || errors.Is(err, ErrNotFound) {
		b.revocations.drop(r.ID)
		return
	}
	r.RetryAt = time.Now().Add(time.Minute)
	b.revocations.put(r)
	b.Log.Warn("a revocation that is over could not be removed", "credential", r.CredentialID, "error", err)
}

func (b *Broker) revoked(r Revocation) {
	b.Log.Info("the tokens of a deleted credential were revoked", "credential", r.CredentialID, "name", r.Name, "provider", r.Provider, "attempts", r.Attempts+1)
	b.traceRevocation(r.Provider, Revoked)
}

// failedRevocation tells of an attempt that another one follows.
func (b *Broker) failedRevocation(r *Revocation) {
	b.Log.Warn("the tokens of a deleted credential are not revoked yet", "credential", r.CredentialID, "name", r.Name,
		"provider", r.Provider, "attempts", r.Attempts, "retryAt", r.RetryAt, "reason", r.Reason)
	b.traceRevocation(r.Provider, RevocationFailed)
}

// giveUp tells of the last attempt, and lets go of the tokens.
func (b *Broker) giveUp(r *Revocation, now time.Time) {
	r.GivenUpAt, r.Tokens, r.Config = now, nil, Config{}
	b.Log.Error("the tokens of a deleted credential were not revoked, and may still work; remove the access at the provider", "credential", r.CredentialID,
		"name", r.Name, "provider", r.Provider, "attempts", r.Attempts, "reason", r.Reason)
	b.Events.Publish(Event{Type: EventRevocationFailed, CredentialID: r.CredentialID, Reason: r.Reason,
		about: &Subject{ID: r.CredentialID, Name: r.Name, Provider: r.Provider}})
	b.traceRevocation(r.Provider, RevocationGivenUp)
}

// isFinal reports whether a provider says that it never revokes such a token
// (RFC 7009, section 2.2.1).
func isFinal(err error) bool {
	p, ok := errors.AsType[*ProviderError](err)
	return ok && p.Code == "unsupported_token_type"
}

func (b *Broker) traceRevocation(provider string, result RevocationResult) {
	if b.Trace.Revocation != nil {
		b.Trace.Revocation(provider, result)
	}
}
