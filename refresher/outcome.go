package refresher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/invectd/invectd/broker"
)

// fail ends a flight whose request failed: what it means is written down, told
// in the log and remembered. Where the credential got other tokens meanwhile the
// failure is about nothing any more. It returns the callers' error.
func (f *flight) fail(ctx context.Context, c *broker.Credential, cause error) error {
	outcome := classify(cause)
	if outcome == OutcomeStoreUnavailable {
		return f.storeFailed("refreshing", cause)
	}
	doubt := f.doubt(c, cause)
	why := reason(outcome, cause, doubt != nil)
	if outcome == OutcomeGrantRefused && c.Status == broker.StatusReauth && c.StatusReason != "" {
		why = c.StatusReason // forced in vain: what came of it first is still why
	}
	x := f.failed(outcome, cause, fmt.Errorf("refreshing credential %q: %w", c.Name, cause))
	if doubt != nil && retryAfter(cause) == 0 {
		x.retryAt = hurried(x.retryAt, doubt.At, x.at, shortGrace(f.policy))
	}
	switch outcome {
	case OutcomeGrantRefused:
		x.err = &broker.ReauthorizeError{ID: c.ID, Name: c.Name, Provider: c.Provider, Reason: why}
	case OutcomeConfiguration:
		// The cause is about another request than the reader's own.
		x.err = fmt.Errorf("refreshing credential %q: %w: %s", c.Name, broker.ErrNotConfigured, cause)
	}
	stored, err := f.update(ctx, f.record(c, x, doubt, why))
	if f.superseded(err) {
		return err
	}
	if err == nil {
		x.stored = true
		f.config.Tokens.Put(stored)
		f.tellFailure(outcome, &stored)
	}
	f.outcome = outcome
	f.config.Log.Warn("refresh failed", "credential", c.ID, "provider", c.Provider, "outcome", string(outcome),
		"reason", why, "failures", x.count, "retryAt", x.retryAt, "stored", x.stored)
	// A grant that was refused stays so until the provider says otherwise.
	if outcome == OutcomeGrantRefused || c.Status != broker.StatusReauth {
		f.remember(x)
	}
	return x.answer(x.at)
}

func (f *flight) tellFailure(outcome Outcome, c *broker.Credential) {
	if outcome == OutcomeGrantRefused {
		f.tell(broker.EventReauth, c)
		return
	}
	f.tell(broker.EventRefreshFailed, c)
}

// doubt returns the last intent over which the refresh token may have been spent
// unnoticed, in this attempt or one before; nil if none.
func (f *flight) doubt(before *broker.Credential, cause error) *broker.Intent {
	switch {
	case f.asked && undecided(cause) && mayBeSpent(before, f.policy):
		return &broker.Intent{Generation: before.Generation, At: f.intentAt}
	case inDoubt(before, f.policy):
		return before.Intent
	}
	return nil
}

// record returns the change that writes a failure down. What is in doubt stays so
// until an answer decides.
func (f *flight) record(before *broker.Credential, x *failure, doubt *broker.Intent, why string) func(*broker.Credential) error {
	g := grantOf(before)
	return func(c *broker.Credential) error {
		if !g.isOf(c) {
			return errSuperseded
		}
		if c.Intent = doubt; x.outcome == OutcomeGrantRefused {
			c.Intent = nil
		}
		switch {
		case x.outcome == OutcomeGrantRefused:
			c.Status, c.StatusReason, c.RetryAt = broker.StatusReauth, why, time.Time{}
		case c.Status != broker.StatusReauth:
			c.Status, c.StatusReason, c.RetryAt = broker.StatusDegraded, why, x.retryAt
		}
		return nil
	}
}

// storeFailed ends a flight that could not read or write. The status stays: it
// could not be written either.
func (f *flight) storeFailed(doing string, cause error) error {
	err := fmt.Errorf("%s credential %s: %w", doing, f.id, cause)
	if !errors.Is(cause, broker.ErrStoreUnavailable) {
		err = fmt.Errorf("%s credential %s: %w: %w", doing, f.id, broker.ErrStoreUnavailable, cause)
	}
	return f.giveUp(f.failed(OutcomeStoreUnavailable, cause, err))
}

// giveUp ends a flight with a failure that is known to memory alone. The log
// hears of the first in a row: a full disk must not fill up with it.
func (f *flight) giveUp(x *failure) error {
	if x.count == 1 {
		f.config.Log.Warn("refresh failed", "credential", f.id, "provider", f.provider, "outcome", string(x.outcome), "error", x.err)
	}
	f.outcome = x.outcome
	f.remember(x)
	return x.answer(x.at)
}
