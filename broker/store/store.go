package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
)

// Config says what to open.
type Config struct {
	// Dir is the data directory. It is made, private, where there is none; one
	// that others can write to is refused.
	Dir string
	// Key opens the keyring, or a new one is made with it.
	Key Key
	// Log hears of openings, and of Badger's complaints. Optional.
	Log *slog.Logger
}

var errClosed = fmt.Errorf("%w: it is closed", broker.ErrStoreUnavailable)

// A DB is an open store. It implements [broker.Store].
type DB struct {
	dir    string
	sealer *sealer
	lock   *os.File // holds the folder for this process
	badger *badger.DB

	requests  chan *request // to the committer
	stopping  chan struct{} // closed by Close
	committer sync.WaitGroup
	closing   func() error

	head        *head                   // owned by the committer
	root        root                    // owned by the committer
	unallocated int                     // owned by the committer, see keepAllocated
	commitTxn   func(*badger.Txn) error // (*badger.Txn).Commit, or a test's

	gate    sync.RWMutex   // held for writing while a commit is under way
	failure error          // guarded by gate; why nothing can be read or written
	readers sync.WaitGroup // views in use, added to under gate
}

// Open opens the store in a data directory, or makes one where there is none.
// The key is tried before anything else: with a wrong one ([ErrWrongKey]) not a
// byte changes. It is an error if another process has the store open, and a
// [*DamagedError] if records are lost or were tampered with.
func Open(config Config) (*DB, error) {
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if config.Key.reveal == nil {
		return nil, fmt.Errorf("no encryption key was given; %s", newKeyHint)
	}
	if _, _, err := inspect(config.Dir, config.Key); err != nil {
		return nil, err
	}
	lock, err := lockFolder(config.Dir)
	if err != nil {
		return nil, err
	}
	db, err := openLocked(config, lock, log)
	if err != nil {
		lock.Close()
		return nil, err
	}
	db.committer.Go(db.runCommitter)
	log.Info("store opened", "dir", config.Dir, "commits", db.root.commits, "records", db.root.count)
	return db, nil
}

func openLocked(config Config, lock *os.File, log *slog.Logger) (*DB, error) {
	// What was found before the lock was held may have changed since.
	ring, keys, err := inspect(config.Dir, config.Key)
	if err != nil {
		return nil, err
	}
	if err := checkSpace(config.Dir); err != nil {
		return nil, err
	}
	if ring == nil {
		if ring, keys, err = create(config, log); err != nil {
			return nil, fmt.Errorf("making a new store: %w", err)
		}
	}
	if err := findRecords(config.Dir); err != nil {
		return nil, err
	}
	db := &DB{
		dir: config.Dir, lock: lock,
		requests: make(chan *request), stopping: make(chan struct{}),
		commitTxn: (*badger.Txn).Commit,
	}
	db.closing = sync.OnceValue(db.close)
	if db.sealer, err = newSealer(ring, keys); err != nil {
		return nil, err
	}
	if db.head, err = openHead(config.Dir, db.sealer); err != nil {
		return nil, err
	}
	if db.badger, err = openBadger(db.records(), keys, log); err != nil {
		db.head.close()
		return nil, err
	}
	if err = db.verify(); err == nil {
		err = preallocate(db.records())
	}
	if err != nil {
		return nil, errors.Join(err, db.badger.Close(), db.head.close())
	}
	return db, nil
}

func (db *DB) records() string { return filepath.Join(db.dir, recordsFolder) }

// create makes an empty store. The keyring is written once the records are whole
// and moved into place by findRecords, so that at any time a crash leaves either
// nothing that counts or a store that opens, and records that are missing later
// can only have been lost.
func create(config Config, log *slog.Logger) (*keyring, *rootKeys, error) {
	folder := filepath.Join(config.Dir, newRecordsFolder)
	if err := os.RemoveAll(folder); err != nil {
		return nil, nil, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, nil, err
	}
	ring, keys, err := newKeyring(config.Key, time.Now())
	if err != nil {
		return nil, nil, err
	}
	sealer, err := newSealer(ring, keys)
	if err != nil {
		return nil, nil, err
	}
	bdb, err := openBadger(folder, keys, log)
	if err != nil {
		return nil, nil, err
	}
	err = bdb.Update(func(txn *badger.Txn) error {
		return (&batch{view: view{sealer, txn}}).setRoot()
	})
	if err := errors.Join(err, bdb.Close(), syncFolder(folder)); err != nil {
		return nil, nil, err
	}
	if err := createHead(config.Dir, sealer, 1); err != nil {
		return nil, nil, err
	}
	return ring, keys, writeKeyring(config.Dir, ring)
}

// findRecords sees to it that the records lie where they belong.
func findRecords(dir string) error {
	records, fresh := filepath.Join(dir, recordsFolder), filepath.Join(dir, newRecordsFolder)
	if !exists(records) && exists(fresh) {
		if err := errors.Join(os.Rename(fresh, records), syncFolder(dir)); err != nil {
			return fmt.Errorf("making a new store: %w", err)
		}
	}
	// Without them Badger would begin anew, or panic.
	for _, name := range []string{"", badger.ManifestFilename, badger.KeyRegistryFileName} {
		if path := filepath.Join(records, name); !exists(path) {
			return &DamagedError{Detail: path + " is missing"}
		}
	}
	return nil
}

func openBadger(folder string, keys *rootKeys, log *slog.Logger) (*badger.DB, error) {
	if err := removeEmptyLogs(folder); err != nil {
		return nil, err
	}
	bdb, err := badger.Open(badgerOptions(folder, keys, log))
	if err != nil {
		return nil, &DamagedError{Detail: fmt.Sprintf("%s cannot be opened: %v", folder, err)}
	}
	return bdb, nil
}

// Close waits for the commit under way and for those who read, and closes the
// store; it must not be called within a loop over [DB.Summaries]. All that comes
// later is an error wrapping [broker.ErrStoreUnavailable].
func (db *DB) Close() error { return db.closing() }

func (db *DB) close() error {
	close(db.stopping)
	db.committer.Wait()
	db.gate.Lock()
	db.failure = errClosed
	db.gate.Unlock()
	db.readers.Wait()
	if err := errors.Join(db.badger.Close(), db.head.close(), db.lock.Close()); err != nil {
		return fmt.Errorf("closing the store: %w", err)
	}
	return nil
}

// Format implements [fmt.Formatter]: what lies inside is not for printing.
func (db *DB) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "store %s", db.dir) }

var _ broker.Store = (*DB)(nil)
