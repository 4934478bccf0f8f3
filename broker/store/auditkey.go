package store

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/invectd/invectd/broker"
)

// AuditKey returns the key of the audit log that belongs to the store. It stays
// the same when the operator's key changes.
func (db *DB) AuditKey() ([]byte, error) {
	return db.sealer.keys().auditKey(db.sealer.storeID[:])
}

// ReadAuditKey is [DB.AuditKey] of the store in a folder, be it open or not. It
// changes nothing. The error is [ErrNoStore] if nothing was ever stored there, and
// wraps [ErrWrongKey] if kek does not open it.
func ReadAuditKey(dir string, kek Key) ([]byte, error) {
	ring, keys, err := inspect(dir, kek)
	switch {
	case err != nil:
		return nil, err
	case ring == nil:
		return nil, ErrNoStore
	}
	id, err := hex.DecodeString(ring.StoreID)
	if err != nil {
		return nil, errors.New("the store id is not in hex")
	}
	return keys.auditKey(id)
}

func (r *rootKeys) auditKey(storeID []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, r.Audit, storeID, "invectd/audit/v1", 32)
}

// GrantKey returns the key that the secrets of grants are kept under. It stays
// the same when the operator's key changes.
func (db *DB) GrantKey() (broker.Secret, error) {
	key, err := hkdf.Key(sha256.New, db.sealer.keys().Index, db.sealer.storeID[:], "invectd/grants/v1", 32)
	return broker.NewSecret(string(key)), err
}
