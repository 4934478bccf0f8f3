package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Providers returns the definitions in force, ordered by id.
func (b *Broker) Providers(ctx context.Context, caller Caller) ([]SourcedDefinition, error) {
	if _, err := b.authorize(caller, VerbList, "providers"); err != nil {
		return nil, err
	}
	all := b.Definitions.Definitions()
	for i := range all {
		b.tellHeld(ctx, caller, &all[i])
	}
	return all, nil
}

// Provider returns one definition, or an error wrapping [ErrUnknownProvider].
func (b *Broker) Provider(ctx context.Context, caller Caller, id string) (SourcedDefinition, error) {
	if _, err := b.authorize(caller, VerbList, id); err != nil {
		return SourcedDefinition{}, err
	}
	d, err := b.Definitions.Definition(id)
	if err == nil {
		b.tellHeld(ctx, caller, &d)
	}
	return d, err
}

// PutProvider adds or, unless create, replaces a definition of the API's own.
func (b *Broker) PutProvider(ctx context.Context, caller Caller, d Definition, create, override bool) (_ SourcedDefinition, err error) {
	entry, err := b.authorize(caller, VerbAdmin, d.ID)
	if err != nil {
		return SourcedDefinition{}, err
	}
	change, err := b.begin(entry)
	if err != nil {
		return SourcedDefinition{}, err
	}
	defer change.end(&err)
	_, unknown := b.Definitions.Definition(d.ID)
	put, err := b.Definitions.Put(ctx, d, create, override)
	if err != nil {
		return SourcedDefinition{}, err
	}
	status := ProviderChanged
	if errors.Is(unknown, ErrUnknownProvider) {
		status = ProviderAdded
	}
	b.ProviderChanged(ctx, ProviderChange{d.ID, status, "over the API"})
	return put, nil
}

// DeleteProvider removes a definition of the API's own. Credentials that use it
// stay; they cannot be refreshed until it is back.
func (b *Broker) DeleteProvider(ctx context.Context, caller Caller, id string) (err error) {
	entry, err := b.authorize(caller, VerbAdmin, id)
	if err != nil {
		return err
	}
	change, err := b.begin(entry)
	if err != nil {
		return err
	}
	defer change.end(&err)
	if err := b.Definitions.Delete(ctx, id); err != nil {
		return err
	}
	status := ProviderRemoved
	if _, err := b.Definitions.Definition(id); err == nil {
		status = ProviderChanged
	}
	b.ProviderChanged(ctx, ProviderChange{id, status, "deleted over the API"})
	return nil
}

// ListApps returns the registered apps, ordered by provider.
func (b *Broker) ListApps(ctx context.Context, caller Caller) ([]App, error) {
	if _, err := b.authorize(caller, VerbAdmin, "apps"); err != nil {
		return nil, err
	}
	return b.Store.Apps(ctx)
}

// ShowApp returns the app of a provider, or an error wrapping [ErrNotFound].
func (b *Broker) ShowApp(ctx context.Context, caller Caller, providerID string) (App, error) {
	if _, err := b.authorize(caller, VerbAdmin, providerID); err != nil {
		return App{}, err
	}
	return b.Store.App(ctx, providerID)
}

// PutApp registers the client of a provider, or replaces it; a masked secret
// keeps the stored one. Credentials that use it follow at their next refresh.
func (b *Broker) PutApp(ctx context.Context, caller Caller, a App) (_ App, err error) {
	entry, err := b.authorize(caller, VerbAdmin, a.ProviderID)
	if err != nil {
		return App{}, err
	}
	change, err := b.begin(entry)
	if err != nil {
		return App{}, err
	}
	defer change.end(&err)
	d, err := b.Definitions.Definition(a.ProviderID)
	if err != nil {
		return App{}, err
	}
	if a.Client.ID == "" {
		return App{}, invalid("clientId", "give the client id that %s knows this installation by", d.Name)
	}
	for name, value := range a.Inputs {
		input, known := d.Inputs[name]
		if !known {
			return App{}, invalid("inputs."+name, "%s has no such input; it has %s", d.ID, listOf(slices.Sorted(maps.Keys(d.Inputs))))
		}
		if value = input.strip(value); !input.accepts(value) {
			return App{}, invalid("inputs."+name, "%s", input.wanted())
		}
	}
	old, err := b.Store.App(ctx, a.ProviderID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return App{}, err
	}
	a.Client.Secret = keepSecret(a.Client.Secret, old.Client.Secret)
	a.Client.PrivateKey = keepSecret(a.Client.PrivateKey, old.Client.PrivateKey)
	a.Origins = d.origins(d.appInputs(&a))
	if old.Origins != "" && a.keepsSecret(&old) && !d.appFollows(&old) {
		a.Origins = old.Origins // it is about the secret, which is the old one
	}
	if err := b.Store.PutApp(ctx, a); err != nil {
		return App{}, fmt.Errorf("storing the app of %s: %w", a.ProviderID, err)
	}
	b.held.note(a.ProviderID, b.countHeld(ctx, a.ProviderID) > 0)
	b.retryNow(ctx, a.ProviderID)
	b.wakeRevocations()
	return a, nil
}

// retryNow ends the pause of a provider's credentials whose last refresh failed:
// what was wrong may just have been mended. One that cannot be written now keeps
// its pause.
func (b *Broker) retryNow(ctx context.Context, provider string) {
	for _, s := range b.Tokens.Provider(provider) {
		if s.RetryAt.IsZero() {
			continue
		}
		c, err := b.Store.Update(ctx, s.ID, func(c *Credential) error {
			c.RetryAt = time.Time{}
			return nil
		})
		if err != nil {
			continue
		}
		b.Tokens.Put(c)
		b.Refresher.Schedule(c.Summary)
	}
}

// keepsSecret reports whether a secret of the old app is among those of a.
func (a *App) keepsSecret(old *App) bool {
	return !old.Client.Secret.Empty() && a.Client.Secret.Equal(old.Client.Secret) ||
		!old.Client.PrivateKey.Empty() && a.Client.PrivateKey.Equal(old.Client.PrivateKey)
}

// keepSecret returns what a masked secret stands for.
func keepSecret(given, stored Secret) Secret {
	if given.Reveal() == Mask {
		return stored
	}
	return given
}

// DeleteApp removes the app of a provider.
func (b *Broker) DeleteApp(ctx context.Context, caller Caller, providerID string) (err error) {
	entry, err := b.authorize(caller, VerbAdmin, providerID)
	if err != nil {
		return err
	}
	change, err := b.begin(entry)
	if err != nil {
		return err
	}
	defer change.end(&err)
	return b.Store.DeleteApp(ctx, providerID)
}
