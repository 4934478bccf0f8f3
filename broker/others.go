package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// keyConnectedWith is where a credential made beside another says of which.
const keyConnectedWith = "connectedWith"

// keepOthers stores the further tokens of an answer, each in a credential of its
// own that is named after the first, "Team (user)". Where the first one was
// reconnected they go where the last ones went.
func (b *Broker) keepOthers(ctx context.Context, a Authorization, first View, others map[string]TokenResponse, k *change) error {
	for _, name := range slices.Sorted(maps.Keys(others)) {
		view, err := b.keepOther(ctx, a, first, name, others[name])
		if err != nil {
			return fmt.Errorf("storing the %s token that came with credential %q: %w", name, first.Name, err)
		}
		k.alsoMade(&view.Credential)
	}
	return nil
}

func (b *Broker) keepOther(ctx context.Context, a Authorization, first View, name string, answer TokenResponse) (View, error) {
	now := time.Now().UTC()
	fill := func(c *Credential) error {
		a.fill(c, answer, now)
		c.Metadata[keyConnectedWith] = string(first.ID)
		return nil
	}
	fullName := fmt.Sprintf("%s (%s)", first.Name, name)
	known, err := b.connectedWith(ctx, first.ID, fullName)
	if err != nil {
		return View{}, err
	}
	if known != "" {
		return b.update(ctx, known, fill)
	}
	c := newConnection(a.Definition.ID, fullName, now)
	if err := fill(&c); err != nil {
		return View{}, err
	}
	return b.create(ctx, c)
}

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
