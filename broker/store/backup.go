package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/invectd/invectd/broker"
)

// Backup writes all that is stored at one moment, sealed, while the store goes on
// being read and written. [Restore] makes a store of it, with the operator's key
// of that moment. Every record is opened before it is written: a store that is
// damaged has no backup, and the error is a [*DamagedError] that says where.
func (db *DB) Backup(ctx context.Context, w io.Writer) error {
	v, done, err := db.view(ctx)
	if err != nil {
		return err
	}
	defer done()
	keyring, err := os.ReadFile(filepath.Join(db.dir, keyringFile))
	if err != nil {
		return fmt.Errorf("%w: reading the keyring: %w", broker.ErrStoreUnavailable, err)
	}
	header := backupHeader(keyring)
	sealing, err := newArchive(db.sealer.keys(), header)
	if err != nil {
		return err
	}
	if _, err := v.verify(); err != nil { // before anything is written
		return err
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	out := &backupWriter{archive: sealing, to: w}
	if err := v.writeTo(ctx, out); err != nil {
		return err
	}
	return out.end()
}

// writeTo writes every record, the root first.
func (v view) writeTo(ctx context.Context, out *backupWriter) error {
	for _, k := range append([]kind{kindRoot}, recordKinds...) {
		for r, err := range v.records(k) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err == nil {
				err = v.examine(r)
			}
			if err == nil {
				err = out.add(r)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// A backupWriter gathers records to chunks.
type backupWriter struct {
	*archive
	to    io.Writer
	chunk []byte
}

func (b *backupWriter) add(r *record) error {
	encoded := r.encode()
	b.chunk = append(binary.BigEndian.AppendUint32(b.chunk, uint32(len(encoded))), encoded...)
	if len(b.chunk) < maxChunk {
		return nil
	}
	return b.flush(followedChunk)
}

func (b *backupWriter) flush(kind byte) error {
	if err := b.write(b.to, b.chunk, kind); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	b.chunk = b.chunk[:0]
	return nil
}

// end seals what is left, and that nothing follows.
func (b *backupWriter) end() error { return b.flush(lastChunk) }

// takeRecord takes the next record from a chunk.
func takeRecord(chunk []byte) (r record, rest []byte, err error) {
	if len(chunk) < 4 {
		return record{}, nil, errBackupAltered
	}
	size, chunk := binary.BigEndian.Uint32(chunk), chunk[4:]
	if uint64(size) > uint64(len(chunk)) {
		return record{}, nil, errBackupAltered
	}
	r, err = decodeRecord(chunk[:size])
	return r, chunk[size:], err
}

// Check reads all that is stored. The error is a [*DamagedError] that names
// every record that is lost or not what was written.
func (db *DB) Check(ctx context.Context) (Checked, error) {
	v, done, err := db.view(ctx)
	if err != nil {
		return Checked{}, err
	}
	defer done()
	want, err := v.verify()
	if err != nil {
		return Checked{}, err
	}
	all := &DamagedError{}
	for _, k := range recordKinds {
		for r, err := range v.records(k) {
			if err := context.Cause(ctx); err != nil {
				return Checked{}, err
			}
			if err == nil {
				err = v.examine(r)
			}
			if d, ok := errors.AsType[*DamagedError](err); ok {
				all.add(d)
			} else if err != nil {
				return Checked{}, err
			}
		}
	}
	if len(all.Records) > 0 {
		return Checked{}, all
	}
	return Checked{Commits: want.commits, Records: want.count}, nil
}

// Checked is what [DB.Check] found in good order.
type Checked struct {
	Commits uint64 // since the store was made
	Records uint64 // a credential counts as one
}
