package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"
)

var updateVectors = flag.Bool("update", false, "rewrite testdata/vectors.json")

// vectors are exact bytes for readers of the format in other languages. All but
// the keyring are in hex.
type vectors struct {
	KEK        string         `json:"kek"`
	StoreID    string         `json:"storeId"`
	KeyID      string         `json:"keyId"`
	WrapNonce  string         `json:"wrapNonce"`
	RootKeys   *rootKeys      `json:"rootKeys"`
	Keyring    string         `json:"keyring"` // the whole file
	Records    []recordVector `json:"records"`
	EmptyStore string         `json:"rootOfNothing"` // content of the root record
	Root       string         `json:"rootOfRecords"` // of records below that it accounts for
}

type recordVector struct {
	Kind      byte   `json:"kind"`
	ID        string `json:"id"` // as text
	Revision  uint64 `json:"revision"`
	Term      uint32 `json:"term"`
	Salt      string `json:"salt"`
	Nonce     string `json:"nonce"`
	Plaintext string `json:"plaintext"` // in hex
	Key       string `json:"key"`       // Badger's
	Value     string `json:"value"`
	Mark      string `json:"mark"`
}

func bytesFrom(start byte, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = start + byte(i)
	}
	return b
}

// makeVectors also returns the sealer and the key that they were made with, which
// are the same in each process, as fuzzing needs them.
func makeVectors(t testing.TB) (vectors, *sealer, Key) {
	t.Helper()
	kek, err := ParseKey(base64.StdEncoding.EncodeToString(bytesFrom(0, KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	keys := &rootKeys{
		Terms: []term{
			{Number: 1, Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Key: bytesFrom(0x20, 32)},
			{Number: 2, Created: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Key: bytesFrom(0x40, 32)},
		},
		Active: 2, Badger: bytesFrom(0x60, 32), Index: bytesFrom(0x80, 32), Root: bytesFrom(0xa0, 32),
		Audit: bytesFrom(0xc0, 32), Keyring: bytesFrom(0xe0, 32),
	}
	ring := &keyring{Format: keyringFormat, Version: keyringVersion, StoreID: hex.EncodeToString(bytesFrom(0xf0, 16)), Slots: map[string][]byte{}}
	wrapNonce := bytesFrom(0x11, nonceSize)
	if err := ring.addSlot(kek, keys, wrapNonce); err != nil {
		t.Fatal(err)
	}
	file, err := ring.encode()
	if err != nil {
		t.Fatal(err)
	}
	keyID, err := ring.keyID(kek)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(ring, keys)
	if err != nil {
		t.Fatal(err)
	}
	v := vectors{
		KEK: hex.EncodeToString(bytesFrom(0, KeySize)), StoreID: ring.StoreID, KeyID: keyID,
		WrapNonce: hex.EncodeToString(wrapNonce), RootKeys: keys, Keyring: string(file),
	}
	var account root
	v.EmptyStore = hex.EncodeToString(account.encode())
	sealed := func(r record, plaintext []byte) record {
		r.salt, r.nonce = [saltSize]byte(bytesFrom(byte(0x30+len(v.Records)), saltSize)), [nonceSize]byte(bytesFrom(0x50, nonceSize))
		r, err := s.sealAs(r, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		mark := s.mark(&r)
		v.Records = append(v.Records, recordVector{
			Kind: byte(r.place.kind), ID: r.place.id, Revision: r.revision, Term: r.term,
			Salt: hex.EncodeToString(r.salt[:]), Nonce: hex.EncodeToString(r.nonce[:]), Plaintext: hex.EncodeToString(plaintext),
			Key: hex.EncodeToString(s.key(r.place)), Value: hex.EncodeToString(r.encode()), Mark: hex.EncodeToString(mark[:]),
		})
		if slices.Contains(recordKinds, r.place.kind) && r.place.kind != kindBody {
			account.add(mark)
		}
		return r
	}
	body := sealed(record{term: 2, place: bodyAt("id"), revision: 3}, []byte(`{"config":{"apiKey":"secret"},"metadata":{}}`))
	tag := body.tag()
	sealed(record{term: 2, place: summaryAt("id"), revision: 3}, append(tag[:], `{"name":"n","authType":"apiKey","isActive":true,"status":"active","generation":1}`...))
	sealed(record{term: 1, place: place{kindApp, "google"}, revision: 1}, []byte(`{"client":{"id":"c"},"inputs":null}`))
	sealed(record{term: 1, place: authorizationAt("state"), revision: 1}, nil)
	sealed(record{term: 2, place: place{kind: kindRoot}, revision: 4}, account.encode())
	sealed(record{term: standingTerm, place: place{kind: kindHead}, revision: 4}, nil)
	writes := appendWrite(nil, write{s.key(bodyAt("id")), body.encode()})
	sealed(record{term: standingTerm, place: place{kind: kindJournal}, revision: 5}, appendWrite(writes, write{key: s.key(place{kindApp, "google"})}))
	v.Root = hex.EncodeToString(account.encode())
	return v, s, kek
}

// The format does not change without its version.
func TestVectors(t *testing.T) {
	const path = "testdata/vectors.json"
	v, _, _ := makeVectors(t)
	made, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *updateVectors {
		if err := os.WriteFile(path, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(published, made) {
		t.Errorf("%s does not hold what the code writes:\n%s", path, made)
	}
}
