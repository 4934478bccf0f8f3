package refresher

import "time"

// An Outcome is how a flight ended that set out to ask a provider. The set is
// closed.
type Outcome string

// The outcomes.
const (
	// OutcomeSuccess: new tokens are committed.
	OutcomeSuccess Outcome = "success"
	// OutcomeTransient: the provider could not be reached, was busy or made no
	// sense. It is asked again, less and less often.
	OutcomeTransient Outcome = "transient"
	// OutcomeGrantRefused: the grant is gone, and a person has to consent.
	OutcomeGrantRefused Outcome = "grant_refused"
	// OutcomePending: the device grant was polled, and nobody has answered it.
	OutcomePending Outcome = "authorization_pending"
	// OutcomeClientRefused: the provider does not take the client or what it
	// asks for. An operator has to act; it is asked again slowly.
	OutcomeClientRefused Outcome = "client_refused"
	// OutcomeConfiguration: the request could not be made, for want of a
	// definition, a client or an input.
	OutcomeConfiguration Outcome = "configuration"
	// OutcomeStoreUnavailable: nothing was spent, or what was got is kept in
	// memory until it can be stored.
	OutcomeStoreUnavailable Outcome = "store_unavailable"
	// OutcomeSuperseded: the credential got other tokens meanwhile, or was
	// deleted, so the outcome was dropped.
	OutcomeSuperseded Outcome = "superseded"
)

// A Trace holds functions that are called as things happen; each may be nil.
type Trace struct {
	// Refreshed tells how a flight ended and how long it took, from its start
	// to the commit.
	Refreshed func(provider string, outcome Outcome, took time.Duration)
}

func (t *Trace) refreshed(provider string, outcome Outcome, took time.Duration) {
	if t != nil && t.Refreshed != nil && outcome != "" {
		t.Refreshed(provider, outcome, took)
	}
}
