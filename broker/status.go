package broker

import (
	"context"
	"slices"
	"time"
)

// A Census counts what the broker holds.
type Census struct {
	Credentials map[Status]int // every status is there
	Providers   int
	Problems    []Problem
}

// statuses are all that a credential can be in.
var statuses = []Status{StatusPending, StatusActive, StatusDegraded, StatusReauth, StatusExpired, StatusDisabled}

// CountByStatus counts the credentials in each status at now.
func (t *Tokens) CountByStatus(now time.Time) map[Status]int {
	counts := make(map[Status]int, len(statuses))
	for _, status := range statuses {
		counts[status] = 0
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.entries {
		counts[e.summary.StatusAt(now)]++
	}
	return counts
}

// Census returns what the broker holds.
func (b *Broker) Census(ctx context.Context, caller Caller) (Census, error) {
	if err := b.authorize(caller, VerbList, "", "status"); err != nil {
		return Census{}, err
	}
	var problems []Problem
	if b.SourceProblems != nil {
		problems = b.SourceProblems()
	}
	return Census{
		Credentials: b.Tokens.CountByStatus(time.Now()), Providers: len(b.Definitions.Definitions()),
		Problems: slices.Concat(problems, b.heldProblems(ctx), b.revocations.problems()),
	}, nil
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
