package main

import (
	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newRefreshCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refresh REF",
		Short: "Renew the token of a credential now",
		Long: `Renew the token of a credential now, though it may not be due. Tokens are renewed
by themselves before they end, so this is for trying whether it works.`,
		Example: `  invectd refresh work`,
		Args:    cobra.ExactArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeRef
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		credential, err := c.RefreshCredential(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printOutcome(p, *asJSON, "renewed", credential)
	})
	return cmd
}
