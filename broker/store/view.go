package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
)

// A view reads the records as they were when its transaction began; in a batch,
// as the requests before have left them.
type view struct {
	sealer *sealer
	txn    *badger.Txn
}

// view returns one of what was acknowledged, which has to be given back with the
// returned function.
func (db *DB) view(ctx context.Context) (view, func(), error) {
	if err := context.Cause(ctx); err != nil {
		return view{}, nil, err
	}
	// A commit holds the gate until its outcome is known, so that no view shows
	// what was never acknowledged. Badger lets readers wait as long anyway.
	db.gate.RLock()
	defer db.gate.RUnlock()
	if db.failure != nil && db.last == nil {
		return view{}, nil, db.failure
	}
	db.readers.Add(1)
	if db.last != nil {
		return view{db.sealer, db.last}, db.readers.Done, nil
	}
	txn := db.badger.NewTransaction(false)
	return view{db.sealer, txn}, func() { txn.Discard(); db.readers.Done() }, nil
}

// record returns the envelope at a place without opening it. The error is or
// wraps [broker.ErrNotFound], a [*DamagedError] or [broker.ErrStoreUnavailable].
func (v view) record(at place) (*record, error) {
	item, err := v.txn.Get(v.sealer.key(at))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, broker.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %w", at, broker.ErrStoreUnavailable, err)
	}
	r, err := itemRecord(item)
	if err == nil && r.place != at {
		err = errMoved
	}
	if err != nil {
		return nil, damaged(at, err)
	}
	return &r, nil
}

// get returns the envelope at a place and what it holds; errors as of record.
func (v view) get(at place) (*record, []byte, error) {
	r, err := v.record(at)
	if err != nil {
		return nil, nil, err
	}
	plaintext, err := v.sealer.open(r)
	if err != nil {
		return nil, nil, damaged(at, err)
	}
	return r, plaintext, nil
}

// records yields every envelope of a kind, unopened. Its error is about one
// record, and those after it follow.
func (v view) records(k kind) iter.Seq2[*record, error] {
	return func(yield func(*record, error) bool) {
		options := badger.DefaultIteratorOptions
		options.Prefix = []byte{byte(k)}
		options.PrefetchValues = false // they lie beside the keys
		it := v.txn.NewIterator(options)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			r, err := itemRecord(it.Item())
			if err == nil && (r.place.kind != k || string(v.sealer.key(r.place)) != string(it.Item().Key())) {
				err = errMoved
			}
			if err != nil {
				err = damaged(place{k, r.place.id}, err)
			}
			if !yield(&r, err) {
				return
			}
		}
	}
}

func itemRecord(item *badger.Item) (r record, err error) {
	readErr := item.Value(func(value []byte) error {
		r, err = decodeRecord(value)
		return nil
	})
	if readErr != nil {
		return record{}, readErr
	}
	return r, err
}
