package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/socket/client"
)

func newBackupCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Back the store up, while the daemon runs",
		Long: `Back the store up, while the daemon runs. The backup is one moment of the store,
encrypted: to restore it takes the encryption key of that moment, which is not in
it. FILE is replaced once the backup is whole; "-" is standard output.`,
		Example: `  invectd backup /var/backups/invectd-$(date +%F)`,
		Args:    cobra.ExactArgs(1),
	}
	d := addDaemonFlag(p, cmd)
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		write := func(w io.Writer) error { return c.Backup(cmd.Context(), w) }
		if args[0] == "-" {
			if _, is := terminal(p.stdout); is {
				return usagef("a backup is not for a terminal: name a file, or redirect it")
			}
			return write(p.stdout)
		}
		size, err := replaceFile(args[0], write)
		if err != nil {
			return fmt.Errorf("backing up to %s: %w", args[0], err)
		}
		_, err = fmt.Fprintf(p.stdout, "backed up to %s (%d KiB)\n", args[0], (size+1023)/1024)
		return err
	})
	return cmd
}

// replaceFile writes a private file that takes its place once it is whole and on
// disk.
func replaceFile(path string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return 0, err
	}
	return info.Size(), errors.Join(folder.Sync(), folder.Close())
}

func newRestoreCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a store of a backup, while the daemon is stopped",
		Long: `Make a store of a backup, while the daemon is stopped. All of the backup is
verified before anything is written. The folder has to be empty; where the file
"head" of the lost store is left in it, it tells how old the backup is: an older
one is restored with a warning, since nothing gets lost by that, and the lost
store is where you moved it. A refresh token that was replaced since may be
refused once the daemon uses it, and a person has to connect again. The
encryption key is that of the moment of the backup, given as to "invectd serve".`,
		Example: `  invectd restore /var/backups/invectd-2026-11-25 --data-dir /var/lib/invectd`,
		Args:    cobra.ExactArgs(1),
	}
	dataDir := addDataDirFlag(p, cmd.Flags())
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		key, err := takeKey(p)
		if err != nil {
			return err
		}
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		restored, err := store.Restore(f, store.Config{Dir: *dataDir, Key: key, Log: warnings(p)})
		if err != nil {
			return err
		}
		if restored.Missing > 0 {
			fmt.Fprintf(p.stderr, "this backup is older than what %s held last: the last %d commits are not in it,\n"+
				"so what was created since is gone, and what was renewed since may need a person to connect it again\n", *dataDir, restored.Missing)
		}
		_, err = fmt.Fprintf(p.stdout, "restored to %s: %d records after %d commits\n", *dataDir, restored.Records, restored.Commits)
		return err
	}
	return cmd
}
