package broker

import (
	"context"
	"errors"
	"slices"
	"time"
)

// A Census counts what the broker holds. In its maps every status is there.
type Census struct {
	Credentials map[Status]int // those that the caller may list
	All         map[Status]int // which is not for the caller
	Providers   int
	Plugins     int       // that run
	Problems    []Problem // only for callers who may administer
	Administers bool      // the caller is one of them
	Outages     []Outage  // token endpoints that fail for everybody, for those who may list everything
}

// statuses are all that a credential can be in.
var statuses = []Status{StatusPending, StatusActive, StatusDegraded, StatusReauth, StatusExpired, StatusDisabled}

// CountByStatus counts the credentials in each status at now.
func (t *Tokens) CountByStatus(now time.Time) map[Status]int {
	counts := noneByStatus()
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.entries {
		counts[e.summary.StatusAt(now)]++
	}
	return counts
}

func noneByStatus() map[Status]int {
	counts := make(map[Status]int, len(statuses))
	for _, status := range statuses {
		counts[status] = 0
	}
	return counts
}

// Census returns what the broker holds.
func (b *Broker) Census(ctx context.Context, caller Caller) (Census, error) {
	if _, err := b.authorize(caller, VerbList, "status"); err != nil {
		return Census{}, err
	}
	now := time.Now()
	census := Census{All: b.Tokens.CountByStatus(now), Providers: len(b.Definitions.Definitions()), Plugins: b.runningPlugins()}
	access := b.Policy.For(caller)
	if access.Decide(VerbAdmin, nil).Allowed {
		census.Administers, census.Problems = true, b.problems(ctx)
	}
	if access.everything() {
		census.Credentials, census.Outages = census.All, b.Refresher.Outages()
		return census, nil
	}
	census.Credentials = noneByStatus()
	for _, e := range b.Tokens.all() {
		d, err := b.decide(ctx, &access, VerbList, e)
		if errors.Is(err, ErrDamaged) {
			continue // whom its labels would let see it is not known
		}
		if err != nil {
			return Census{}, err
		}
		if d.Allowed {
			census.Credentials[e.summary.StatusAt(now)]++
		}
	}
	return census, nil
}

// problems are what an operator has to look at, credentials of all aside.
func (b *Broker) problems(ctx context.Context) []Problem {
	var problems []Problem
	if b.SourceProblems != nil {
		problems = b.SourceProblems()
	}
	return slices.Concat(problems, b.heldProblems(ctx), b.revocations.problems())
}

// SoonestExpiry returns for each provider when the first of its tokens ends that
// are to be renewed: of credentials that are switched on and have something to
// renew with.
func (t *Tokens) SoonestExpiry() map[string]time.Time {
	soonest := map[string]time.Time{}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.entries {
		s := &e.summary
		if !s.IsActive || !s.Renewable || s.Status == StatusReauth || s.ExpiresAt.IsZero() {
			continue
		}
		if at, ok := soonest[s.Provider]; !ok || s.ExpiresAt.Before(at) {
			soonest[s.Provider] = s.ExpiresAt
		}
	}
	return soonest
}
