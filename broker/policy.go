package broker

import (
	"sync/atomic"
	"time"
)

// A Policy decides who may do what. Until rules are in force it lets in root and
// the daemon's own user, on the full socket, and nobody else. All methods may be
// called concurrently.
type Policy struct {
	self  uint32
	state atomic.Pointer[PolicyState]
}

// A PolicyState is what is in force. It is not to be changed.
type PolicyState struct {
	File     string // where the rules are from; "" if there are none
	Rules    []Rule
	LoadedAt time.Time // zero if there are none
	// Fault says why a newer version of the file is not in force; "" if it is.
	Fault string
}

// NewPolicy returns a Policy without rules, of a daemon that runs as the user
// self.
func NewPolicy(self uint32) *Policy {
	p := &Policy{self: self}
	p.state.Store(&PolicyState{})
	return p
}

// Use puts the rules of a file in force in place of the present ones, all at
// once. They are not to be changed afterwards.
func (p *Policy) Use(file string, rules []Rule, now time.Time) {
	p.state.Store(&PolicyState{File: file, Rules: rules, LoadedAt: now})
}

// Fail takes note that the file has changed and cannot be used. The rules in
// force stay.
func (p *Policy) Fail(fault error) {
	state := *p.State()
	state.Fault = fault.Error()
	p.state.Store(&state)
}

// State returns what is in force.
func (p *Policy) State() *PolicyState { return p.state.Load() }

// Decide returns whether caller may do verb with a credential; see
// [Access.Decide].
func (p *Policy) Decide(caller Caller, verb Verb, on *Subject) Decision {
	access := p.For(caller)
	return access.Decide(verb, on)
}

// For returns what the rules in force give to a caller.
func (p *Policy) For(caller Caller) Access {
	switch {
	case !caller.Attested || caller.Runner:
	case caller.UID == 0:
		return Access{special: ruleRoot}
	case caller.UID == p.self:
		return Access{special: ruleSelf}
	}
	a := Access{otherwise: ruleDefault}
	if !caller.Attested {
		a.otherwise = ruleUnattested
	}
	rules := p.State().Rules
	for i := range rules {
		a.add(&rules[i], &caller)
	}
	if caller.Grant != nil {
		a.add(&caller.Grant.Rule, &caller)
	}
	return a
}
