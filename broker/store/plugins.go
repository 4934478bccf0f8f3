package store

import (
	"context"
	"maps"
	"slices"

	"github.com/invectd/invectd/broker"
)

// PluginTrusts implements [broker.PluginTrustStore], ordered by name.
func (db *DB) PluginTrusts(ctx context.Context) ([]broker.PluginTrust, error) {
	all, err := contents[broker.PluginTrust](ctx, db, kindPluginTrust)
	if err != nil {
		return nil, err
	}
	trusts := make([]broker.PluginTrust, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		trusts = append(trusts, all[name])
	}
	return trusts, nil
}

// PutPluginTrust implements [broker.PluginTrustStore].
func (db *DB) PutPluginTrust(ctx context.Context, t broker.PluginTrust) error {
	return db.replace(ctx, place{kindPluginTrust, t.Name}, t)
}

// DeletePluginTrust implements [broker.PluginTrustStore].
func (db *DB) DeletePluginTrust(ctx context.Context, name string) error {
	return db.drop(ctx, place{kindPluginTrust, name})
}
