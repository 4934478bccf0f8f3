package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	recordVersion = 1
	saltSize      = 24
	tagSize       = 16
	headerSize    = 1 + 4 + 1 + 2 + 8 + saltSize + nonceSize // without the id
	maxIDSize     = 1024
	// maxRecordSize keeps a batch below what one transaction of Badger takes,
	// and every value within its tree: its value log only logs a failed sync.
	maxRecordSize = 512 << 10
)

// What may be wrong with one record. [DamagedError] says with which.
var (
	errLost    = errors.New("is lost")
	errAltered = errors.New("is not what was written")
	errMoved   = errors.New("is another record, put in its place")
	errAstray  = errors.New("lies where another record belongs")
	errOlder   = errors.New("is not the last that was written")
)

// A kind tells what a record holds. The numbers are on disk.
type kind byte

const (
	kindRoot          kind = 1  // accounts for all others
	kindSummary       kind = 2  // of a credential: the tag of its body, then its summary
	kindAuthorization kind = 3  // in flight
	kindDefinition    kind = 4  // that came over the API
	kindApp           kind = 5  // client registered with a provider
	kindBody          kind = 6  // of a credential: all but its summary
	kindHead          kind = 7  // the number of the last commit, in a file of its own
	kindKept          kind = 8  // last good definition of a file, by the definition's id
	kindRevocation    kind = 9  // that a provider has not confirmed
	kindJournal       kind = 10 // the writes of one commit, in the journal
	kindGrant         kind = 11
	kindAuditMark     kind = 12 // the last line of the audit log that the store was told of
	kindPluginTrust   kind = 13 // the operator's word for a plugin
)

// recordKinds are the kinds of records beside the root, in order. The root accounts
// for all of them but the bodies.
var recordKinds = []kind{
	kindSummary, kindAuthorization, kindDefinition, kindApp, kindBody, kindKept, kindRevocation, kindGrant, kindAuditMark, kindPluginTrust,
}

func (k kind) String() string {
	switch k {
	case kindRoot:
		return "root record"
	case kindSummary:
		return "summary of credential"
	case kindAuthorization:
		return "authorization"
	case kindDefinition:
		return "definition"
	case kindApp:
		return "app"
	case kindBody:
		return "body of credential"
	case kindPluginTrust:
		return "trust in plugin"
	case kindHead:
		return "head"
	case kindKept:
		return "kept definition"
	case kindRevocation:
		return "revocation"
	case kindJournal:
		return "journal"
	case kindGrant:
		return "grant"
	case kindAuditMark:
		return "mark of the audit log"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// A place is where a record belongs: it is found under no other kind and id.
type place struct {
	kind kind
	id   string
}

func (p place) String() string { return fmt.Sprintf("%s %q", p.kind, p.id) }

// A record is the envelope of one sealed value, see FORMAT.md.
type record struct {
	term     uint32
	place    place
	revision uint64
	salt     [saltSize]byte
	nonce    [nonceSize]byte
	sealed   []byte // ciphertext and tag
	under    []byte // Badger's key, where it was found by an iteration
}

// tag returns the authenticator, which no two records share.
func (r *record) tag() [tagSize]byte { return [tagSize]byte(r.sealed[len(r.sealed)-tagSize:]) }

// appendHeader appends all that lies in clear.
func (r *record) appendHeader(b []byte) []byte {
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint32(b, r.term)
	b = append(b, byte(r.place.kind))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.place.id)))
	b = append(b, r.place.id...)
	b = binary.BigEndian.AppendUint64(b, r.revision)
	b = append(b, r.salt[:]...)
	return append(b, r.nonce[:]...)
}

func (r *record) encode() []byte {
	b := make([]byte, 0, headerSize+len(r.place.id)+len(r.sealed))
	return append(r.appendHeader(b), r.sealed...)
}

// decodeRecord takes an envelope apart without opening it. What it accepts,
// encode gives back byte for byte. The record keeps no reference to b.
func decodeRecord(b []byte) (record, error) {
	switch {
	case len(b) == 0:
		return record{}, errLost // as Badger returns it for a damaged log
	case b[0] != recordVersion:
		return record{}, fmt.Errorf("has version %d and this invectd knows only %d", b[0], recordVersion)
	case len(b) < headerSize+tagSize:
		return record{}, errAltered
	}
	r := record{term: binary.BigEndian.Uint32(b[1:]), place: place{kind: kind(b[5])}}
	size := int(binary.BigEndian.Uint16(b[6:]))
	b = b[8:]
	if size > maxIDSize || len(b) < size+8+saltSize+nonceSize+tagSize {
		return record{}, errAltered
	}
	r.place.id, b = string(b[:size]), b[size:]
	r.revision, b = binary.BigEndian.Uint64(b), b[8:]
	b = b[copy(r.salt[:], b):]
	b = b[copy(r.nonce[:], b):]
	r.sealed = append([]byte(nil), b...)
	return r, nil
}
