package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// twoSlots returns a keyring that the keys 1 and 2 open.
func twoSlots(t testing.TB) (*keyring, *rootKeys, []byte) {
	t.Helper()
	ring, keys, err := newKeyring(testKey(t, 1), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.addSlot(testKey(t, 2), keys, random(nonceSize)); err != nil {
		t.Fatal(err)
	}
	encoded, err := ring.encode()
	if err != nil {
		t.Fatal(err)
	}
	return ring, keys, encoded
}

func unlockBytes(data []byte, kek Key) (*rootKeys, error) {
	ring, err := parseKeyring(data)
	if err != nil {
		return nil, err
	}
	return ring.unlock(kek)
}

func TestKeyringSlots(t *testing.T) {
	_, keys, encoded := twoSlots(t)
	for _, fill := range []byte{1, 2} {
		got, err := unlockBytes(encoded, testKey(t, fill))
		if err != nil {
			t.Fatalf("unlock with key %d: %v", fill, err)
		}
		if !bytes.Equal(got.Badger, keys.Badger) || !bytes.Equal(got.dataKey(1), keys.dataKey(1)) {
			t.Errorf("key %d opens other keys", fill)
		}
	}
	if _, err := unlockBytes(encoded, testKey(t, 3)); !errors.Is(err, ErrWrongKey) {
		t.Errorf("unlock with a third key = %v, want ErrWrongKey", err)
	}
	if _, err := unlockBytes(encoded, Key{}); err == nil {
		t.Error("unlock with the zero Key succeeded, want an error")
	}
}

func TestKeyringRefusesEveryChange(t *testing.T) {
	_, _, encoded := twoSlots(t)
	refused := func(what string, data []byte) {
		t.Helper()
		if _, err := unlockBytes(data, testKey(t, 1)); err == nil {
			t.Errorf("a keyring %s was accepted", what)
		}
	}
	for i := range encoded {
		for bit := range 8 {
			data := bytes.Clone(encoded)
			data[i] ^= 1 << bit
			refused("with a flipped bit", data)
		}
		refused("cut short", encoded[:i])
	}
	refused("with a byte more", append(bytes.Clone(encoded), '\n'))
	refused("of a later version", bytes.Replace(encoded, []byte(`"version": 1`), []byte(`"version": 2`), 1))
}

func TestKeyringOfALaterVersionSaysSo(t *testing.T) {
	_, _, encoded := twoSlots(t)
	_, err := unlockBytes(bytes.Replace(encoded, []byte(`"version": 1`), []byte(`"version": 9`), 1), testKey(t, 1))
	if err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("unlock = %v, want an error that names version 9", err)
	}
}

// A slot is bound to its store: put into another keyring it opens nothing.
func TestKeyringSlotDoesNotMove(t *testing.T) {
	one, keys, _ := twoSlots(t)
	two, _, _ := twoSlots(t)
	idOne, _ := one.keyID(testKey(t, 1))
	idTwo, _ := two.keyID(testKey(t, 1))
	two.Slots[idTwo] = one.Slots[idOne]
	two.MAC, _ = two.mac(keys)
	if _, err := two.unlock(testKey(t, 1)); err == nil {
		t.Error("a slot of another keyring was accepted")
	}
}

func TestKeyringNeedsAllKeys(t *testing.T) {
	for name, spoil := range map[string]func(*rootKeys){
		"no badger key":    func(k *rootKeys) { k.Badger = nil },
		"short index key":  func(k *rootKeys) { k.Index = k.Index[:31] },
		"no active term":   func(k *rootKeys) { k.Active = 2 },
		"a term twice":     func(k *rootKeys) { k.Terms = append(k.Terms, k.Terms[0]) },
		"a short data key": func(k *rootKeys) { k.Terms[0].Key = []byte{1} },
	} {
		ring, keys, _ := twoSlots(t)
		spoil(keys)
		if err := ring.addSlot(testKey(t, 1), keys, random(nonceSize)); err != nil {
			t.Fatal(err)
		}
		if _, err := ring.unlock(testKey(t, 1)); err == nil {
			t.Errorf("a keyring with %s was accepted", name)
		}
	}
}

// Whatever a crash leaves of a keyring that was being written does not count.
func TestKeyringWriteIsOneStep(t *testing.T) {
	dir := t.TempDir()
	closeStore(t, open(t, dir))
	if err := os.WriteFile(filepath.Join(dir, keyringFile+".new"), []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	closeStore(t, open(t, dir))
	info, err := os.Stat(filepath.Join(dir, keyringFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keyring: mode %v, %v, want 0600", info.Mode(), err)
	}
}

func FuzzKeyring(f *testing.F) {
	v, _, key := makeVectors(f)
	encoded := []byte(v.Keyring)
	f.Add(encoded)
	f.Add([]byte(`{"format":"invectd keyring","version":1}`))
	f.Add([]byte("{\n  \"format\": \"invectd keyring\",\n  \"version\": 1,\n  \"storeId\": \"00\",\n  \"slots\": {},\n  \"mac\": null\n}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ring, err := parseKeyring(data)
		if err != nil {
			if ring != nil {
				t.Error("parseKeyring returned a keyring beside an error")
			}
			return
		}
		again, err := ring.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("encode(parse(%q)) = %q, %v", data, again, err)
		}
		if keys, err := ring.unlock(key); err == nil && !bytes.Equal(data, encoded) {
			t.Errorf("a keyring that was not written opened: %v", keys.Active)
		}
	})
}
