package audit

import (
	"time"

	"github.com/invectd/invectd/broker"
)

// Denied implements [broker.Auditor].
func (l *Log) Denied(e broker.AuditEntry) {
	if l.denials.few(e, time.Now()) {
		_, _ = l.append(decided(EventDenied, e)) // what fails is told, and the denial stands
	}
}

// Begin implements [broker.Auditor].
func (l *Log) Begin(e broker.AuditEntry) (uint64, error) {
	number, err := l.append(decided(EventChange, e))
	if err != nil {
		return 0, err
	}
	return number, l.sync(number)
}

// End implements [broker.Auditor].
func (l *Log) End(number uint64, e broker.AuditEntry, o broker.Outcome) {
	line := decided(EventOutcome, e)
	line.Of, line.Outcome = number, outcome(o.Err)
	if o.CredentialID != "" {
		line.Credential = string(o.CredentialID)
	}
	line.Generation, line.Token = o.Generation, l.keys.fingerprint(o.Secret)
	_, _ = l.append(line) // what fails is told, and the change is made
}

// Read implements [broker.Auditor].
func (l *Log) Read(e broker.AuditEntry, h broker.Handout) {
	key := readKey{whoIs(&e.Caller), e.Verb, e.CredentialID}
	first, before := l.readers.read(key, h.Generation, e)
	if before != nil {
		_, _ = l.append(before)
	}
	if first {
		line := decided(EventRead, e)
		line.Generation, line.Token = h.Generation, l.keys.fingerprint(h.Secret)
		_, _ = l.append(line)
	}
}

// writeCounts writes a line for each count that is not written yet.
func (l *Log) writeCounts() {
	for line := range l.readers.counts() {
		_, _ = l.append(line)
	}
	for _, line := range l.denials.counts() {
		_, _ = l.append(line)
	}
}

// decided is a line about a decision.
func decided(event Event, e broker.AuditEntry) *Line {
	return &Line{
		Event: event, Caller: whoIs(&e.Caller).line(e.Caller.PID), Verb: string(e.Verb),
		Credential: string(e.CredentialID), Target: shorten(e.Target), Rule: shorten(e.Rule), Detail: e.Caller.Unattested,
	}
}
