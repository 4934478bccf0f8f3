package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// authorize decides on a request that names no credential, and writes the
// decision down.
func (b *Broker) authorize(caller Caller, verb Verb, target string) error {
	d := b.Policy.Decide(caller, verb, nil)
	if err := b.record(caller, verb, "", target, d); err != nil || d.Allowed {
		return err
	}
	return forbidden(caller, verb)
}

// gate refuses a caller whom no rule gives verb for anything. What it lets
// through is decided on once it is known what it is about.
func (b *Broker) gate(caller Caller, verb Verb, target string) error {
	if b.Policy.Decide(caller, verb, nil).Allowed {
		return nil
	}
	return b.authorize(caller, verb, target)
}

// authorizeNew decides on a credential that is yet to be made.
func (b *Broker) authorizeNew(caller Caller, verb Verb, on Subject) error {
	d := b.Policy.Decide(caller, verb, &on)
	if err := b.record(caller, verb, on.ID, on.Name, d); err != nil || d.Allowed {
		return err
	}
	return forbidden(caller, verb)
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

// record writes a decision down. The error says that a change cannot be audited,
// and so must not be made.
func (b *Broker) record(caller Caller, verb Verb, id ID, target string, d Decision) error {
	err := b.Auditor.Record(AuditEntry{
		At: time.Now(), Caller: caller, Verb: verb, CredentialID: id, Target: target,
		Allowed: d.Allowed, Rule: d.Rule, Changes: verb.changes(),
	})
	if err != nil && d.Allowed && verb.changes() {
		return fmt.Errorf("the change cannot be audited, so it is not made: %w", ErrStoreUnavailable)
	}
	return nil
}

// find looks a credential up for a caller who wants to do verb with it: by its
// id, else by its name among those that the caller may do something with. All
// others do not exist for it, and what it hears of them is the same as of those
// that do not exist at all.
func (b *Broker) find(ctx context.Context, caller Caller, verb Verb, ref string) (Summary, error) {
	access := b.Policy.For(caller)
	var hidden *entry
	var why Decision // of the hidden one
	if e, ok := b.Tokens.get(ID(ref)); ok {
		d, err := b.decide(ctx, &access, verb, e)
		if err != nil {
			return Summary{}, err
		}
		if d.Visible() {
			return b.settle(caller, verb, ref, e, d)
		}
		hidden, why = e, d
	}
	var seen []*entry
	var last Decision
	for _, e := range b.Tokens.named(ref) {
		d, err := b.decide(ctx, &access, verb, e)
		if err != nil {
			return Summary{}, err
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
				return Summary{}, cmp.Or(b.record(caller, verb, "", ref, d), damage)
			}
		}
		if hidden != nil {
			b.recordDenial(caller, verb, hidden.summary.ID, ref, why)
		} else if d := access.Decide(verb, new(Subject)); !d.Allowed {
			b.recordDenial(caller, verb, "", ref, d) // it would be out of reach
		}
		return Summary{}, fmt.Errorf("credential %q: %w", ref, ErrNotFound)
	case 1:
		return b.settle(caller, verb, ref, seen[0], last)
	}
	return Summary{}, fmt.Errorf("%d credentials are named %q, use the id: %w", len(seen), ref, ErrAmbiguousName)
}

// settle writes down what was decided on a credential that the caller sees.
func (b *Broker) settle(caller Caller, verb Verb, ref string, e *entry, d Decision) (Summary, error) {
	if err := b.record(caller, verb, e.summary.ID, ref, d); err != nil {
		return Summary{}, err
	}
	if !d.Allowed {
		return Summary{}, fmt.Errorf("%s may not %s credential %q: %w", caller, verb, ref, ErrForbidden)
	}
	return e.summary, nil
}

// recordDenial writes down that a caller asked for what it may not have. That it
// cannot be written down changes nothing about it.
func (b *Broker) recordDenial(caller Caller, verb Verb, id ID, target string, d Decision) {
	_ = b.record(caller, verb, id, target, d)
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
