package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/invectd/invectd/broker"
)

// AddKey implements [broker.Keys]. A third key is refused: its slot could not be
// given the new data key, since only the key itself seals a slot.
func (db *DB) AddKey(ctx context.Context, text broker.Secret) (broker.KeyIDs, error) {
	added, err := ParseKey(text.Reveal())
	if err != nil {
		return broker.KeyIDs{}, &broker.InvalidError{
			Message: "key: " + err.Error(), Fields: []broker.FieldError{{Path: "key", Message: err.Error()}},
		}
	}
	return db.changeKeyring(ctx, func(ring *keyring, keys *rootKeys) error {
		id, err := ring.keyID(added)
		if err != nil {
			return err
		}
		if _, ok := ring.Slots[id]; ok {
			return fmt.Errorf("this key (its id is %s) opens the store already: %w", id, broker.ErrConflict)
		}
		if len(ring.Slots) > 1 {
			return fmt.Errorf("two keys open the store already, so retire the one that the daemon was not started with: %w", broker.ErrConflict)
		}
		keys.addTerm(time.Now())
		return errors.Join(ring.addSlot(db.key, keys, random(nonceSize)), ring.addSlot(added, keys, random(nonceSize)))
	})
}

// RetireKeys implements [broker.Keys].
func (db *DB) RetireKeys(ctx context.Context) (broker.KeyIDs, error) {
	return db.changeKeyring(ctx, func(ring *keyring, keys *rootKeys) error {
		clear(ring.Slots)
		return ring.addSlot(db.key, keys, random(nonceSize))
	})
}

// changeKeyring changes the keyring as it lies in the folder. The keys are used
// once they are on disk: a record must never be there before its key.
func (db *DB) changeKeyring(ctx context.Context, change func(*keyring, *rootKeys) error) (broker.KeyIDs, error) {
	db.rotating.Lock()
	defer db.rotating.Unlock()
	if err := db.Writable(ctx); err != nil {
		return broker.KeyIDs{}, err
	}
	ring, keys, err := db.readKeyring()
	if err != nil {
		return broker.KeyIDs{}, fmt.Errorf("%w: reading the keyring: %w", broker.ErrStoreUnavailable, err)
	}
	active, err := ring.keyID(db.key)
	if err != nil {
		return broker.KeyIDs{}, err
	}
	if err := change(ring, keys); err != nil {
		return broker.KeyIDs{}, err
	}
	if err := writeKeyring(db.dir, ring); err != nil {
		return broker.KeyIDs{}, fmt.Errorf("%w: %w", broker.ErrStoreUnavailable, err)
	}
	// Those who read the store as it was before a sweep still need former data keys.
	keys.Terms = append(keys.Terms, slices.DeleteFunc(slices.Clone(db.sealer.keys().Terms), func(t term) bool { return keys.dataKey(t.Number) != nil })...)
	db.sealer.replace(keys)
	db.wakeSweeper()
	ids := broker.KeyIDs{All: slices.Sorted(maps.Keys(ring.Slots)), Active: active}
	db.log.Info("keyring changed", "keys", ids.All, "active", ids.Active, "term", keys.Active)
	return ids, nil
}

func (db *DB) readKeyring() (*keyring, *rootKeys, error) {
	data, err := os.ReadFile(filepath.Join(db.dir, keyringFile))
	if err != nil {
		return nil, nil, err
	}
	ring, err := parseKeyring(data)
	if err != nil {
		return nil, nil, err
	}
	keys, err := ring.unlock(db.key)
	return ring, keys, err
}

// addTerm makes a new data encryption key the active one.
func (r *rootKeys) addTerm(now time.Time) {
	next := term{Number: 1, Created: now.UTC().Truncate(time.Second), Key: random(32)}
	for _, t := range r.Terms {
		next.Number = max(next.Number, t.Number+1)
	}
	r.Terms, r.Active = append(r.Terms, next), next.Number
}

var _ broker.Keys = (*DB)(nil)
