package broker

import (
	"fmt"
	"slices"
	"strings"
)

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

// anyVerb stands for all of them.
const anyVerb = "*"

// verbs are all that there are; the bit of one in [Verbs] is its place here.
var verbs = []Verb{
	VerbToken, VerbResolve, VerbHeader, VerbRejected, VerbList, VerbRead, VerbWrite, VerbConnect, VerbRefresh, VerbAdmin,
}

// Verbs is a set of them.
type Verbs uint16

// AllVerbs are all that there are.
const AllVerbs Verbs = 1<<10 - 1

// ParseVerbs returns the set of the verbs with those names; "*" is all.
func ParseVerbs(names ...string) (Verbs, error) {
	var set Verbs
	for _, name := range names {
		bit := Verb(name).bit()
		switch {
		case name == anyVerb:
			set = AllVerbs
		case bit == 0:
			return 0, fmt.Errorf("there is no verb %q; the verbs are %s and %q", name, strings.Join(AllVerbs.each(), ", "), anyVerb)
		default:
			set |= bit
		}
	}
	return set, nil
}

// bit is the verb in a set; 0 for what is no verb.
func (v Verb) bit() Verbs {
	at := slices.Index(verbs, v)
	if at < 0 {
		return 0
	}
	return 1 << at
}

// Has reports whether v is in the set.
func (s Verbs) Has(v Verb) bool { return s&v.bit() != 0 }

// Names returns the verbs of the set as a policy has them: all of them are "*".
func (s Verbs) Names() []string {
	if s == AllVerbs {
		return []string{anyVerb}
	}
	return s.each()
}

func (s Verbs) each() []string {
	names := []string{}
	for _, v := range verbs {
		if s.Has(v) {
			names = append(names, string(v))
		}
	}
	return names
}
