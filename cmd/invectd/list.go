package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newListCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List credentials",
		Long:  `List the credentials that match, the newest first, without what is secret in them.`,
		Example: `  invectd list
  invectd list --status reauth_required --json`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	var filter client.Filter
	flags := cmd.Flags()
	flags.StringVar(&filter.Name, "name", "", "only those of this name")
	flags.StringVar(&filter.Provider, "provider", "", "only those of this provider")
	flags.StringVar(&filter.Status, "status", "", "only those of this status: active, degraded, pending, expired, reauth_required, disabled")
	flags.StringVar(&filter.AuthType, "auth-type", "", "only those of this kind: oauth2, apiKey, bearer, basic, …")
	flags.StringVar(&filter.Type, "type", "", "only those of this type")
	flags.StringVar(&filter.WorkspaceID, "workspace", "", "only those of this workspace id")
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		credentials, _, err := c.Credentials(cmd.Context(), filter)
		if e, ok := errors.AsType[*client.Error](err); ok && e.Code == "invalid_request" {
			return usagef("%s", e.Message) // all that is asked with is a flag
		}
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, credentials)
		}
		return printCredentials(p, credentials, time.Now())
	})
	return cmd
}

func printCredentials(p program, credentials []client.Credential, now time.Time) error {
	t := newTable(p.stdout, "NAME", "ID", "KIND", "PROVIDER", "STATUS", "EXPIRES")
	for _, c := range credentials {
		provider := orEmpty(c.Provider)
		if provider == "" {
			provider = "-"
		}
		t.row(c.Name, c.ID, c.AuthType, provider, c.Status, when(c.ExpiresAt, now))
	}
	return t.print()
}
