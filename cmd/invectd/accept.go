package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newProvidersAcceptCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accept PROVIDER",
		Short: "Have a provider's credentials follow its definition to another host",
		Long: `Credentials remember the hosts of the definition that they were authorised with. Where
the definition in force names another token host, be it by a file, a plugin or the API,
nothing is sent there until you accept it. What is accepted is what you are asked about:
if the definition changes again meanwhile, nothing happens.`,
		Example: `  invectd providers my_service
  invectd providers accept my_service`,
		Args: cobra.ExactArgs(1),
	}
	d := addDaemonFlag(p, cmd)
	cmd.ValidArgsFunction = d.completeProvider
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		provider, err := c.Provider(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if provider.Held == nil {
			_, err := fmt.Fprintf(p.stdout, "nothing waits for %s: its credentials follow its definition\n", provider.ID)
			return err
		}
		origins := provider.Held.Origins
		if !*yes {
			question := fmt.Sprintf("have %d credentials and apps of %s send their secrets to %s", provider.Held.Count, provider.ID, strings.Join(origins, " "))
			if err := p.confirm(cmd.Context(), question); err != nil {
				return err
			}
		}
		accepted, err := c.AcceptProvider(cmd.Context(), provider.ID, origins)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "accepted %s for %d credentials of %s\n", strings.Join(accepted.Origins, " "), accepted.Credentials, accepted.ProviderID)
		return err
	})
	return cmd
}
