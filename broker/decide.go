package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// authorize decides on a request that names no credential. It returns what the
// audit has to know of it.
func (b *Broker) authorize(caller Caller, verb Verb, target string) (AuditEntry, error) {
	return b.settleOn(b.Policy.Decide(caller, verb, nil), AuditEntry{Caller: caller, Verb: verb, Target: target})
}

// settleOn writes a denial down.
func (b *Broker) settleOn(d Decision, e AuditEntry) (AuditEntry, error) {
	e.Rule = d.Rule
	if d.Allowed {
		return e, nil
	}
	b.Auditor.Denied(e)
	return e, forbidden(e.Caller, e.Verb)
}

// gate refuses a caller whom no rule gives verb for anything. What it lets
// through is decided on once it is known what it is about.
func (b *Broker) gate(caller Caller, verb Verb, target string) error {
	if b.Policy.Decide(caller, verb, nil).Allowed {
		return nil
	}
	_, err := b.authorize(caller, verb, target)
	return err
}

// authorizeNew decides on a credential that is yet to be made.
func (b *Broker) authorizeNew(caller Caller, verb Verb, on Subject) (AuditEntry, error) {
	return b.settleOn(b.Policy.Decide(caller, verb, &on), AuditEntry{Caller: caller, Verb: verb, CredentialID: on.ID, Target: on.Name})
}

// decideMove decides on a change of what rules look at. The caller has to be
// allowed to write the credential as it is and as it will be, and must not come
// to hold a verb on it by the change that it did not hold before.
func (b *Broker) decideMove(caller Caller, from, to Subject) (Decision, error) {
	access := b.Policy.For(caller)
	before, after := access.Decide(VerbWrite, &from), access.Decide(VerbWrite, &to)
	switch gained := after.Held &^ before.Held; {
	case !before.Allowed:
		return before, forbidden(caller, VerbWrite)
	case !after.Allowed:
		return after, fmt.Errorf("the change would take it out of the reach of %s: %w", caller, ErrForbidden)
	case gained != 0:
		return Decision{Rule: ruleGain}, fmt.Errorf("by the change %s would come to hold %s: %w", caller, strings.Join(gained.Names(), ", "), ErrForbidden)
	}
	return after, nil
}

func forbidden(caller Caller, verb Verb) error {
	return fmt.Errorf("%s may not %s here: %w", caller, verb, ErrForbidden)
}

// A found credential is one that the caller may do something with.
type found struct {
	Summary
	entry AuditEntry // of what it was found for
}

// find looks a credential up for a caller who wants to do verb with it: by its
// id, else by its name among those that the caller may do something with. All
// others do not exist for it, and what it hears of them is the same as of those
// that do not exist at all.
func (b *Broker) find(ctx context.Context, caller Caller, verb Verb, ref string) (found, error) {
	access := b.Policy.For(caller)
	var hidden *entry
	var why Decision // of the hidden one
	if e, ok := b.Tokens.get(ID(ref)); ok {
		d, err := b.decide(ctx, &access, verb, e)
		if err != nil {
			return found{}, err
		}
		if d.Visible() {
			return b.settle(caller, verb, e, d)
		}
		hidden, why = e, d
	}
	var seen []*entry
	var last Decision
	for _, e := range b.Tokens.named(ref) {
		d, err := b.decide(ctx, &access, verb, e)
		if err != nil {
			return found{}, err
		}
		if d.Visible() {
			seen, last = append(seen, e), d
		} else {
			hidden, why = e, d
		}
	}
	switch len(seen) {
	case 0:
		if damage := b.Tokens.damagedAs(ref); damage != nil && hidden == nil {
			// Not "not found": it may be there. Whoever could not see it is not told.
			if d := access.Decide(verb, &Subject{ID: ID(ref), Name: ref}); d.Allowed {
				return found{entry: AuditEntry{Caller: caller, Verb: verb, Target: ref, Rule: d.Rule}}, damage
			}
		}
		if hidden != nil {
			b.Auditor.Denied(AuditEntry{Caller: caller, Verb: verb, CredentialID: hidden.summary.ID, Target: hidden.summary.Name, Rule: why.Rule})
		} else if d := access.Decide(verb, new(Subject)); !d.Allowed {
			// It would be out of reach. It is not named: somebody may have taken a
			// token for a name.
			b.Auditor.Denied(AuditEntry{Caller: caller, Verb: verb, Rule: d.Rule})
		}
		return found{}, fmt.Errorf("credential %q: %w", ref, ErrNotFound)
	case 1:
		return b.settle(caller, verb, seen[0], last)
	}
	return found{}, fmt.Errorf("%d credentials are named %q, use the id: %w", len(seen), ref, ErrAmbiguousName)
}

// settle writes a denial down of a credential that the caller sees.
func (b *Broker) settle(caller Caller, verb Verb, e *entry, d Decision) (found, error) {
	s := &e.summary
	entry := AuditEntry{Caller: caller, Verb: verb, CredentialID: s.ID, Target: s.Name, Rule: d.Rule}
	if !d.Allowed {
		b.Auditor.Denied(entry)
		return found{}, fmt.Errorf("%s may not %s credential %q: %w", caller, verb, s.Name, ErrForbidden)
	}
	return found{e.summary, entry}, nil
}

// decide returns what a caller may do with a credential. It reads the store only
// where a rule asks for metadata that nobody has read since the start.
func (b *Broker) decide(ctx context.Context, access *Access, verb Verb, e *entry) (Decision, error) {
	on := e.subject()
	if access.AsksLabels() && on.Labels == nil {
		c, err := b.Store.Get(ctx, on.ID)
		if errors.Is(err, ErrNotFound) {
			return Decision{}, nil // deleted since
		}
		if err != nil {
			return Decision{}, fmt.Errorf("reading credential %q: %w", on.Name, err)
		}
		b.Tokens.Put(c)
		on = c.subject()
	}
	return access.Decide(verb, &on), nil
}

// subject is what a policy looks at.
func (c *Credential) subject() Subject {
	on := c.Summary.subject()
	on.Labels = Labels(c.Metadata)
	return on
}

func (s *Summary) subject() Subject {
	return Subject{ID: s.ID, Name: s.Name, Provider: s.Provider, WorkspaceID: s.WorkspaceID}
}

func (e *entry) subject() Subject {
	on := e.summary.subject()
	on.Labels = e.labels
	return on
}
