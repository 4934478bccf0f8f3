package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
)

// How long the store waits between two attempts to come back.
const (
	healSoon  = 50 * time.Millisecond
	healLater = 15 * time.Second
)

// probeFile is written to see whether the disk works again.
const probeFile = "probe"

// fail ends writing until the store was opened again, with what was acknowledged
// for those who read meanwhile. The gate is held for writing.
func (db *DB) fail(last *badger.Txn, err error) {
	db.failure, db.last = fmt.Errorf("%w: nothing is written until it was opened again: %w", broker.ErrStoreUnavailable, err), last
}

// wakeHealer has the store opened again, if it failed.
func (db *DB) wakeHealer() {
	if db.failed() == nil {
		return
	}
	select {
	case db.failing <- struct{}{}:
	default:
	}
}

func (db *DB) failed() error {
	db.gate.RLock()
	defer db.gate.RUnlock()
	return db.failure
}

// runHealer brings a store that failed back.
func (db *DB) runHealer() {
	for {
		select {
		case <-db.stopping:
			return
		case <-db.failing:
		}
		failure := db.failed()
		if failure == nil { // it is back from what was said before
			continue
		}
		db.log.Error("the store cannot be written", "err", failure)
		began, pause := time.Now(), healSoon
		for err := db.heal(); err != nil; err = db.heal() {
			db.log.Debug("the store is not back yet", "err", err, "next", pause)
			select {
			case <-db.stopping:
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, healLater)
		}
		db.log.Info("the store is writable again", "after", time.Since(began))
		db.wakeSweeper()
	}
}

// heal opens the store again once the disk works. What Badger's memory holds and
// the disk does not is gone then; a write that failed is either there as a whole
// or not at all, and whoever asked for it has to read it back.
func (db *DB) heal() error {
	if err := db.probe(); err != nil {
		return err
	}
	// What it could not write was not acknowledged, or is in its log.
	if err := db.retire(); err != nil {
		db.log.Warn("the store that failed does not close well", "err", err)
	}
	opened, found, err := db.openRecords(false)
	db.gate.Lock()
	defer db.gate.Unlock()
	if err == nil {
		err = opened.continues(db.root, found)
	}
	if err != nil {
		db.failure = fmt.Errorf("%w: opening it again: %w", broker.ErrStoreUnavailable, err)
		return err
	}
	db.opened, db.root, db.failure = opened, found, nil
	return nil
}

// continues checks that what was acknowledged is in what was found, and closes
// it where it is not.
func (o *opened) continues(acknowledged, found root) error {
	var err error
	if found.commits < acknowledged.commits {
		err = &DamagedError{Detail: fmt.Sprintf("%d commits that were acknowledged are lost", acknowledged.commits-found.commits)}
	} else {
		err = o.head.write(found.commits) // which may be what failed
	}
	if err != nil {
		return errors.Join(err, o.close())
	}
	return nil
}

// endReading lets no more in to read, and waits for those who do.
func (db *DB) endReading() {
	db.gate.Lock()
	last := db.last
	db.last = nil
	db.gate.Unlock()
	db.readers.Wait() // no more are let in
	if last != nil {
		last.Discard()
	}
}

// retire ends all reading and closes what is open.
func (db *DB) retire() error {
	db.endReading()
	db.gate.Lock()
	old := db.opened
	db.opened = nil
	db.gate.Unlock()
	if old == nil {
		return nil
	}
	return old.close()
}

// probe returns nil where a disk that failed has room and keeps what is written
// to it.
func (db *DB) probe() error {
	if err := checkSpace(db.dir); err != nil {
		return err
	}
	path := filepath.Join(db.dir, probeFile)
	const enough = 1 << 20 // for the disk to have to find room
	return errors.Join(writeSynced(path, random(enough)), os.Remove(path))
}

// Writable implements [broker.Store].
func (db *DB) Writable(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := db.failed(); err != nil {
		return err
	}
	return checkSpace(db.dir)
}
