package store

import (
	"context"
	"maps"
	"slices"

	"github.com/invectd/invectd/broker"
)

// Grants implements [broker.GrantStore].
func (db *DB) Grants(ctx context.Context) ([]broker.Grant, error) {
	all, err := contents[broker.Grant](ctx, db, kindGrant)
	if err != nil {
		return nil, err
	}
	grants := make([]broker.Grant, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		grants = append(grants, all[id])
	}
	return grants, nil
}

// PutGrant implements [broker.GrantStore].
func (db *DB) PutGrant(ctx context.Context, g broker.Grant) error {
	return db.replace(ctx, place{kindGrant, string(g.ID)}, g)
}

// DeleteGrant implements [broker.GrantStore].
func (db *DB) DeleteGrant(ctx context.Context, id broker.ID) error {
	return db.drop(ctx, place{kindGrant, string(id)})
}
