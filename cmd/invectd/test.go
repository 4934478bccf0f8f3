package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newTestCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "test REF",
		Short:   "Ask the provider whether a credential works",
		Long:    `Ask the provider whether a credential works. It exits 1 where it does not.`,
		Example: `  invectd test work`,
		Args:    cobra.ExactArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeRef
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		test, err := c.TestCredential(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(p.stdout, test)
		} else if test.Success {
			_, err = fmt.Fprintf(p.stdout, "%s works\n", args[0])
		}
		if !test.Success {
			return errors.Join(err, fmt.Errorf("%s does not work: %s", args[0], test.Error))
		}
		return err
	})
	return cmd
}
