package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newProvidersCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "providers [ID or WORD]",
		Short: "Show the OAuth2 providers that are known",
		Long: `Show the OAuth2 providers that are known: one by its id, or those whose id, name,
category or description has a word in it.

More are added as files in DATA_DIR/providers, or over the API at run time.`,
		Example: `  invectd providers
  invectd providers mail
  invectd providers google --json`,
		Args: cobra.MaximumNArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeProvider
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		providers, err := c.Providers(cmd.Context())
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return printProviders(p, *asJSON, providers)
		}
		if i := slices.IndexFunc(providers, func(provider client.Provider) bool { return provider.ID == args[0] }); i >= 0 {
			return printProvider(p, *asJSON, providers[i])
		}
		providers = slices.DeleteFunc(providers, func(provider client.Provider) bool { return !mentions(provider, args[0]) })
		if len(providers) == 0 {
			return &client.Error{Code: "unknown_provider", Message: fmt.Sprintf("no provider has %q in its id, name, category or description", args[0])}
		}
		return printProviders(p, *asJSON, providers)
	})
	cmd.AddCommand(newProvidersAcceptCommand(p))
	return cmd
}

// mentions reports whether a provider has a word in what people see of it.
func mentions(provider client.Provider, word string) bool {
	for _, text := range []string{provider.ID, provider.Name, provider.Category, provider.Description} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
			return true
		}
	}
	return false
}

func printProviders(p program, asJSON bool, providers []client.Provider) error {
	if asJSON {
		return printJSON(p.stdout, providers)
	}
	t := newTable(p.stdout, "ID", "NAME", "CATEGORY", "SOURCE")
	for _, provider := range providers {
		t.row(provider.ID, provider.Name, provider.Category, sourceOf(provider))
	}
	return t.print()
}

// sourceOf tells where a definition comes from, and what is wrong there.
func sourceOf(provider client.Provider) string {
	text := string(provider.Source)
	if provider.State != "" {
		text += ", " + string(provider.State)
	}
	if provider.Held != nil {
		text += ", not accepted"
	}
	return text
}

func printProvider(p program, asJSON bool, provider client.Provider) error {
	if asJSON {
		return printJSON(p.stdout, provider)
	}
	t := newTable(p.stdout)
	t.field("id", provider.ID)
	t.field("name", provider.Name)
	t.field("description", provider.Description)
	t.field("category", provider.Category)
	t.field("source", sourceOf(provider))
	t.field("reason", printable(provider.Reason))
	if held := provider.Held; held != nil {
		t.field("not accepted", fmt.Sprintf("%d credentials and apps were authorised with another token host, and send nothing to %s", held.Count, strings.Join(held.Origins, " ")))
	}
	t.field("issuer", provider.Issuer)
	t.field("authorization", provider.AuthorizationURL)
	t.field("token", provider.TokenURL)
	t.field("revocation", provider.RevocationURL)
	t.field("default scopes", strings.Join(provider.DefaultScopes, " "))
	t.field("required scopes", strings.Join(provider.RequiredScopes, " "))
	t.field("pkce", string(provider.PKCE))
	t.field("client authentication", string(provider.ClientAuthentication))
	for _, name := range slices.Sorted(maps.Keys(provider.Inputs)) {
		input := provider.Inputs[name]
		text := input.Label
		if input.Default != "" {
			text = strings.TrimSpace(text + " (default " + input.Default + ")")
		}
		t.row("input "+name, text)
	}
	t.field("documentation", provider.DocsURL)
	return t.print()
}
