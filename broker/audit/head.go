package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const (
	headMagic = "invectd audit head\x00\x01"
	markSize  = len(headMagic) + 8 + len(mac{}) + 8 + sha256.Size
)

// A head is a file that tells the last line, so that one that was cut off is
// missed. It is written over after each line, and not synced: it outlives the
// process, and it is short enough for a disk to write it whole or not at all.
// After a power cut it is at worst older than the lines, which is no loss, or
// newer than those that were not synced, which it says.
type head struct {
	file *os.File
	keys keyset
}

// A mark is what a head tells.
type mark struct {
	last   link
	synced uint64 // the lines up to this one were on disk
}

// openHead opens the head, or makes an empty one.
func openHead(path string, k keyset) (*head, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &head{f, k}, nil
}

// readHead returns what the head at path tells; false where there is none.
func readHead(path string, k keyset) (m mark, ok bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 { // nothing was ever written to it
		return mark{}, false, nil
	}
	if err != nil {
		return mark{}, false, err
	}
	if m, ok = decodeMark(data, k); !ok {
		return mark{}, false, fmt.Errorf("%s was altered", path)
	}
	return m, true, nil
}

func (h *head) write(m mark) error {
	_, err := h.file.WriteAt(m.encode(h.keys), 0)
	return err
}

func (h *head) close() error { return errors.Join(h.file.Sync(), h.file.Close()) }

func (m mark) encode(k keyset) []byte {
	b := append(make([]byte, 0, markSize), headMagic...)
	b = binary.BigEndian.AppendUint64(b, m.last.seq)
	b = append(b, m.last.mac[:]...)
	b = binary.BigEndian.AppendUint64(b, m.synced)
	h := hmac.New(sha256.New, k.reveal().head)
	h.Write(b)
	return h.Sum(b)
}

func decodeMark(data []byte, k keyset) (m mark, ok bool) {
	if len(data) != markSize {
		return mark{}, false
	}
	rest := data[len(headMagic):]
	m.last.seq = binary.BigEndian.Uint64(rest)
	m.last.mac = mac(rest[8 : 8+sha256.Size])
	m.synced = binary.BigEndian.Uint64(rest[8+sha256.Size:])
	return m, hmac.Equal(m.encode(k), data)
}
