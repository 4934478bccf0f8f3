package broker

import (
	"context"
	"fmt"
)

// ShowPolicy returns what is in force.
func (b *Broker) ShowPolicy(caller Caller) (*PolicyState, error) {
	if _, err := b.authorize(caller, VerbAdmin, "policy"); err != nil {
		return nil, err
	}
	return b.Policy.State(), nil
}

// A PolicyQuestion asks what the policy would say.
type PolicyQuestion struct {
	Caller Caller
	Verb   Verb
	Ref    string   // a credential that there is, by its id or name; or
	On     *Subject // one that there could be; if neither, the request names none
}

// TestPolicy returns what the policy in force would say to somebody else, which
// changes nothing.
func (b *Broker) TestPolicy(ctx context.Context, caller Caller, q PolicyQuestion) (Decision, error) {
	if _, err := b.authorize(caller, VerbAdmin, "policy test"); err != nil {
		return Decision{}, err
	}
	if q.Verb.bit() == 0 {
		return Decision{}, invalid("verb", "there is no verb %q", q.Verb)
	}
	access := b.Policy.For(q.Caller)
	if q.Ref == "" {
		return access.Decide(q.Verb, q.On), nil
	}
	e, err := b.Tokens.find(q.Ref)
	if err != nil {
		return Decision{}, err
	}
	return b.decide(ctx, &access, q.Verb, e)
}

// find returns the credential with that id, else the only one with that name.
func (t *Tokens) find(ref string) (*entry, error) {
	if e, ok := t.get(ID(ref)); ok {
		return e, nil
	}
	switch named := t.named(ref); len(named) {
	case 0:
		return nil, fmt.Errorf("credential %q: %w", ref, ErrNotFound)
	case 1:
		return named[0], nil
	default:
		return nil, fmt.Errorf("%d credentials are named %q, use the id: %w", len(named), ref, ErrAmbiguousName)
	}
}
