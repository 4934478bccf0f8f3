package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/invectd/invectd/broker"
)

// authorizationAt is where the authorization with that state lies. The state is
// a secret until it is used, so its digest is the id.
func authorizationAt(state string) place {
	digest := sha256.Sum256([]byte(state))
	return place{kindAuthorization, hex.EncodeToString(digest[:])}
}

// CreateAuthorization implements [broker.Store]. The error wraps
// [broker.ErrConflict] where the state is taken.
func (db *DB) CreateAuthorization(ctx context.Context, a broker.Authorization) error {
	at := authorizationAt(a.State)
	encoded, err := json.Marshal(authorizationToFields(a))
	if err != nil {
		return errors.New("the authorization has values that JSON does not")
	}
	return db.commit(ctx, func(b *batch) error {
		_, err := b.record(at)
		switch {
		case err == nil:
			return fmt.Errorf("the state of an authorization is taken: %w", broker.ErrConflict)
		case !errors.Is(err, broker.ErrNotFound):
			return err
		}
		return b.put(at, 1, encoded, nil)
	})
}

// TakeAuthorization implements [broker.Store].
func (db *DB) TakeAuthorization(ctx context.Context, state string) (broker.Authorization, error) {
	var fields authorizationFields
	err := db.commit(ctx, func(b *batch) error {
		old, err := b.record(authorizationAt(state))
		if err != nil {
			return fmt.Errorf("authorization: %w", err)
		}
		if fields, err = decode[authorizationFields](b.view, old); err != nil {
			return err
		}
		b.remove(old)
		return nil
	})
	if err != nil {
		return broker.Authorization{}, err
	}
	return fields.authorization(), nil
}

// ExpireAuthorizations implements [broker.Store].
func (db *DB) ExpireAuthorizations(ctx context.Context, now time.Time) (removed int, err error) {
	all, err := contents[struct{ ExpiresAt time.Time }](ctx, db, kindAuthorization)
	if err != nil {
		return 0, err
	}
	var ended []place
	for id, a := range all {
		if a.ExpiresAt.Before(now) {
			ended = append(ended, place{kindAuthorization, id})
		}
	}
	for some := range slices.Chunk(ended, maxBatch) {
		n, err := db.dropPresent(ctx, some)
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// dropPresent removes those of the records that are still there.
func (db *DB) dropPresent(ctx context.Context, places []place) (removed int, err error) {
	err = db.commit(ctx, func(b *batch) error {
		removed = 0
		for _, at := range places {
			old, err := b.record(at)
			if errors.Is(err, broker.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			b.remove(old)
			removed++
		}
		return nil
	})
	return removed, err
}
