package broker

import "time"

// An AuditEntry is one decision. It holds no secret.
type AuditEntry struct {
	At           time.Time
	Caller       Caller
	Verb         Verb
	CredentialID ID     // "" if the request names none
	Target       string // the provider or other thing that it is about
	Allowed      bool
	Rule         string // which rule decided
	Changes      bool   // the verb may change what is stored
}

// An Auditor writes decisions down. Where it fails, a change does not happen.
type Auditor interface {
	Record(e AuditEntry) error
}
