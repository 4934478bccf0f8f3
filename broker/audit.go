package broker

import (
	"errors"
	"fmt"
)

// An AuditEntry is one decision of the policy. It holds no secret.
type AuditEntry struct {
	Caller       Caller
	Verb         Verb
	CredentialID ID     // "" if the request names none
	Target       string // the provider or other thing that it is about
	Rule         string // which rule decided
}

// A Handout is what a caller was given to read.
type Handout struct {
	Generation uint64 // of the token
	Secret     Secret // empty where it is not one single secret
}

// An Outcome is how a change ended. What does not apply is left zero.
type Outcome struct {
	Err          error
	CredentialID ID // of what was made
	Handout         // the token that came of it
}

// An Auditor writes down what was decided and done. All methods may be called
// concurrently. None of them writes a secret, or the text of an error.
type Auditor interface {
	// Denied writes that a caller was refused.
	Denied(e AuditEntry)
	// Begin writes that a change is about to be made, and returns the number of
	// its line once that is on disk. Where it returns an error, which wraps
	// [ErrStoreUnavailable], the change must not be made.
	Begin(e AuditEntry) (line uint64, err error)
	// End writes how the change ended that a line announced.
	End(line uint64, e AuditEntry, o Outcome)
	// Read takes note that a caller was given something to read.
	Read(e AuditEntry, h Handout)
}

// A change is one that was announced in the audit.
type change struct {
	auditor Auditor
	line    uint64
	entry   AuditEntry
	outcome Outcome // what is known of it so far
}

// begin announces a change that was decided on. One that cannot be announced must
// not be made. Whoever gets no error has to defer [change.end].
func (b *Broker) begin(e AuditEntry) (*change, error) {
	line, err := b.Auditor.Begin(e)
	if err != nil {
		return nil, fmt.Errorf("the change cannot be audited, so it is not made: %w", err)
	}
	return &change{auditor: b.Auditor, line: line, entry: e}, nil
}

// made notes what came of the change.
func (k *change) made(c *Credential) {
	k.outcome.CredentialID, k.outcome.Handout = c.ID, c.handout()
}

// alsoMade writes what else came of the change, in a line of its own.
func (k *change) alsoMade(c *Credential) {
	k.auditor.End(k.line, k.entry, Outcome{CredentialID: c.ID, Handout: c.handout()})
}

// end writes how the change ended, by the error that the function around it
// returns. It is to be deferred itself, so that it sees a panic.
func (k *change) end(err *error) {
	thrown := recover()
	k.outcome.Err = *err
	if thrown != nil {
		k.outcome.Err = errPanic
	}
	k.auditor.End(k.line, k.entry, k.outcome)
	if thrown != nil {
		panic(thrown)
	}
}

var errPanic = errors.New("it failed in a way that nobody foresaw")

// handOut takes note that a caller is given a token.
func (b *Broker) handOut(s found, r Reading, err error) (Reading, error) {
	if err == nil {
		b.Auditor.Read(s.entry, Handout{r.Generation, r.Access})
	}
	return r, err
}
