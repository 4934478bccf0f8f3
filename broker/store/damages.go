package store

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
)

// damages are the records of an open store that are known to be damaged. None of
// them is served, whatever Badger finds in its place: that may be an older one.
type damages struct {
	log   *slog.Logger
	mu    sync.RWMutex
	known map[place]error // guarded by mu
}

// note takes down the records that an error names, and logs each once.
func (d *damages) note(err error) {
	damage, ok := errors.AsType[*DamagedError](err)
	if !ok || !damage.contained() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, record := range damage.Records {
		if _, ok := d.known[record.at]; !ok {
			d.known[record.at] = record.Err
			d.log.Error("a record is damaged; all others are served", "record", record.at.String(), "err", record.Err)
		}
	}
}

// of returns what is known to be wrong with the record at a place.
func (d *damages) of(at place) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.known[at]
}

// forget is told of places that hold nothing any more, or what is whole.
func (d *damages) forget(places ...place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range places {
		delete(d.known, at)
	}
}

func (d *damages) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.known)
}

// scrub reads all that is stored, so that what is damaged is known before anybody
// asks for it.
func (db *DB) scrub() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = db.Check(ctx) // what it finds is noted
	}()
	select {
	case <-done:
	case <-db.stopping:
		cancel()
		<-done
	}
}

// Damaged returns what is known to be damaged, ordered. It is not served, and all
// else is. A credential is damaged where either half is.
func (db *DB) Damaged() []Damage {
	db.damages.mu.RLock()
	defer db.damages.mu.RUnlock()
	all := make([]Damage, 0, len(db.damages.known))
	for at, err := range db.damages.known {
		all = append(all, Damage{at.kind.String(), at.id, err, at})
	}
	slices.SortFunc(all, func(a, b Damage) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.at.kind, b.at.kind))
	})
	return all
}

// Cause returns d as an error that is [broker.ErrDamaged].
func (d Damage) Cause() error { return damaged(d.at, d.Err) }

// OfCredential reports whether it is one half of a credential.
func (d Damage) OfCredential() bool { return d.at.kind == kindSummary || d.at.kind == kindBody }
