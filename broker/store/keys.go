package store

import (
	"crypto/hmac"
	"crypto/sha256"
)

// Badger's keys are the kind, one byte, and 20 bytes of
// HMAC-SHA256(indexKey, kind | id): all records of a kind lie together, and no
// name can be read from them or guessed.
const keySize = 1 + 20

func (s *sealer) key(at place) []byte {
	h := hmac.New(sha256.New, s.keys().Index)
	h.Write([]byte{byte(at.kind)})
	h.Write([]byte(at.id))
	return h.Sum([]byte{byte(at.kind)})[:keySize]
}
