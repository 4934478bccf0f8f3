package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"
)

const nonceSize = 12

// wrapping returns the cipher that seals the slot of an operator's key.
func (k *keyring) wrapping(kek Key) (cipher.AEAD, error) {
	key, err := k.derive(kek, "invectd/kek-wrap/v1", 32)
	if err != nil {
		return nil, err
	}
	return newGCM(key)
}

// slotData is what a slot is bound to: the version, the store and the key id.
func (k *keyring) slotData(keyID string) []byte {
	data := append([]byte(keyringFormat), keyringVersion)
	for _, field := range []string{k.StoreID, keyID} {
		decoded, _ := hex.DecodeString(field) // both were made or checked by keyID
		data = append(data, decoded...)
	}
	return data
}

// A sealer seals and opens the records of one store. Its keys lie behind a
// closure so that nothing that prints a struct around it prints them.
type sealer struct {
	storeID [16]byte
	keys    func() *rootKeys
	replace func(*rootKeys) // by ones that open all that the former did
}

func newSealer(k *keyring, keys *rootKeys) (*sealer, error) {
	id, err := hex.DecodeString(k.StoreID)
	if err != nil || len(id) != 16 {
		return nil, fmt.Errorf("the store id is not 16 bytes in hex")
	}
	var current atomic.Pointer[rootKeys]
	current.Store(keys)
	return &sealer{storeID: [16]byte(id), keys: current.Load, replace: current.Store}, nil
}

// seal returns the record that holds plaintext. A key of its own for every
// write leaves no nonce to run out of or to repeat, even where a virtual machine
// is set back to a snapshot.
func (s *sealer) seal(at place, revision uint64, plaintext []byte) (record, error) {
	r := record{term: s.termFor(at.kind), place: at, revision: revision}
	copy(r.salt[:], random(saltSize))
	copy(r.nonce[:], random(nonceSize))
	r, err := s.sealAs(r, plaintext)
	if err != nil {
		return record{}, err
	}
	if size := headerSize + len(r.place.id) + len(r.sealed); size > maxRecordSize && at.kind != kindJournal {
		return record{}, fmt.Errorf("a record of %d bytes is larger than the %d that can be stored", size, maxRecordSize)
	}
	return r, nil
}

// termFor returns the term that a new record is sealed under. What lies beside
// the records, and holds no secret that is not sealed once more, is to be read
// with the keyring of any backup.
func (s *sealer) termFor(k kind) uint32 {
	if k == kindHead || k == kindJournal {
		return standingTerm
	}
	return s.keys().Active
}

// sealAs seals under the term, salt and nonce that r has already.
func (s *sealer) sealAs(r record, plaintext []byte) (record, error) {
	if len(r.place.id) > maxIDSize {
		return record{}, fmt.Errorf("an id of %d bytes is too long to be stored", len(r.place.id))
	}
	aead, err := s.recordCipher(&r)
	if err != nil {
		return record{}, err
	}
	r.sealed = aead.Seal(nil, r.nonce[:], plaintext, s.boundTo(&r))
	return r, nil
}

// open returns what a record holds.
func (s *sealer) open(r *record) ([]byte, error) {
	aead, err := s.recordCipher(r)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, r.nonce[:], r.sealed, s.boundTo(r))
	if err != nil {
		return nil, errAltered
	}
	return plaintext, nil
}

// recordCipher derives the key of one record from that of its term.
func (s *sealer) recordCipher(r *record) (cipher.AEAD, error) {
	dek := s.keys().dataKey(r.term)
	if dek == nil {
		return nil, fmt.Errorf("is sealed under term %d, which the keyring lacks", r.term)
	}
	key, err := hkdf.Expand(sha256.New, dek, "invectd/record/v1"+string(r.salt[:]), 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of a record: %w", err)
	}
	return newGCM(key)
}

// boundTo is the additional data: the store's id and all of the record in clear.
func (s *sealer) boundTo(r *record) []byte {
	return r.appendHeader(append(make([]byte, 0, 16+headerSize+len(r.place.id)), s.storeID[:]...))
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
