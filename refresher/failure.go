package refresher

import (
	"time"

	"github.com/invectd/invectd/broker"
)

// A failure is what is remembered of the last attempt until one succeeds or the
// credential changes. After a restart only what the summary tells is left.
type failure struct {
	outcome    Outcome
	err        error // for callers
	generation uint64
	count      int // failures in a row
	at         time.Time
	retryAt    time.Time // when the schedule tries again
	stored     bool      // the summary tells of it
}

// holds reports whether s is still what the failure was about: a new token, a
// new grant or a new client deserve an attempt at once.
func (f *failure) holds(s broker.Summary) bool {
	switch {
	case f.generation != s.Generation:
		return false
	case !f.stored:
		return true
	case f.outcome == OutcomeGrantRefused:
		return s.Status == broker.StatusReauth
	}
	return !s.RetryAt.IsZero()
}

// pauses reports whether the answer of a caller is the failure, and nobody is
// asked.
func (f *failure) pauses(forced bool, now time.Time) bool {
	switch {
	case f.outcome == OutcomeGrantRefused:
		return !forced || now.Before(f.at.Add(refusedPause))
	case forced:
		return false
	}
	return now.Before(f.retryAt)
}

// answer returns the error that callers get.
func (f *failure) answer(now time.Time) error {
	if f.outcome == OutcomeGrantRefused {
		return f.err
	}
	return &broker.RetryError{After: max(0, f.retryAt.Sub(now)), Err: f.err}
}

// failed makes the failure of this flight. cause is the bare error, whose facts
// say how long to wait.
func (f *flight) failed(outcome Outcome, cause, err error) *failure {
	now, count := wallClock(), f.inARow(outcome)+1
	return &failure{
		outcome: outcome, err: err, generation: f.generation, count: count, at: now,
		retryAt: now.Add(pause(outcome, count, retryAfter(cause), f.config.Spread())),
	}
}

// inARow returns how often the same went wrong before.
func (f *flight) inARow(outcome Outcome) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.queue.entries[f.id]; ok && e.failure != nil && e.failure.outcome == outcome {
		return e.failure.count
	}
	return 0
}

// remember keeps a failure in memory, in place of the one before; nil for
// success.
func (f *flight) remember(x *failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.queue.entry(f.id, f.provider)
	e.failure, e.held = x, false
	hindrance := ""
	if x != nil && !x.stored {
		hindrance = x.err.Error()
	}
	f.config.Tokens.Hinder(f.id, hindrance)
}

// keep holds on to tokens that are not stored yet; nil when they are.
func (f *flight) keep(p *pair) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.entry(f.id, f.provider).kept = p
}

// kept returns the tokens that an earlier flight could not store; nil if none.
func (f *flight) kept() *pair {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.queue.entries[f.id]; ok {
		return e.kept
	}
	return nil
}
