package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	keyringFile    = "keyring"
	keyringFormat  = "invectd keyring"
	keyringVersion = 1
)

// ErrWrongKey says that the key given to [Open] does not open the keyring.
var ErrWrongKey = errors.New("the encryption key is not the one that this store was made with")

// A keyring is the file that holds the store's own keys, sealed once for every
// operator's key that may open them. Changing an operator's key rewrites this
// file and no record.
type keyring struct {
	Format  string            `json:"format"`
	Version int               `json:"version"`
	StoreID string            `json:"storeId"` // 16 random bytes in hex
	Slots   map[string][]byte `json:"slots"`   // key id in hex → nonce, ciphertext and tag
	MAC     []byte            `json:"mac"`     // HMAC-SHA256 of the file with an empty mac
}

// rootKeys are what a slot seals. All but the terms are 32 bytes.
type rootKeys struct {
	Terms   []term `json:"terms"`
	Active  uint32 `json:"active"` // the term that new records are sealed under
	Badger  []byte `json:"badgerKey"`
	Index   []byte `json:"indexKey"`
	Root    []byte `json:"rootKey"`
	Audit   []byte `json:"auditKey"`
	Keyring []byte `json:"keyringKey"`
}

// A term is a data encryption key and its number. Those that are not active
// only open what was sealed before.
type term struct {
	Number  uint32    `json:"term"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

// newKeyring makes fresh keys and a keyring that kek opens.
func newKeyring(kek Key, now time.Time) (*keyring, *rootKeys, error) {
	var id [16]byte
	rand.Read(id[:])
	keys := &rootKeys{
		Terms:  []term{{Number: 1, Created: now.UTC().Truncate(time.Second), Key: random(32)}},
		Active: 1, Badger: random(32), Index: random(32), Root: random(32), Audit: random(32), Keyring: random(32),
	}
	k := &keyring{Format: keyringFormat, Version: keyringVersion, StoreID: hex.EncodeToString(id[:]), Slots: map[string][]byte{}}
	return k, keys, k.addSlot(kek, keys, random(nonceSize))
}

// addSlot seals keys for one more operator's key.
func (k *keyring) addSlot(kek Key, keys *rootKeys, nonce []byte) error {
	id, err := k.keyID(kek)
	if err != nil {
		return err
	}
	aead, err := k.wrapping(kek)
	if err != nil {
		return err
	}
	plaintext, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("encoding the keys: %w", err)
	}
	k.Slots[id] = aead.Seal(bytes.Clone(nonce), nonce, plaintext, k.slotData(id))
	k.MAC, err = k.mac(keys)
	return err
}

// unlock returns the keys, or an error wrapping [ErrWrongKey] where no slot is
// meant for kek.
func (k *keyring) unlock(kek Key) (*rootKeys, error) {
	id, err := k.keyID(kek)
	if err != nil {
		return nil, err
	}
	sealed, ok := k.Slots[id]
	if !ok {
		return nil, fmt.Errorf("%w (its id is %s); give the right one, nothing was changed", ErrWrongKey, id)
	}
	aead, err := k.wrapping(kek)
	if err != nil {
		return nil, err
	}
	if len(sealed) < nonceSize {
		return nil, errors.New("its slot is cut short")
	}
	plaintext, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], k.slotData(id))
	if err != nil {
		return nil, errors.New("its slot was altered")
	}
	keys := new(rootKeys)
	if err := json.Unmarshal(plaintext, keys); err != nil || !keys.complete() {
		return nil, errors.New("its slot does not hold the keys of this version")
	}
	if mac, err := k.mac(keys); err != nil || !hmac.Equal(mac, k.MAC) {
		return nil, errors.New("it was altered")
	}
	return keys, nil
}

// keyID names an operator's key within this store. It may be shown.
func (k *keyring) keyID(kek Key) (string, error) {
	id, err := k.derive(kek, "invectd/kek-id/v1", 8)
	return hex.EncodeToString(id), err
}

func (k *keyring) derive(kek Key, info string, size int) ([]byte, error) {
	if kek.reveal == nil {
		return nil, fmt.Errorf("no encryption key was given; %s", newKeyHint)
	}
	salt, err := hex.DecodeString(k.StoreID)
	if err != nil || len(salt) != 16 {
		return nil, errors.New("its store id is not 16 bytes in hex")
	}
	return hkdf.Key(sha256.New, kek.reveal(), salt, info, size)
}

// mac authenticates the whole file, so that a slot that is not in use today is
// not found damaged on the day it is needed.
func (k *keyring) mac(keys *rootKeys) ([]byte, error) {
	bare := *k
	bare.MAC = nil
	encoded, err := bare.encode()
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, keys.Keyring)
	h.Write(encoded)
	return h.Sum(nil), nil
}

func (k *keyring) encode() ([]byte, error) {
	encoded, err := json.MarshalIndent(k, "", "  ")
	return append(encoded, '\n'), err
}

// complete reports whether all keys are there, each of its length.
func (r *rootKeys) complete() bool {
	for _, key := range [][]byte{r.Badger, r.Index, r.Root, r.Audit, r.Keyring} {
		if len(key) != 32 {
			return false
		}
	}
	seen := map[uint32]bool{}
	for _, t := range r.Terms {
		if len(t.Key) != 32 || t.Number == 0 || seen[t.Number] {
			return false
		}
		seen[t.Number] = true
	}
	return seen[r.Active]
}

// standingTerm is the number under which nothing is rotated: its key is derived
// from the keyring's.
const standingTerm = 0

// dataKey returns the data encryption key of a term, nil if it is unknown.
func (r *rootKeys) dataKey(number uint32) []byte {
	if number == standingTerm {
		h := hmac.New(sha256.New, r.Keyring)
		h.Write([]byte("invectd/standing/v1"))
		return h.Sum(nil)
	}
	for _, t := range r.Terms {
		if t.Number == number {
			return t.Key
		}
	}
	return nil
}

// parseKeyring reads a keyring file. There is one way to write each keyring, so
// that a changed byte is noticed wherever it is.
func parseKeyring(data []byte) (*keyring, error) {
	k := new(keyring)
	if err := json.Unmarshal(data, k); err != nil || k.Format != keyringFormat {
		return nil, errors.New("it is no keyring")
	}
	if k.Version != keyringVersion {
		return nil, fmt.Errorf("it has version %d and this invectd knows only %d", k.Version, keyringVersion)
	}
	if canonical, err := k.encode(); err != nil || !bytes.Equal(canonical, data) {
		return nil, errors.New("it is not as invectd writes it")
	}
	return k, nil
}

// writeKeyring puts the file in place in one step that survives a power cut.
func writeKeyring(dir string, k *keyring) error {
	encoded, err := k.encode()
	if err != nil {
		return err
	}
	temporary := filepath.Join(dir, keyringFile+".new")
	if err := writeSynced(temporary, encoded); err != nil {
		return fmt.Errorf("writing the keyring: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, keyringFile)); err != nil {
		return fmt.Errorf("writing the keyring: %w", err)
	}
	return syncFolder(dir)
}

func random(size int) []byte {
	b := make([]byte, size)
	rand.Read(b)
	return b
}
