package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A past is what the journals hold.
type past struct {
	first  uint64            // number of the first commit
	last   uint64            // number of the last commit; 0 where there is none
	values map[string][]byte // what each key was set to last; nil where it was removed
	size   int64             // of the whole entries of the present journal
	broken bool              // something follows them
}

// readPast reads the former and the present journal. It trusts nothing that does
// not open, and nothing before a gap.
func readPast(dir string, s *sealer) (*past, error) {
	p := &past{values: map[string][]byte{}}
	for _, name := range []string{formerJournal, journalFile} {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			p.size, p.broken = 0, false
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		p.read(f, s)
		f.Close()
	}
	return p, nil
}

// follows reports whether it goes on from that commit without a gap.
func (p *past) follows(commits uint64) bool { return p.last > commits && p.first <= commits+1 }

// read takes over the entries of one file, up to the first that is not whole.
func (p *past) read(r io.Reader, s *sealer) {
	p.size, p.broken = 0, false
	in := bufio.NewReaderSize(r, 256<<10)
	for {
		entry, err := nextEntry(in)
		if err == io.EOF {
			return
		}
		if err != nil || !p.take(entry, s) {
			p.broken = true
			return
		}
		p.size += int64(4 + len(entry))
	}
}

// take takes over one entry, and reports whether it is one.
func (p *past) take(entry []byte, s *sealer) bool {
	r, err := decodeRecord(entry)
	if err != nil || r.place != (place{kind: kindJournal}) {
		return false
	}
	writes, err := s.open(&r)
	if err != nil {
		return false
	}
	var all []write
	for len(writes) > 0 {
		var w write
		if w, writes, err = takeWrite(writes); err != nil {
			return false
		}
		all = append(all, w)
	}
	if r.revision != p.last+1 {
		p.first, p.values = r.revision, map[string][]byte{}
	}
	for _, w := range all {
		p.values[string(w.key)] = w.value
	}
	p.last = r.revision
	return true
}

// appendWrite appends a write as the journal holds it: key, length, value. A
// removal has no value, which no record is.
func appendWrite(b []byte, w write) []byte {
	b = append(b, w.key...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(w.value)))
	return append(b, w.value...)
}

func takeWrite(b []byte) (w write, rest []byte, err error) {
	if len(b) < keySize+4 {
		return write{}, nil, errAltered
	}
	size := binary.BigEndian.Uint32(b[keySize:])
	key, b := b[:keySize], b[keySize+4:]
	if uint64(size) > uint64(len(b)) {
		return write{}, nil, errAltered
	}
	if size == 0 {
		return write{key: key}, b, nil
	}
	return write{key, b[:size]}, b[size:], nil
}

// nextEntry returns the next entry of a journal, [io.EOF] where nothing follows,
// and another error where what follows is no whole entry.
func nextEntry(from io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err // io.ErrUnexpectedEOF in the middle
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxEntry {
		return nil, errAltered
	}
	entry := make([]byte, size)
	if _, err := io.ReadFull(from, entry); err != nil {
		return nil, errAltered
	}
	return entry, nil
}
