package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	journalFile   = "journal"
	formerJournal = "journal.old"
	// journalSize is what a journal holds before a new one may be begun.
	journalSize = 2 << 20
	// maxEntry bounds what is read as one entry. A batch is smaller, since one
	// transaction of Badger has to take it.
	maxEntry = 2 << 20
)

// A journal is a file beside Badger that holds once more what was committed
// lately. Where Badger's log is damaged, Badger drops what follows in silence;
// the journal has it.
//
// It is written and synced before Badger commits, so it never lacks what Badger
// has. All that lies in Badger's logs and not yet in a table is in it: it becomes
// the former journal when it has grown, and that is removed only once the logs of
// its time are.
type journal struct {
	dir    string
	sealer *sealer
	file   *os.File
	size   int64
	// formerLogs is the highest number of Badger's logs in whose time the former
	// journal was written.
	formerLogs int
}

// openJournal opens the journal to go on after size bytes, which hold whole
// entries; what follows was never acknowledged, or is damaged.
func openJournal(dir string, s *sealer, size int64) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, journalFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	j := &journal{dir: dir, sealer: s, file: f, size: size}
	_, j.formerLogs, err = logNumbers(filepath.Join(dir, recordsFolder))
	if err := errors.Join(err, f.Truncate(size), syncFolder(dir)); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	return j, nil
}

// append returns once the writes of a commit are on disk.
func (j *journal) append(commit uint64, writes []byte) error {
	if j.size >= journalSize {
		if err := j.turn(); err != nil {
			return fmt.Errorf("beginning a new journal: %w", err)
		}
	}
	r, err := j.sealer.seal(place{kind: kindJournal}, commit, writes)
	if err != nil {
		return err
	}
	encoded := r.encode()
	entry := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(encoded)), uint32(len(encoded))), encoded...)
	if _, err := j.file.WriteAt(entry, j.size); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := j.sync(); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	j.size += int64(len(entry))
	return nil
}

func (j *journal) sync() error {
	if !syncWrites {
		return nil
	}
	return syscall.Fdatasync(int(j.file.Fd()))
}

// turn begins a new journal, unless the former one is still needed.
func (j *journal) turn() error {
	lowest, highest, err := logNumbers(filepath.Join(j.dir, recordsFolder))
	if err != nil || lowest <= j.formerLogs {
		return err
	}
	path := filepath.Join(j.dir, journalFile)
	if err := os.Rename(path, filepath.Join(j.dir, formerJournal)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(syncFolder(j.dir), j.file.Close()); err != nil {
		f.Close()
		return err
	}
	j.file, j.size, j.formerLogs = f, 0, highest
	return nil
}

// logNumbers returns the lowest and the highest number of Badger's logs.
func logNumbers(records string) (lowest, highest int, err error) {
	logs, err := filepath.Glob(filepath.Join(records, "*.mem"))
	for _, log := range logs {
		number, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(log), ".mem"))
		if err != nil {
			return 0, 0, fmt.Errorf("%s is no log of Badger's", log)
		}
		if lowest == 0 {
			lowest = number
		}
		lowest, highest = min(lowest, number), max(highest, number)
	}
	return lowest, highest, err
}

// close ends the journal. Once Badger is closed and has left no log, all is in its
// tables and nothing of the journal is needed.
func (j *journal) close() error {
	_, highest, err := logNumbers(filepath.Join(j.dir, recordsFolder))
	if err == nil && highest == 0 {
		err = errors.Join(removeIfThere(filepath.Join(j.dir, formerJournal)), os.Remove(j.file.Name()))
	}
	return errors.Join(err, j.file.Close())
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
