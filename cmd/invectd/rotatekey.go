package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newRotateKeyCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Change the encryption key, while the daemon runs",
		Long: `Change the encryption key, in three steps between which nothing can get lost: give
the new key, and the store opens with either; restart the daemon with the new key;
retire the old one. Whoever restarts with the old key and retires calls it off.

A backup is restored with a key of its own moment: keep the old key for as long
as the backups from before.`,
		Example: `  umask 077; invectd secret > new.key
  invectd rotate-key --new-key-file new.key
  invectd rotate-key --retire                 # after a restart with the new key`,
		Args: cobra.NoArgs,
	}
	d := addDaemonFlag(p, cmd)
	file := cmd.Flags().String("new-key-file", "", "`FILE` with the new key, - for standard input")
	retire := cmd.Flags().Bool("retire", false, "remove all keys but the one that the daemon was started with")
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		if (*file == "") == !*retire {
			return usagef("give either --new-key-file or --retire")
		}
		if *retire {
			return retireKeys(cmd, p, c)
		}
		return addKey(cmd, p, c, *file)
	})
	return cmd
}

func addKey(cmd *cobra.Command, p program, c *client.Client, file string) error {
	key, err := p.readSecret(cmd.Context(), file, "new encryption key")
	if err != nil {
		return err
	}
	ids, err := c.AddKey(cmd.Context(), key)
	if err != nil {
		return err
	}
	added := slices.DeleteFunc(ids.Keys, func(id string) bool { return id == ids.Active })
	_, err = fmt.Fprintf(p.stdout, `the store opens with the present key (%s) and with the new one (%s)
next: give "invectd serve" the new key in place of the present one and restart it,
then: invectd rotate-key --retire
`, ids.Active, strings.Join(added, ", "))
	return err
}

func retireKeys(cmd *cobra.Command, p program, c *client.Client) error {
	ids, err := c.RetireKeys(cmd.Context())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, `the store opens with no key but the one that the daemon was started with (%s)
backups from before may need the former key: keep it for as long as them, and back up anew
`, ids.Active)
	return err
}
