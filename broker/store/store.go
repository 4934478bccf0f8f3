package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	// Existing makes it an error, [ErrNoStore], if there is no store yet.
	Existing bool
	// Log hears of openings, and of Badger's complaints. Optional.
	Log *slog.Logger
}

// ErrNoStore says that nothing was ever stored in a folder.
var ErrNoStore = errors.New("there is no store")

var errClosed = fmt.Errorf("%w: it is closed", broker.ErrStoreUnavailable)

// A DB is an open store. It implements [broker.Store].
type DB struct {
	dir     string
	key     Key // that it was opened with
	sealer  *sealer
	damages *damages
	lock    *os.File // holds the folder for this process
	log     *slog.Logger

	requests   chan *request // to the committer
	failing    chan struct{} // to the healer
	sweeping   chan struct{} // to the sweeper
	stopping   chan struct{} // closed by Close
	background sync.WaitGroup
	closing    func() error
	commitTxn  func(*badger.Txn) error // (*badger.Txn).Commit, or a test's

	unswept  atomic.Int64  // see DB.Outdated
	rotating sync.Mutex    // held while the keyring changes
	repaired atomic.Uint64 // times that damage was made good, see DB.Repairs

	gate    sync.RWMutex   // held for writing while a commit is under way
	*opened                // guarded by gate; nil where opening it again failed
	root    root           // guarded by gate; as acknowledged
	failure error          // guarded by gate; why nothing can be written
	last    *badger.Txn    // guarded by gate; what is read while there is a failure, if anything
	readers sync.WaitGroup // views in use, added to under gate
}

// opened is what a store that failed closes and opens again.
type opened struct {
	badger      *badger.DB
	head        *head
	journal     *journal // nil where it may only be read
	readOnly    bool
	suspect     bool // a table has a damaged block
	unallocated int  // owned by the committer, see keepAllocated
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
	ring, _, err := inspect(config.Dir, config.Key)
	if err != nil {
		return nil, err
	}
	if ring == nil && config.Existing {
		return nil, ErrNoStore
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
	db.background.Go(db.runCommitter)
	db.background.Go(db.runHealer)
	db.background.Go(db.runSweeper)
	db.wakeSweeper()
	db.wakeHealer()
	if db.suspect {
		db.background.Go(db.scrub)
	}
	log.Info("store opened", "dir", config.Dir, "commits", db.root.commits, "records", db.root.count)
	return db, nil
}

func openLocked(config Config, lock *os.File, log *slog.Logger) (*DB, error) {
	// What was found before the lock was held may have changed since.
	ring, keys, err := inspect(config.Dir, config.Key)
	if err != nil {
		return nil, err
	}
	full := checkSpace(config.Dir)
	if ring == nil {
		if full != nil {
			return nil, full
		}
		if ring, keys, err = create(config, log); err != nil {
			return nil, fmt.Errorf("making a new store: %w", err)
		}
	}
	db := &DB{
		dir: config.Dir, key: config.Key, lock: lock, log: log,
		requests: make(chan *request), failing: make(chan struct{}, 1), sweeping: make(chan struct{}, 1), stopping: make(chan struct{}),
		commitTxn: (*badger.Txn).Commit, damages: &damages{log: log, known: map[place]error{}},
	}
	db.closing = sync.OnceValue(db.close)
	if db.sealer, err = newSealer(ring, keys); err != nil {
		return nil, err
	}
	if db.opened, db.root, err = db.openRecords(full != nil); err != nil {
		if full != nil {
			return nil, fmt.Errorf("%w; before that it cannot be read either (%w)", full, err)
		}
		return nil, err
	}
	if full != nil {
		db.failure, db.last = full, db.badger.NewTransaction(false)
	}
	return db, nil
}

// openRecords opens what lies in the folder and verifies it. Where it may only
// be read, a full disk does no harm.
func (db *DB) openRecords(readOnly bool) (*opened, root, error) {
	if err := findRecords(db.dir); err != nil {
		return nil, root{}, err
	}
	suspect, err := checkTables(db.records(), db.sealer.keys(), db.log)
	if err != nil {
		return nil, root{}, err
	}
	head, err := openHead(db.dir, db.sealer)
	if err != nil {
		return nil, root{}, err
	}
	o := &opened{head: head, readOnly: readOnly, suspect: suspect}
	found, err := db.openWithPast(o)
	if err == nil && !readOnly {
		err = preallocate(db.records())
	}
	if err != nil {
		return nil, root{}, errors.Join(err, o.close())
	}
	return o, found, nil
}

// close closes what is open of it.
func (o *opened) close() error {
	var errs []error
	if o.badger != nil {
		errs = append(errs, o.badger.Close())
	}
	if o.journal != nil {
		errs = append(errs, o.journal.close())
	}
	return errors.Join(append(errs, o.head.close())...)
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
	bdb, err := openBadger(badgerOptions(folder, keys, log))
	if err != nil {
		return nil, nil, err
	}
	err = bdb.Update(func(txn *badger.Txn) error {
		return (&batch{view: view{sealer: sealer, txn: txn}}).setRoot()
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

func openBadger(o badger.Options) (bdb *badger.DB, err error) {
	if err := removeEmptyLogs(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		// Badger panics over logs that lead nowhere.
		if p := recover(); p != nil {
			err = &DamagedError{Detail: o.Dir + " cannot be opened: its logs are not what was written"}
		}
	}()
	bdb, err = badger.Open(o)
	if err != nil {
		return nil, &DamagedError{Detail: fmt.Sprintf("%s cannot be opened: %v", o.Dir, err)}
	}
	return bdb, nil
}

// Close waits for the commit under way and for those who read, and closes the
// store; it must not be called within a loop over [DB.Summaries]. All that comes
// later is an error wrapping [broker.ErrStoreUnavailable].
func (db *DB) Close() error { return db.closing() }

func (db *DB) close() error {
	close(db.stopping)
	db.background.Wait()
	db.rotating.Lock() // the folder is nobody's after this
	defer db.rotating.Unlock()
	trouble := db.Writable(context.Background())
	db.gate.Lock()
	db.failure = errClosed
	db.gate.Unlock()
	var err error
	if trouble == nil || db.opened == nil || db.readOnly {
		err = db.retire()
	} else {
		// Closing, Badger moves its log to a table, which would kill the process
		// on a full disk and take for ever on one that fails. What is in the log
		// is found there by the next opening.
		db.endReading()
		db.log.Warn("the store is left as it is", "err", trouble)
	}
	if err := errors.Join(err, db.lock.Close()); err != nil {
		return fmt.Errorf("closing the store: %w", err)
	}
	return nil
}

// Format implements [fmt.Formatter]: what lies inside is not for printing.
func (db *DB) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "store %s", db.dir) }

var _ broker.Store = (*DB)(nil)
