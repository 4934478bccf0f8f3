package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// A root accounts for every record but the bodies, which their summaries account
// for. It is sealed and rewritten in every commit, so a record that is dropped,
// put back or added behind the store's back is noticed.
type root struct {
	commits uint64 // the revision of the root record
	count   uint64
	sum     [sha256.Size]byte // XOR of the marks of all records
}

// mark stands for one record in the root's sum. It holds the tag, since a
// definition may be deleted and made again with the revision it had before.
func (s *sealer) mark(r *record) [sha256.Size]byte {
	h := hmac.New(sha256.New, s.keys().Root)
	b := append(make([]byte, 0, 128), byte(r.place.kind))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.place.id)))
	b = append(b, r.place.id...)
	b = binary.BigEndian.AppendUint64(b, r.revision)
	tag := r.tag()
	h.Write(append(b, tag[:]...))
	return [sha256.Size]byte(h.Sum(nil))
}

func (t *root) add(mark [sha256.Size]byte) {
	t.count++
	t.toggle(mark)
}

func (t *root) remove(mark [sha256.Size]byte) {
	t.count--
	t.toggle(mark)
}

func (t *root) toggle(mark [sha256.Size]byte) {
	for i := range t.sum {
		t.sum[i] ^= mark[i]
	}
}

func (t *root) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, t.count), t.sum[:]...)
}

func decodeRoot(r *record, plaintext []byte) (root, error) {
	if len(plaintext) != 8+sha256.Size {
		return root{}, errors.New("has another length than a root record")
	}
	return root{
		commits: r.revision,
		count:   binary.BigEndian.Uint64(plaintext),
		sum:     [sha256.Size]byte(plaintext[8:]),
	}, nil
}
