package broker

import (
	"context"
	"io"
)

// Backups makes backups of a store.
type Backups interface {
	// Backup writes all that is stored at one moment, encrypted. Where it returns
	// an error, what was written is no backup.
	Backup(ctx context.Context, w io.Writer) error
}

// Backup writes a backup of the store.
func (b *Broker) Backup(ctx context.Context, caller Caller, w io.Writer) (err error) {
	entry, err := b.authorize(caller, VerbAdmin, "backup")
	if err != nil {
		return err
	}
	backup, err := b.begin(entry)
	if err != nil {
		return err
	}
	defer backup.end(&err)
	return b.Backups.Backup(ctx, w)
}
