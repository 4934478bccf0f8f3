package store

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

func testSealer(t testing.TB) *sealer {
	t.Helper()
	ring, keys, err := newKeyring(testKey(t, 1), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(ring, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *sealer, at place, revision uint64, plaintext string) record {
	t.Helper()
	r, err := s.seal(at, revision, []byte(plaintext))
	if err != nil {
		t.Fatalf("seal: %v", err)
	}
	return r
}

// openBytes is what a reader does with what it finds.
func openBytes(s *sealer, data []byte) (record, string, error) {
	r, err := decodeRecord(data)
	if err != nil {
		return record{}, "", err
	}
	plaintext, err := s.open(&r)
	return r, string(plaintext), err
}

func TestSealAndOpen(t *testing.T) {
	s := testSealer(t)
	for _, plaintext := range []string{"", "x", strings.Repeat("long ", 1000)} {
		at := place{kindBody, "id-é"}
		sealed := seal(t, s, at, 1<<40, plaintext)
		r, got, err := openBytes(s, sealed.encode())
		if err != nil || got != plaintext || r.place != at || r.revision != 1<<40 {
			t.Errorf("open = %v %d %q, %v, want %v %d %q", r.place, r.revision, got, err, at, 1<<40, plaintext)
		}
	}
	one, two := seal(t, s, place{kindBody, "a"}, 1, "same"), seal(t, s, place{kindBody, "a"}, 1, "same")
	if bytes.Equal(one.sealed, two.sealed) || one.salt == two.salt {
		t.Error("sealing the same twice gives the same record")
	}
}

func TestOpenRefusesEveryChange(t *testing.T) {
	s := testSealer(t)
	sealed := seal(t, s, place{kindBody, "id"}, 3, "secret")
	data := sealed.encode()
	for i := range data {
		for bit := range 8 {
			changed := bytes.Clone(data)
			changed[i] ^= 1 << bit
			if _, _, err := openBytes(s, changed); err == nil {
				t.Errorf("a record with bit %d of byte %d flipped was accepted", bit, i)
			}
		}
		if _, _, err := openBytes(s, data[:i]); err == nil {
			t.Errorf("a record cut to %d bytes was accepted", i)
		}
	}
	if _, _, err := openBytes(s, append(bytes.Clone(data), 0)); err == nil {
		t.Error("a record with a byte more was accepted")
	}
	if _, _, err := openBytes(testSealer(t), data); err == nil {
		t.Error("a record of another store was accepted")
	}
}

// Records sealed with the same keys under another store id do not open either.
func TestOpenChecksTheStoreID(t *testing.T) {
	s := testSealer(t)
	r := seal(t, s, place{kindBody, "id"}, 3, "secret")
	other := &sealer{storeID: [16]byte{1}, keys: s.keys}
	if _, err := other.open(&r); err == nil {
		t.Error("a record of another store id was accepted")
	}
}

func TestOldTermsDecrypt(t *testing.T) {
	s := testSealer(t)
	r := seal(t, s, place{kindBody, "id"}, 1, "old")
	keys := *s.keys()
	keys.Terms, keys.Active = append(keys.Terms, term{Number: 2, Key: random(32)}), 2
	rotated := &sealer{storeID: s.storeID, keys: func() *rootKeys { return &keys }}
	if plaintext, err := rotated.open(&r); err != nil || string(plaintext) != "old" {
		t.Errorf("open under an older term = %q, %v", plaintext, err)
	}
	if r := seal(t, rotated, place{kindBody, "id"}, 1, "new"); r.term != 2 {
		t.Errorf("a new record has term %d, want 2", r.term)
	}
}

func TestSealRefusesWhatCannotBeStored(t *testing.T) {
	s := testSealer(t)
	if _, err := s.seal(place{kindBody, "id"}, 1, make([]byte, maxRecordSize)); err == nil {
		t.Error("a record that is too large was sealed")
	}
	if _, err := s.seal(place{kindBody, strings.Repeat("x", maxIDSize+1)}, 1, nil); err == nil {
		t.Error("an id that is too long was sealed")
	}
}

func FuzzOpenRecord(f *testing.F) {
	v, s, _ := makeVectors(f)
	written := map[string]bool{}
	for _, r := range v.Records {
		value, err := hex.DecodeString(r.Value)
		if err != nil {
			f.Fatal(err)
		}
		written[r.Value] = true
		f.Add(value)
	}
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			if r.place != (place{}) || r.sealed != nil {
				t.Error("decodeRecord returned a record beside an error")
			}
			return
		}
		if again := r.encode(); !bytes.Equal(again, data) {
			t.Errorf("encode(decode(%x)) = %x", data, again)
		}
		if _, err := s.open(&r); err == nil && !written[hex.EncodeToString(data)] {
			t.Errorf("a record that was not written opened: %x", data)
		}
	})
}
