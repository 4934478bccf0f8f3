package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
)

// A view reads the records as they were when its transaction began; in a batch,
// as the requests before have left them.
type view struct {
	sealer  *sealer
	txn     *badger.Txn
	damages *damages
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
		return view{db.sealer, db.last, db.damages}, db.readers.Done, nil
	}
	txn := db.badger.NewTransaction(false)
	return view{db.sealer, txn, db.damages}, func() { txn.Discard(); db.readers.Done() }, nil
}

// record returns the envelope at a place without opening it. The error is or
// wraps [broker.ErrNotFound], a [*DamagedError] or [broker.ErrStoreUnavailable].
func (v view) record(at place) (*record, error) {
	if err := v.damages.of(at); err != nil {
		return nil, damaged(at, err)
	}
	var r record
	var getErr error
	err := guarded(func() (err error) {
		var item *badger.Item
		if item, getErr = v.txn.Get(v.sealer.key(at)); getErr == nil {
			r, err = itemRecord(item)
		}
		return err
	})
	switch {
	case errors.Is(getErr, badger.ErrKeyNotFound):
		return nil, broker.ErrNotFound
	case getErr != nil:
		return nil, fmt.Errorf("reading %s: %w: %w", at, broker.ErrStoreUnavailable, getErr)
	case err == nil && r.place != at:
		err = errMoved
	}
	if err != nil {
		err = damaged(at, err)
		v.damages.note(err)
		return nil, err
	}
	return &r, nil
}

// guarded calls read, which reads what Badger has mapped: a page that the disk
// does not give, or a length that leads out of the file, is an error and not the
// end of the process.
func guarded(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil { // what it panics with may quote the file
			err = errAltered
		}
	}()
	return read()
}

// get returns the envelope at a place and what it holds; errors as of record.
func (v view) get(at place) (*record, []byte, error) {
	r, err := v.record(at)
	if err != nil {
		return nil, nil, err
	}
	plaintext, err := v.sealer.open(r)
	if err != nil {
		err = damaged(at, err)
		v.damages.note(err)
		return nil, nil, err
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
		for move := it.Rewind; ; move = it.Next {
			var r record
			var key []byte
			err := guarded(func() (err error) {
				if move(); it.Valid() {
					key = it.Item().KeyCopy(nil)
					r, err = itemRecord(it.Item())
				}
				return err
			})
			if key == nil && err == nil {
				return
			}
			r.under = key
			if err == nil && (r.place.kind != k || string(v.sealer.key(r.place)) != string(key)) {
				err = errMoved
			}
			if err != nil {
				err = damaged(place{k, r.place.id}, err)
			}
			if !yield(&r, err) || key == nil { // where it cannot go on it ends
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
