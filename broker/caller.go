package broker

import "fmt"

// A Caller is who asks, as the kernel told it when the connection was accepted
// (SO_PEERCRED), or the daemon itself.
type Caller struct {
	UID uint32
	GID uint32
	PID int32 // for the audit only: it may be another process's by now
	// Attested is false where the kernel could not say who it is; such a caller
	// gets nothing.
	Attested bool
}

func (c Caller) String() string {
	if !c.Attested {
		return "unattested"
	}
	return fmt.Sprintf("uid %d", c.UID)
}

// A Verb is what a caller wants to do.
type Verb string

// The verbs of the policy.
const (
	VerbToken    Verb = "token"
	VerbResolve  Verb = "resolve"
	VerbHeader   Verb = "header"
	VerbRejected Verb = "rejected"
	VerbList     Verb = "list"
	VerbRead     Verb = "read"
	VerbWrite    Verb = "write"
	VerbConnect  Verb = "connect"
	VerbRefresh  Verb = "refresh"
	VerbAdmin    Verb = "admin"
)

// changes reports whether the verb can change what is stored.
func (v Verb) changes() bool {
	switch v {
	case VerbWrite, VerbConnect, VerbRefresh, VerbAdmin, VerbRejected:
		return true
	}
	return false
}
