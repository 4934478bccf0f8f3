package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newAppsCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apps",
		Short: "List, register or delete the clients registered with providers",
		Long: `List the apps: for each provider the client that you registered with it, so that
nobody else need know its secret. "apps set" stores one, "apps delete" removes it.`,
		Example: `  invectd apps
  invectd apps set github --client-id Iv1.0123 --client-secret-file -`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		apps, err := c.Apps(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, apps)
		}
		t := newTable(p.stdout, "PROVIDER", "CLIENT", "AUTHENTICATES WITH")
		for _, app := range apps {
			t.row(app.ProviderID, app.ClientID, proofOf(app))
		}
		return t.print()
	})
	cmd.AddCommand(newAppsSetCommand(p), newAppsDeleteCommand(p))
	return cmd
}

// proofOf tells by what a client authenticates.
func proofOf(app client.App) string {
	switch {
	case app.Certificate != "":
		return "certificate"
	case app.PrivateKey != "":
		return "private key"
	case app.ClientSecret != "":
		return "secret"
	}
	return "nothing (a public client)"
}

func newAppsSetCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set PROVIDER --client-id ID",
		Short: "Register the client of a provider, or replace it",
		Long: `Register the client of a provider, or replace it. Without a secret or a key it is a
public client, which authenticates by PKCE alone.`,
		Example: `  invectd apps set github --client-id Iv1.0123 --client-secret-file secret.txt
  invectd apps set microsoft --client-id 0123 --client-secret-file - --input tenant=example.com`,
		Args: cobra.ExactArgs(1),
	}
	d := addDaemonFlag(p, cmd)
	cmd.ValidArgsFunction = d.completeProvider
	var app client.App
	var secretFile, keyFile, certificateFile string
	flags := cmd.Flags()
	flags.StringVar(&app.ClientID, "client-id", "", "identifier that the provider gave to the client")
	flags.StringVar(&secretFile, "client-secret-file", "", "`FILE` with the client's secret, - for standard input")
	flags.StringVar(&keyFile, "private-key-file", "", "PEM `FILE` with the client's private key")
	flags.StringVar(&app.PrivateKeyID, "private-key-id", "", "identifier of that key (kid)")
	flags.StringVar(&certificateFile, "certificate-file", "", "PEM `FILE` with the client's certificate")
	addMap(flags, &app.Inputs, "input", "`NAME=VALUE` that the provider's definition asks for, such as a tenant")
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) (err error) {
		if app.ClientID == "" {
			return usagef("give the client's identifier with --client-id")
		}
		app.ProviderID = args[0]
		for _, secret := range []struct {
			into       *string
			path, what string
		}{
			{&app.ClientSecret, secretFile, "client secret"},
			{&app.PrivateKey, keyFile, "private key"},
			{&app.Certificate, certificateFile, "certificate"},
		} {
			if secret.path == "" {
				continue
			}
			if *secret.into, err = p.readSecret(cmd.Context(), secret.path, secret.what); err != nil {
				return err
			}
		}
		stored, err := c.PutApp(cmd.Context(), app)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "registered client %s with %s\n", stored.ClientID, stored.ProviderID)
		return err
	})
	return cmd
}

func newAppsDeleteCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete PROVIDER",
		Short: "Delete the client of a provider",
		Long: `Delete the client of a provider. Connections that were made with it cannot be
renewed any more, until one is registered again.`,
		Example: `  invectd apps delete github --yes`,
		Args:    cobra.ExactArgs(1),
	}
	d := addDaemonFlag(p, cmd)
	cmd.ValidArgsFunction = d.completeProvider
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if !*yes {
			if err := p.confirm(cmd.Context(), "delete the client of "+args[0]); err != nil {
				return err
			}
		}
		if err := c.DeleteApp(cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "deleted the client of %s\n", args[0])
		return err
	})
	return cmd
}
