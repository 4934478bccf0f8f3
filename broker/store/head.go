package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	headFile = "head"
	headSlot = 4096 // the distance of the two slots: no torn write meets both
)

// A head is a file beside Badger that tells the number of the last commit: where
// the end of its log is damaged, Badger drops it in silence, the root record
// with it, and what is left adds up.
//
// It is written after each commit, into two slots in turn, and not synced: it
// outlives the process, and after a power cut it is at worst older than what
// Badger has, which is no loss.
type head struct {
	file   *os.File
	sealer *sealer
}

func createHead(dir string, s *sealer, commits uint64) error {
	if err := writeSynced(filepath.Join(dir, headFile), make([]byte, 2*headSlot)); err != nil {
		return err
	}
	h, err := openHead(dir, s)
	if err != nil {
		return err
	}
	return errors.Join(h.write(commits), h.close())
}

func openHead(dir string, s *sealer) (*head, error) {
	path := filepath.Join(dir, headFile)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamagedError{Detail: path + " is missing"}
	}
	if err != nil {
		return nil, err
	}
	return &head{f, s}, nil
}

func (h *head) write(commits uint64) error {
	r, err := h.sealer.seal(place{kind: kindHead}, commits, nil)
	if err != nil {
		return err
	}
	if _, err := h.file.WriteAt(r.encode(), int64(commits%2)*headSlot); err != nil {
		return fmt.Errorf("writing the head: %w", err)
	}
	return nil
}

// read returns the number of the last commit that a slot tells of; one slot may
// be torn.
func (h *head) read() (commits uint64, err error) {
	err = damaged(place{kind: kindHead}, errAltered)
	for slot := range int64(2) {
		data := make([]byte, headerSize+tagSize)
		if _, readErr := h.file.ReadAt(data, slot*headSlot); readErr != nil {
			continue
		}
		r, decodeErr := decodeRecord(data)
		if decodeErr != nil || r.place != (place{kind: kindHead}) {
			continue
		}
		if _, openErr := h.sealer.open(&r); openErr == nil {
			commits, err = max(commits, r.revision), nil
		}
	}
	return commits, err
}

func (h *head) close() error { return errors.Join(h.file.Sync(), h.file.Close()) }
