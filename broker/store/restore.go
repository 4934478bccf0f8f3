package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// Restored says what [Restore] has made.
type Restored struct {
	Checked
	// Missing is how many commits the folder had seen that the backup is older
	// than; 0 where it is the newest, or nothing tells.
	Missing uint64
}

// ErrNotEmpty is why nothing is restored into a folder.
var ErrNotEmpty = errors.New("it is not empty")

// mayRemain are the files of a folder that a backup is restored into. The head
// tells what the folder had seen last, and the audit log goes on.
var mayRemain = []string{headFile, lockFile, probeFile, "providers", "plugins", "run", "audit", "audit.head"}

// Restore makes a store of a backup. All of the backup is read and verified
// before anything is written, and until all is written there is no store.
func Restore(backup io.ReadSeeker, config Config) (Restored, error) {
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b, err := readBackup(backup, config.Key)
	if err != nil {
		return Restored{}, fmt.Errorf("reading the backup: %w", err)
	}
	if err := checkEmpty(config.Dir); err != nil {
		return Restored{}, err
	}
	lock, err := lockFolder(config.Dir)
	if err != nil {
		return Restored{}, err
	}
	defer lock.Close()
	restored := Restored{Checked: Checked{Commits: b.root.commits, Records: b.root.count}}
	if seen := b.lastSeen(config.Dir); seen > b.root.commits {
		restored.Missing = seen - b.root.commits
	}
	if err := b.write(backup, config.Dir, log); err != nil {
		return Restored{}, fmt.Errorf("restoring to %s: %w", config.Dir, err)
	}
	return restored, nil
}

func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !slices.Contains(mayRemain, entry.Name()) {
			return fmt.Errorf("%s: %w: move %s away, keep %s if it is there, and restore again", dir, ErrNotEmpty, entry.Name(), headFile)
		}
	}
	return nil
}

// A backupFile is one that was read and found whole.
type backupFile struct {
	ring   *keyring
	keys   *rootKeys
	sealer *sealer
	root   root
}

// readBackup reads all of a backup: every record has to open, each body to be
// the one that its summary names, and all together what the root accounts for.
func readBackup(from io.ReadSeeker, kek Key) (*backupFile, error) {
	b := &backupFile{}
	bodies, found := map[string][tagSize]byte{}, root{}
	err := b.each(from, kek, func(r record) error {
		plaintext, err := b.sealer.open(&r)
		if err != nil {
			return damaged(r.place, err)
		}
		switch r.place.kind {
		case kindRoot:
			b.root, err = decodeRoot(&r, plaintext)
			return err
		case kindBody:
			if tag, ok := bodies[r.place.id]; !ok || tag != r.tag() {
				return damaged(r.place, errOlder)
			}
			delete(bodies, r.place.id)
			return nil
		case kindSummary:
			if _, bodies[r.place.id], err = decodeSummary(&r, plaintext); err != nil {
				return damaged(r.place, err)
			}
		}
		found.add(b.sealer.mark(&r))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if b.root.commits == 0 || len(bodies) > 0 || found.count != b.root.count || found.sum != b.root.sum {
		return nil, &DamagedError{Detail: "its records are not those that its root accounts for"}
	}
	return b, nil
}

// each calls do with every record, and opens the keyring with the key, if that
// was not done before.
func (b *backupFile) each(from io.ReadSeeker, kek Key, do func(record) error) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(from, maxChunk)
	header, ring, err := readBackupHeader(in)
	if err != nil {
		return err
	}
	if b.ring == nil {
		if err := b.unlock(ring, kek); err != nil {
			return err
		}
	}
	opening, err := newArchive(b.keys, header)
	if err != nil {
		return err
	}
	for kind := byte(followedChunk); kind != lastChunk; {
		var chunk []byte
		if chunk, kind, err = opening.read(in); err != nil {
			return err
		}
		for len(chunk) > 0 {
			var r record
			if r, chunk, err = takeRecord(chunk); err != nil {
				return err
			}
			if err := do(r); err != nil {
				return err
			}
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return errBackupAltered
	}
	return nil
}

func (b *backupFile) unlock(ring []byte, kek Key) (err error) {
	if b.ring, err = parseKeyring(ring); err != nil {
		return fmt.Errorf("its keyring: %w", err)
	}
	if b.keys, err = b.ring.unlock(kek); err != nil {
		return fmt.Errorf("its keyring: %w", err)
	}
	b.sealer, err = newSealer(b.ring, b.keys)
	return err
}

// lastSeen is the number of the last commit that the folder's head tells of, 0
// where there is none of this store.
func (b *backupFile) lastSeen(dir string) uint64 {
	h, err := openHead(dir, b.sealer)
	if err != nil {
		return 0
	}
	defer h.file.Close()
	commits, err := h.read()
	if err != nil {
		return 0
	}
	return commits
}

// write makes the store, in the order in which [create] does.
func (b *backupFile) write(from io.ReadSeeker, dir string, log *slog.Logger) error {
	if err := checkSpace(dir); err != nil {
		return err
	}
	folder := filepath.Join(dir, newRecordsFolder)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	bdb, err := openBadger(badgerOptions(folder, b.keys, log))
	if err != nil {
		return err
	}
	writing := bdb.NewWriteBatch()
	defer writing.Cancel()
	err = b.each(from, Key{}, func(r record) error { return writing.SetEntry(badger.NewEntry(b.sealer.key(r.place), r.encode())) })
	if err == nil {
		err = writing.Flush()
	}
	if err := errors.Join(err, bdb.Close(), syncFolder(folder)); err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	if err := createHead(dir, b.sealer, b.root.commits); err != nil {
		return err
	}
	if err := writeKeyring(dir, b.ring); err != nil {
		return err
	}
	return findRecords(dir)
}
