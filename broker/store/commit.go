package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/invectd/invectd/broker"
)

const (
	maxBatch      = 256       // requests in one commit
	maxBatchBytes = 448 << 10 // after which no more are added
)

// A request is one write that waits for the committer.
type request struct {
	ctx   context.Context
	apply func(*batch) error // decides on what is stored and stages writes
	done  chan outcome       // buffered, receives once
}

type outcome struct {
	err      error
	panicked any // what apply panicked with, for the caller to go on panicking
}

// commit has apply run by the committer, alone and after everything that was
// committed before, and returns when what it staged is on disk, or the error
// that kept it from there. Once apply has begun, ctx no longer matters: the
// outcome is waited for.
func (db *DB) commit(ctx context.Context, apply func(*batch) error) error {
	r := &request{ctx, apply, make(chan outcome, 1)}
	select {
	case db.requests <- r:
	case <-db.stopping:
		return errClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	result := <-r.done
	if result.panicked != nil {
		panic(result.panicked)
	}
	return result.err
}

// runCommitter folds the requests that wait into one commit each time, since
// what takes long is the disk's word that it has them.
func (db *DB) runCommitter() {
	for {
		select {
		case <-db.stopping:
			return
		case r := <-db.requests:
			db.commitBatch(r)
			db.wakeHealer()
		}
	}
}

func (db *DB) commitBatch(r *request) {
	b := db.newBatch()
	defer b.discard()
	requests := make([]*request, 0, maxBatch)
	outcomes := make([]outcome, 0, maxBatch)
	for r != nil {
		requests = append(requests, r)
		outcomes = append(outcomes, b.run(r))
		r = nil
		if len(requests) < maxBatch && b.bytes < maxBatchBytes {
			select {
			case r = <-db.requests:
			default:
			}
		}
	}
	// A refusal may rest on a write of the same batch, so it waits for it too.
	err := db.finish(b)
	for i, r := range requests {
		if err != nil {
			outcomes[i] = outcome{err: err}
		}
		r.done <- outcomes[i]
	}
}

// finish commits what the batch has staged. Where Badger fails, nobody knows
// what is on disk and its memory may hold what is not: nothing more is written
// until it was opened again, and what is read is as it was before.
func (db *DB) finish(b *batch) error {
	if b.err != nil || b.bytes == 0 && !b.force {
		return b.err
	}
	if err := db.Writable(context.Background()); err != nil {
		return err
	}
	if err := db.keepAllocated(b.bytes); err != nil {
		return err
	}
	if err := b.setRoot(); err != nil {
		return err
	}
	// Before Badger: what only Badger had could be lost with the end of its log.
	journalErr := db.journal.append(b.root.commits, b.staged)
	db.gate.Lock()
	defer db.gate.Unlock()
	before := db.badger.NewTransaction(false)
	if journalErr != nil {
		db.fail(before, journalErr)
		return db.failure
	}
	if err := db.commitTxn(b.txn); err != nil {
		db.fail(before, fmt.Errorf("a write failed: %w", err))
		return db.failure
	}
	before.Discard()
	db.root = b.root
	if err := db.head.write(b.root.commits); err != nil { // this commit is whole, the next would not be watched over
		db.fail(db.badger.NewTransaction(false), err)
	}
	return nil
}

// A batch is what goes into one commit.
type batch struct {
	view
	root   root    // as it will be
	bytes  int     // staged so far
	staged []byte  // the same, as the journal holds it
	force  bool    // commit the root even if nothing is staged
	writes []write // staged by the request under way
	err    error   // set once the batch as a whole has failed
}

type write struct {
	key   []byte
	value []byte // nil removes
}

func (db *DB) newBatch() *batch {
	db.gate.RLock()
	defer db.gate.RUnlock()
	if db.failure != nil {
		return &batch{err: db.failure}
	}
	return &batch{view: view{db.sealer, db.badger.NewTransaction(true), db.damages}, root: db.root}
}

func (b *batch) discard() {
	if b.txn != nil {
		b.txn.Discard()
	}
}

// run has one request stage its writes; those of a request that fails are dropped.
func (b *batch) run(r *request) (result outcome) {
	before := b.root
	b.writes = b.writes[:0]
	defer func() {
		if p := recover(); p != nil {
			result = outcome{panicked: p}
		}
		if result != (outcome{}) {
			b.root = before
			return
		}
		b.flush()
	}()
	if b.err != nil {
		return outcome{err: b.err}
	}
	if err := context.Cause(r.ctx); err != nil {
		return outcome{err: err}
	}
	return outcome{err: r.apply(b)}
}

// flush hands the staged writes to the transaction.
func (b *batch) flush() {
	for _, w := range b.writes {
		var err error
		if w.value == nil {
			err = b.txn.Delete(w.key)
		} else {
			err = b.txn.Set(w.key, w.value)
		}
		if err != nil {
			b.err = fmt.Errorf("%w: staging a write: %w", broker.ErrStoreUnavailable, err)
		}
		b.bytes += len(w.key) + len(w.value)
		b.staged = appendWrite(b.staged, w)
	}
}

// put stages a record in the place of old, nil where there is none.
func (b *batch) put(at place, revision uint64, plaintext []byte, old *record) error {
	r, err := b.sealer.seal(at, revision, plaintext)
	if err != nil {
		return err
	}
	if old != nil {
		b.root.remove(b.sealer.mark(old))
	}
	b.root.add(b.sealer.mark(&r))
	b.writes = append(b.writes, write{b.sealer.key(at), r.encode()})
	return nil
}

// remove stages the removal of a record.
func (b *batch) remove(old *record) {
	b.root.remove(b.sealer.mark(old))
	b.writes = append(b.writes, write{key: b.sealer.key(old.place)})
}

// removeDamaged stages the removal of what cannot be read at some places, also
// where it lies under the key of another. What it added to the root cannot be
// taken from it, so the root accounts anew for all others.
func (b *batch) removeDamaged(places ...place) {
	for _, at := range places {
		b.writes = append(b.writes, write{key: b.sealer.key(at)})
	}
	b.root.count, b.root.sum = 0, [sha256.Size]byte{}
	for _, k := range recordKinds {
		for r, err := range b.records(k) {
			switch {
			case slices.Contains(places, r.place):
				if err != nil && b.authentic(r) {
					b.writes = append(b.writes, write{key: r.under})
				}
			case err == nil && k != kindBody:
				b.root.add(b.sealer.mark(r))
			}
		}
	}
}

// setRoot seals the account of everything into the same transaction.
func (b *batch) setRoot() error {
	b.root.commits++
	at := place{kind: kindRoot}
	r, err := b.sealer.seal(at, b.root.commits, b.root.encode())
	if err != nil {
		return err
	}
	w := write{b.sealer.key(at), r.encode()}
	if err := b.txn.Set(w.key, w.value); err != nil {
		return fmt.Errorf("%w: staging the root record: %w", broker.ErrStoreUnavailable, err)
	}
	b.staged = appendWrite(b.staged, w)
	return nil
}
