package store

import (
	"context"
	"errors"

	"github.com/invectd/invectd/broker"
)

// auditMark is the content of the only record of its kind.
type auditMark struct {
	Line uint64 `json:"line"`
	MAC  []byte `json:"mac"`
}

// AuditMark returns the line of the audit log that the store was last told of, 0
// if it never was. Whoever removes the log would have to put the store back too.
func (db *DB) AuditMark(ctx context.Context) (line uint64, mac []byte, err error) {
	v, done, err := db.view(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	mark, err := content[auditMark](v, place{kind: kindAuditMark})
	if errors.Is(err, broker.ErrNotFound) {
		return 0, nil, nil
	}
	return mark.Line, mark.MAC, err
}

// PutAuditMark has the store remember a line of the audit log.
func (db *DB) PutAuditMark(ctx context.Context, line uint64, mac []byte) error {
	return db.replace(ctx, place{kind: kindAuditMark}, auditMark{line, mac})
}
