package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
)

// openWithPast opens Badger, verifies what it has, and has the journal make up
// for what it lacks: a commit that a killed process did not get to, or the end of
// its log, which it drops where the log is damaged.
func (db *DB) openWithPast(o *opened) (root, error) {
	past, err := readPast(db.dir, db.sealer)
	if err != nil {
		return root{}, err
	}
	var found root
	if err = db.openBadgerAs(o); err == nil {
		found, err = o.verify(db.sealer, db.damages)
	}
	switch {
	case o.readOnly:
	case err != nil:
		found, err = db.repair(o, past, found, err)
	case past.follows(found.commits):
		found, err = o.replay(past, db.sealer, db.damages)
	}
	if err != nil && !errors.Is(err, broker.ErrDamaged) {
		return root{}, err
	}
	db.damages.note(err)
	if o.readOnly {
		return found, nil
	}
	return found, db.goOn(o, past, found)
}

// openBadgerAs opens Badger to be read, or written too.
func (db *DB) openBadgerAs(o *opened) (err error) {
	options := badgerOptions(db.records(), db.sealer.keys(), db.log).WithReadOnly(o.readOnly)
	o.badger, err = openBadger(options)
	for err != nil && o.readOnly && trimLog(db.records(), err) {
		o.badger, err = openBadger(options)
	}
	return err
}

// repair puts into Badger what the journal holds, where that makes it whole. The
// logs that Badger cannot open are replaced by the journal, which has all that is
// in them; where that does not help they are put back.
func (db *DB) repair(o *opened, past *past, found root, damage error) (root, error) {
	seen, err := o.head.read()
	if err != nil || past.last < max(seen, found.commits) {
		return found, damage
	}
	var aside []string
	if o.badger == nil {
		if aside, err = putAside(db.records()); err != nil {
			return root{}, errors.Join(damage, err)
		}
		err = db.openBadgerAs(o)
	}
	if err == nil {
		found, err = o.replay(past, db.sealer, db.damages)
	}
	if err != nil && !errors.Is(err, broker.ErrDamaged) {
		if len(aside) > 0 && o.badger != nil {
			err = o.badger.Close() // it has begun logs of the same names
			o.badger = nil
			damage = errors.Join(damage, err)
		}
		return root{}, errors.Join(damage, putBack(aside))
	}
	for _, path := range aside {
		if err := os.Remove(path); err != nil {
			db.log.Warn("a damaged log stays", "err", err)
		}
	}
	if err == nil {
		db.repaired.Add(1)
		db.log.Warn("the store was damaged and has been repaired from its journal: nothing is lost; look after the disk",
			"damage", damage.Error(), "commits", found.commits)
	}
	return found, err
}

// replay writes what the journal holds over what Badger has, and verifies it.
func (o *opened) replay(past *past, s *sealer, known *damages) (root, error) {
	writing := o.badger.NewWriteBatch()
	defer writing.Cancel()
	for _, key := range slices.Sorted(maps.Keys(past.values)) {
		var err error
		if value := past.values[key]; value == nil {
			err = writing.Delete([]byte(key))
		} else {
			err = writing.SetEntry(badger.NewEntry([]byte(key), value))
		}
		if err != nil {
			return root{}, fmt.Errorf("replaying the journal: %w", err)
		}
	}
	if err := writing.Flush(); err != nil {
		return root{}, fmt.Errorf("replaying the journal: %w", err)
	}
	return o.verify(s, known)
}

// goOn opens the journal to be written. One that is behind Badger is damaged, and
// begun anew; what is in Badger was found whole.
func (db *DB) goOn(o *opened, past *past, found root) (err error) {
	if past.last < found.commits {
		if past.last > 0 || past.broken {
			db.log.Warn("the journal was damaged and is begun anew: nothing is lost", "commits", found.commits, "journal", past.last)
			db.repaired.Add(1)
		}
		past.size = 0
		if err := removeIfThere(filepath.Join(db.dir, formerJournal)); err != nil {
			return err
		}
	}
	if o.journal, err = openJournal(db.dir, db.sealer, past.size); err != nil {
		return err
	}
	return o.head.write(found.commits)
}

// aside is appended to the names of logs that Badger cannot open.
const asideSuffix = ".damaged"

func putAside(records string) (aside []string, err error) {
	logs, err := filepath.Glob(filepath.Join(records, "*.mem"))
	for _, log := range logs {
		err = errors.Join(err, os.Rename(log, log+asideSuffix))
		aside = append(aside, log+asideSuffix)
	}
	return aside, err
}

func putBack(aside []string) (err error) {
	for _, path := range aside {
		err = errors.Join(err, os.Rename(path, path[:len(path)-len(asideSuffix)]))
	}
	return err
}

// Repairs counts how often, since [Open], damage was found and made good without
// any loss. More than 0 tells of a disk that is not to be trusted.
func (db *DB) Repairs() uint64 { return db.repaired.Load() }
