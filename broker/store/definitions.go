package store

import (
	"context"
	"maps"
	"slices"

	"github.com/invectd/invectd/broker"
)

// StoredDefinitions implements [broker.DefinitionStore], ordered by id.
func (db *DB) StoredDefinitions(ctx context.Context) ([]broker.Definition, error) {
	all, err := contents[broker.Definition](ctx, db, kindDefinition)
	if err != nil {
		return nil, err
	}
	definitions := make([]broker.Definition, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		definitions = append(definitions, all[id])
	}
	return definitions, nil
}

// PutDefinition implements [broker.DefinitionStore].
func (db *DB) PutDefinition(ctx context.Context, d broker.Definition) error {
	return db.replace(ctx, place{kindDefinition, d.ID}, d)
}

// DeleteDefinition implements [broker.DefinitionStore].
func (db *DB) DeleteDefinition(ctx context.Context, id string) error {
	return db.drop(ctx, place{kindDefinition, id})
}

// KeptDefinitions implements [broker.DefinitionStore], ordered by id.
func (db *DB) KeptDefinitions(ctx context.Context) ([]broker.KeptDefinition, error) {
	all, err := contents[broker.KeptDefinition](ctx, db, kindKept)
	if err != nil {
		return nil, err
	}
	kept := make([]broker.KeptDefinition, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		kept = append(kept, all[id])
	}
	return kept, nil
}

// KeepDefinition implements [broker.DefinitionStore].
func (db *DB) KeepDefinition(ctx context.Context, k broker.KeptDefinition) error {
	return db.replace(ctx, place{kindKept, k.Definition.ID}, k)
}

// DropDefinition implements [broker.DefinitionStore].
func (db *DB) DropDefinition(ctx context.Context, id string) error {
	return db.drop(ctx, place{kindKept, id})
}

// Apps implements [broker.AppStore], ordered by provider.
func (db *DB) Apps(ctx context.Context) ([]broker.App, error) {
	all, err := contents[appFields](ctx, db, kindApp)
	if err != nil {
		return nil, err
	}
	apps := make([]broker.App, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		apps = append(apps, all[id].app(id))
	}
	return apps, nil
}

// App implements [broker.AppStore].
func (db *DB) App(ctx context.Context, providerID string) (broker.App, error) {
	v, done, err := db.view(ctx)
	if err != nil {
		return broker.App{}, err
	}
	defer done()
	fields, err := content[appFields](v, place{kindApp, providerID})
	if err != nil {
		return broker.App{}, err
	}
	return fields.app(providerID), nil
}

// PutApp implements [broker.AppStore].
func (db *DB) PutApp(ctx context.Context, a broker.App) error {
	return db.replace(ctx, place{kindApp, a.ProviderID}, appFields{clientToFields(a.Client), a.Inputs, a.Origins})
}

// DeleteApp implements [broker.AppStore].
func (db *DB) DeleteApp(ctx context.Context, providerID string) error {
	return db.drop(ctx, place{kindApp, providerID})
}

func (f appFields) app(providerID string) broker.App {
	return broker.App{ProviderID: providerID, Client: f.Client.client(), Inputs: f.Inputs, Origins: f.Origins}
}
