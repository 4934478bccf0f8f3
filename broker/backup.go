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
func (b *Broker) Backup(ctx context.Context, caller Caller, w io.Writer) error {
	if err := b.authorize(caller, VerbAdmin, "backup"); err != nil {
		return err
	}
	return b.Backups.Backup(ctx, w)
}
