package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"
)

// FuzzReadBackup: no backup makes reading it panic, and one that is taken has all
// that its root accounts for. Where sealed, the input is what a chunk holds.
func FuzzReadBackup(f *testing.F) {
	v, s, kek := makeVectors(f)
	value := func(n int) []byte {
		encoded, err := hex.DecodeString(v.Records[n].Value)
		if err != nil {
			f.Fatal(err)
		}
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(encoded))), encoded...)
	}
	chunk := bytes.Join([][]byte{value(4), value(1), value(3), value(2), value(0)}, nil) // by kind
	header := append([]byte(backupMagic), bytesFrom(1, saltSize)...)
	header = append(binary.BigEndian.AppendUint32(header, uint32(len(v.Keyring))), v.Keyring...)
	seal := func(t testing.TB, chunk []byte) []byte {
		sealing, err := newArchive(s.keys(), header)
		if err != nil {
			t.Fatal(err)
		}
		out := bytes.NewBuffer(bytes.Clone(header))
		if err := sealing.write(out, chunk, lastChunk); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	whole := seal(f, chunk)
	if b, err := readBackup(bytes.NewReader(whole), kek); err != nil || b.root.count != 3 {
		f.Fatalf("readBackup of a whole one = %+v, %v, want 3 records", b, err)
	}
	f.Add(false, whole)
	f.Add(true, chunk)
	f.Add(true, chunk[:len(chunk)-1])
	f.Add(false, header)
	f.Fuzz(func(t *testing.T, sealed bool, data []byte) {
		if sealed {
			data = seal(t, data)
		}
		b, err := readBackup(bytes.NewReader(data), kek)
		if (err == nil) != (b != nil) {
			t.Fatalf("readBackup = %v, %v", b, err)
		}
		if err != nil {
			return
		}
		found := root{}
		err = b.each(bytes.NewReader(data), kek, func(r record) error {
			if slices.Contains(recordKinds, r.place.kind) && r.place.kind != kindBody {
				found.add(s.mark(&r))
			}
			return nil
		})
		if err != nil || found.sum != b.root.sum || found.count != b.root.count {
			t.Errorf("a backup that was taken holds %d records, %v, and its root accounts for %d", found.count, err, b.root.count)
		}
	})
}

// FuzzReadJournal: no journal makes reading it panic; only what was sealed is
// taken, and what is taken is written the same again. Where sealed, the input is
// what an entry holds.
func FuzzReadJournal(f *testing.F) {
	v, s, _ := makeVectors(f)
	last := v.Records[len(v.Records)-1]
	entry, err := hex.DecodeString(last.Value)
	if err != nil {
		f.Fatal(err)
	}
	writes, err := hex.DecodeString(last.Plaintext)
	if err != nil {
		f.Fatal(err)
	}
	whole := append(binary.BigEndian.AppendUint32(nil, uint32(len(entry))), entry...)
	f.Add(false, whole)
	f.Add(false, append(bytes.Clone(whole), whole[:20]...))
	f.Add(true, writes)
	f.Add(true, writes[:len(writes)-1])
	f.Fuzz(func(t *testing.T, sealed bool, data []byte) {
		if sealed && len(data) < maxEntry/2 {
			r, err := s.seal(place{kind: kindJournal}, 7, data)
			if err != nil {
				t.Fatal(err)
			}
			encoded := r.encode()
			data = append(binary.BigEndian.AppendUint32(nil, uint32(len(encoded))), encoded...)
		}
		p := &past{values: map[string][]byte{}}
		p.read(bytes.NewReader(data), s)
		if p.size > int64(len(data)) || p.broken != (p.size < int64(len(data))) {
			t.Errorf("of %d bytes %d are whole entries, broken = %t", len(data), p.size, p.broken)
		}
		if p.size == 0 && (p.last > 0 || len(p.values) > 0) {
			t.Errorf("nothing was whole, and %d values at commit %d were taken", len(p.values), p.last)
		}
		var again []byte
		for key, value := range p.values {
			again = appendWrite(again, write{[]byte(key), value})
		}
		for rest := again; len(rest) > 0; {
			var w write
			var err error
			if w, rest, err = takeWrite(rest); err != nil || !bytes.Equal(p.values[string(w.key)], w.value) {
				t.Errorf("a write that was taken reads %q, %v when written again", w.value, err)
			}
		}
	})
}
