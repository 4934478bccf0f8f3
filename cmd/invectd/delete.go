package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newDeleteCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete REF",
		Short: "Delete a credential",
		Long: `Delete a credential, for good. With --revoke its tokens are revoked at the provider
first, or as soon as it can be reached. Where it refuses that, nothing is deleted.`,
		Example: `  invectd delete work --revoke
  invectd delete openai --yes`,
		Args: cobra.ExactArgs(1),
	}
	d := addDaemonFlag(p, cmd)
	cmd.ValidArgsFunction = d.completeRef
	revoke := cmd.Flags().Bool("revoke", false, "revoke the tokens at the provider first")
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if !*yes {
			credential, err := c.Credential(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := p.confirm(cmd.Context(), fmt.Sprintf("delete %q (%s)", printable(credential.Name), credential.ID)); err != nil {
				return err
			}
			args[0] = credential.ID // what was asked about, whoever bears the name by now
		}
		if err := c.DeleteCredential(cmd.Context(), args[0], *revoke); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "deleted %s\n", args[0])
		return err
	})
	return cmd
}
