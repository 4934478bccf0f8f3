package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// keyConnectedWith is where a credential made beside another says of which. It is
// the broker's own: by it the place of a token is found, so nobody else writes it.
const keyConnectedWith = "connectedWith"

// rewritten returns the metadata that somebody gives in place of old, with what is
// the broker's own as it was.
func rewritten(old, given map[string]any) map[string]any {
	given = cloneObject(given)
	delete(given, keyConnectedWith)
	if first, ok := old[keyConnectedWith]; ok {
		given[keyConnectedWith] = first
	}
	return given
}

// keepOthers stores the further tokens of an answer, each in a credential of its
// own that is named after the first, "Team (user)". Where the first one was
// reconnected they go where the last ones went.
func (b *Broker) keepOthers(ctx context.Context, a Authorization, first View, others map[string]TokenResponse, k *change) error {
	for _, name := range slices.Sorted(maps.Keys(others)) {
		d, view, err := b.keepOther(ctx, a, first, name, others[name], k.entry.Caller)
		if errors.Is(err, ErrForbidden) {
			b.Auditor.Denied(AuditEntry{Caller: k.entry.Caller, Verb: VerbConnect, Target: otherName(first, name), Rule: d.Rule})
			b.Log.Warn("a further token of an answer was not kept, since the policy does not let who connected have it", "credential", first.ID, "token", name)
			continue
		}
		if err != nil {
			return fmt.Errorf("storing the %s token that came with credential %q: %w", name, first.Name, err)
		}
		k.alsoMade(&view.Credential)
	}
	return nil
}

// keepOther stores one of them, if the caller may connect that credential too: to
// be allowed the first says nothing of another name. A new one is where the first
// is, in workspace and metadata, so that no rule about those is escaped.
func (b *Broker) keepOther(ctx context.Context, a Authorization, first View, name string, answer TokenResponse, caller Caller) (d Decision, _ View, err error) {
	now := time.Now().UTC()
	fill := func(c *Credential) error {
		a.fill(c, answer, now)
		c.Metadata[keyConnectedWith] = string(first.ID)
		c.settleRefresh()
		on := c.subject()
		if d = b.Policy.Decide(caller, VerbConnect, &on); !d.Allowed {
			return forbidden(caller, VerbConnect)
		}
		return nil
	}
	fullName := otherName(first, name)
	known, err := b.connectedWith(ctx, first.ID, fullName)
	if err != nil {
		return d, View{}, err
	}
	if known != "" {
		view, err := b.update(ctx, known, fill)
		return d, view, err
	}
	c := newConnection(a.Definition.ID, fullName, now)
	c.WorkspaceID, c.IsShared, c.Metadata = first.WorkspaceID, first.IsShared, first.Metadata
	if err := fill(&c); err != nil {
		return d, View{}, err
	}
	view, err := b.create(ctx, c)
	return d, view, err
}

// otherName is what a credential made beside another is called.
func otherName(first View, name string) string { return fmt.Sprintf("%s (%s)", first.Name, name) }

// connectedWith returns the credential of that name that was made beside
// another; "" if there is none.
func (b *Broker) connectedWith(ctx context.Context, first ID, name string) (ID, error) {
	for _, s := range b.Tokens.Named(name) {
		c, err := b.Store.Get(ctx, s.ID)
		if err != nil {
			return "", err
		}
		if c.Metadata[keyConnectedWith] == string(first) {
			return c.ID, nil
		}
	}
	return "", nil
}
