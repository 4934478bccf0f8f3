package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/invectd/invectd/broker"
)

// Authorizations, definitions, apps and revocations are one record each.

// replace writes content at a place, over what is there.
func (db *DB) replace(ctx context.Context, at place, content any) error {
	return db.commit(ctx, func(b *batch) error { return b.replace(at, content) })
}

// replace stages content at a place, over what is there.
func (b *batch) replace(at place, content any) error {
	encoded, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("%s has values that JSON does not", at)
	}
	old, err := b.record(at)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return b.put(at, 1, encoded, nil)
	case err != nil:
		return err
	}
	return b.put(at, old.revision+1, encoded, old)
}

// drop removes the record at a place. As with [DB.Delete], its content need not
// be readable.
func (db *DB) drop(ctx context.Context, at place) error {
	return db.commit(ctx, func(b *batch) error {
		old, err := b.record(at)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		b.remove(old)
		return nil
	})
}

// content decodes what the record at a place holds.
func content[T any](v view, at place) (value T, err error) {
	r, err := v.record(at)
	if err != nil {
		return value, fmt.Errorf("%s: %w", at, err)
	}
	return decode[T](v, r)
}

// contents decodes all records of a kind, by id. One that is damaged fails all.
func contents[T any](ctx context.Context, db *DB, k kind) (map[string]T, error) {
	v, done, err := db.view(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	values := map[string]T{}
	for r, err := range v.records(k) {
		if err != nil {
			return nil, err
		}
		if values[r.place.id], err = decode[T](v, r); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func decode[T any](v view, r *record) (value T, err error) {
	plaintext, err := v.sealer.open(r)
	if err == nil && json.Unmarshal(plaintext, &value) != nil {
		err = errContent
	}
	if err != nil {
		return value, damaged(r.place, err)
	}
	return value, nil
}
