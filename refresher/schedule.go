package refresher

import (
	"hash/fnv"
	"time"

	"github.com/invectd/invectd/broker"
)

const (
	// Readers ask by default for tokens that live another minute: one that is
	// renewed later would make them wait.
	minLead = broker.DefaultValidity
	maxLead = 15 * time.Minute
	// minAge is how old a token becomes at least before it is renewed by the
	// schedule, however short its life.
	minAge = time.Second
)

// nextRefresh returns when the schedule refreshes a credential: now or in the
// past if it is due, zero if never.
func nextRefresh(s broker.Summary, policy broker.RefreshPolicy, now time.Time) time.Time {
	switch {
	case !s.IsActive, !s.Renewable, s.Status == broker.StatusReauth:
		return time.Time{}
	case s.AwaitsPerson() && s.Intent == nil:
		return retryOf(s, now) // lazy ones too: a code does not wait for a reader
	case interrupted(s):
		return now // the grace that some providers give is short
	case s.Lazy:
		if alive := keepAlive(s, policy); !alive.IsZero() {
			return later(alive, retryOf(s, now))
		}
		return time.Time{}
	case !s.RetryAt.IsZero():
		return retryOf(s, now)
	case s.Status == broker.StatusPending:
		return now // it needs no person to get its first token
	case !s.ExpiresAt.IsZero() && broker.FromFuture(s.IssuedAt, now):
		return ahead(now.Add(5*time.Minute), 4*time.Minute, s.ID) // within a minute, and not all at once
	}
	next := earlier(renewal(s, policy), keepAlive(s, policy))
	if youngest := s.IssuedAt.Add(minAge); !next.IsZero() && next.Before(youngest) {
		return youngest
	}
	return next
}

// retryOf returns when a failed refresh is tried again. No pause is as long as a
// clock that was set back makes it look.
func retryOf(s broker.Summary, now time.Time) time.Time {
	if s.RetryAt.Sub(now) > 2*maxRetryAfter {
		return now
	}
	return s.RetryAt
}

// renewal returns when a token that ends is renewed; zero if it does not end.
func renewal(s broker.Summary, policy broker.RefreshPolicy) time.Time {
	if s.ExpiresAt.IsZero() {
		return time.Time{}
	}
	lead := leadOf(time.Duration(policy.Lead), s.ExpiresAt.Sub(s.IssuedAt))
	return ahead(s.ExpiresAt, lead, s.ID)
}

// keepAlive returns when a refresh token is used so that it does not die of
// disuse; zero if it does not.
func keepAlive(s broker.Summary, policy broker.RefreshPolicy) time.Time {
	idle := time.Duration(policy.IdleLifetime)
	if idle <= 0 || s.IssuedAt.IsZero() {
		return time.Time{}
	}
	return ahead(s.IssuedAt.Add(idle), idle/4, s.ID)
}

// leadOf returns how long before its end a token is renewed: what the
// definition says, else a fifth of its lifetime within bounds; never more than
// half, or short tokens would be renewed all the time.
func leadOf(given, lifetime time.Duration) time.Duration {
	lead := given
	if lead == 0 {
		lead = min(max(lifetime/5, minLead), maxLead)
	}
	return max(0, min(lead, lifetime/2))
}

// ahead returns the time that lies lead before end, or up to a quarter of the
// lead earlier still: always the same for an id, so that credentials made
// together do not come back together.
func ahead(end time.Time, lead time.Duration, id broker.ID) time.Time {
	hash := fnv.New32a()
	hash.Write([]byte(id))
	share := float64(hash.Sum32()) / (1 << 32)
	return end.Add(-lead - time.Duration(share*float64(lead)/4)).Round(0)
}

// interrupted reports whether a refresh of the present token was begun and its
// outcome never stored.
func interrupted(s broker.Summary) bool {
	return s.Intent != nil && s.Intent.Generation == s.Generation
}

// earlier and later take zero for "never".

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// wallClock returns the time of day in UTC. It has no monotonic reading, which
// stands still while a machine sleeps.
func wallClock() time.Time { return time.Now().UTC().Round(0) }
