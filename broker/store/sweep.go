package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/invectd/invectd/broker"
)

// sweepBytes is about how much the sweep rewrites in one commit, between which
// others get their turn.
const sweepBytes = 64 << 10

// wakeSweeper has the sweep run, which it does at the start and after each change
// of the keyring.
func (db *DB) wakeSweeper() {
	select {
	case db.sweeping <- struct{}{}:
	default:
	}
}

// runSweeper seals in the background what is sealed under former data keys under
// the active one, and then destroys the former: with them all copies that Badger
// and the disk still have of what was replaced or deleted.
func (db *DB) runSweeper() {
	for {
		select {
		case <-db.stopping:
			return
		case <-db.sweeping:
		}
		if err := db.sweep(context.Background()); err != nil && db.failed() == nil && !db.isStopping() {
			db.log.Warn("former data keys stay for now", "err", err)
		}
	}
}

// sweep is tried again after a restart where it fails.
func (db *DB) sweep(ctx context.Context) error {
	active := db.sealer.keys().Active
	if len(db.sealer.keys().Terms) == 1 {
		return nil
	}
	// Records are sealed by the committer: after this turn of it, none is under a
	// former key any more.
	if err := db.commit(ctx, func(*batch) error { return nil }); err != nil {
		return err
	}
	if err := db.resealOutdated(ctx, active); err != nil {
		return err
	}
	return db.dropTerms(ctx, active)
}

// resealOutdated seals all that is under former data keys under the active one.
func (db *DB) resealOutdated(ctx context.Context, active uint32) error {
	for db.sealer.keys().Active == active { // else the next sweep has more to do
		all, err := db.outdated(ctx, active)
		db.unswept.Store(int64(len(all)))
		if err != nil || len(all) == 0 {
			return err
		}
		for len(all) > 0 {
			some := all.upTo(sweepBytes)
			if err := db.commit(ctx, func(b *batch) error { return b.resealAll(all[:some]) }); err != nil {
				return fmt.Errorf("sealing records under the new data key: %w", err)
			}
			all = all[some:]
			db.unswept.Add(int64(-some))
		}
		db.log.Info("all records are sealed under the active data key", "term", active)
	}
	return nil
}

// Outdated counts the records that the sweep has still to seal under the active
// data key.
func (db *DB) Outdated() int { return int(db.unswept.Load()) }

// sized are places of records, with the size of each.
type sized []struct {
	at   place
	size int
}

// upTo returns how many of the first come to that many bytes, and at least one.
func (s sized) upTo(bytes int) int {
	for i := range s {
		if bytes -= s[i].size; bytes < 0 {
			return i + 1
		}
	}
	return len(s)
}

// outdated returns the records that are under another data key, the root among
// them. One that is damaged is an error.
func (db *DB) outdated(ctx context.Context, active uint32) (all sized, err error) {
	v, done, err := db.view(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	for _, k := range append(slices.Clone(recordKinds), kindRoot) {
		for r, err := range v.records(k) {
			switch {
			case err != nil:
				return nil, err
			case db.isStopping():
				return nil, errClosed
			case r.term != active:
				all = append(all, struct {
					at   place
					size int
				}{r.place, len(r.sealed)})
			}
		}
	}
	return all, nil
}

func (db *DB) isStopping() bool {
	select {
	case <-db.stopping:
		return true
	default:
		return false
	}
}

// resealAll stages records anew, under the active data key and with the revision
// that they have. Those that are gone since are left out.
func (b *batch) resealAll(some sized) error {
	done := map[string]bool{} // credentials, of which both halves may be named
	for _, each := range some {
		var err error
		at := each.at
		switch at.kind {
		case kindRoot:
			b.force = true // it is sealed by every commit
		case kindSummary, kindBody:
			if !done[at.id] {
				err = b.resealCredential(broker.ID(at.id))
			}
			done[at.id] = true
		default:
			err = b.reseal(at)
		}
		if err != nil && !errors.Is(err, broker.ErrNotFound) {
			return err
		}
	}
	return nil
}

// resealCredential keeps what both halves hold byte for byte, but for the tag that
// binds them.
func (b *batch) resealCredential(id broker.ID) error {
	if _, err := b.credential(id); err != nil { // do they belong together?
		return err
	}
	old, summary, err := b.get(place{kindSummary, string(id)})
	if err != nil {
		return err
	}
	oldBody, content, err := b.get(place{kindBody, string(id)})
	if err != nil {
		return err
	}
	body, err := b.sealer.seal(oldBody.place, oldBody.revision, content)
	if err != nil {
		return err
	}
	tag := body.tag()
	if err := b.put(old.place, old.revision, append(tag[:], summary[tagSize:]...), old); err != nil {
		return err
	}
	b.writes = append(b.writes, write{b.sealer.key(body.place), body.encode()})
	return nil
}

func (b *batch) reseal(at place) error {
	old, content, err := b.get(at)
	if err != nil {
		return err
	}
	return b.put(at, old.revision, content, old)
}

// dropTerms destroys all data keys but the one that everything is sealed under,
// once a single key opens the store: the slot of another could not be sealed anew.
func (db *DB) dropTerms(ctx context.Context, active uint32) error {
	db.rotating.Lock()
	defer db.rotating.Unlock()
	if err := db.Writable(ctx); err != nil {
		return err
	}
	ring, keys, err := db.readKeyring()
	if err != nil {
		return fmt.Errorf("%w: reading the keyring: %w", broker.ErrStoreUnavailable, err)
	}
	if len(ring.Slots) > 1 || len(keys.Terms) == 1 || keys.Active != active { // the next rotation has begun
		return nil
	}
	dropped := len(keys.Terms) - 1
	keys.Terms = slices.DeleteFunc(keys.Terms, func(t term) bool { return t.Number != keys.Active })
	if err := ring.addSlot(db.key, keys, random(nonceSize)); err != nil {
		return err
	}
	if err := writeKeyring(db.dir, ring); err != nil {
		return fmt.Errorf("%w: %w", broker.ErrStoreUnavailable, err)
	}
	// In memory they stay until the next start, for those who still read the store
	// as it was before.
	db.log.Info("former data keys are destroyed", "number", dropped, "term", keys.Active)
	return nil
}
