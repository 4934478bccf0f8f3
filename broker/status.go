package broker

import "time"

// A Census counts what the broker holds.
type Census struct {
	Credentials map[Status]int // every status is there
	Providers   int
	Outages     []Outage // token endpoints that fail for everybody
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
func (b *Broker) Census(caller Caller) (Census, error) {
	if err := b.authorize(caller, VerbList, "", "status"); err != nil {
		return Census{}, err
	}
	return Census{b.Tokens.CountByStatus(time.Now()), len(b.Definitions.Definitions()), b.Refresher.Outages()}, nil
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
