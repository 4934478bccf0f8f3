package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket"
	"github.com/invectd/invectd/socket/client"
)

func newProvidersCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "providers [ID or WORD ...]",
		Short: "Search and show the OAuth2 providers that are known",
		Long: `Search and show the OAuth2 providers that are known: one by its id, or those whose id,
name, category or description has all the words in it.

More are added as files in DATA_DIR/providers, or over the API at run time.`,
		Example: `  invectd providers
  invectd providers mail --category marketing
  invectd providers google
  invectd providers --experimental=false --json`,
	}
	search := newProviderSearch(p, cmd)
	cmd.RunE = search.daemon.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		providers, err := c.Providers(cmd.Context())
		if err != nil {
			return err
		}
		if len(args) == 1 {
			if i := slices.IndexFunc(providers, func(provider client.Provider) bool { return provider.ID == args[0] }); i >= 0 {
				return printProvider(cmd.Context(), p, *search.asJSON, c, providers[i])
			}
		}
		return search.print(cmd, args, providers)
	})
	cmd.AddCommand(newProvidersSearchCommand(p), newProvidersShowCommand(p), newProvidersAcceptCommand(p), newProvidersSchemaCommand(p))
	return cmd
}

func newProvidersSearchCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "search WORD ...",
		Short: "List the providers that have all the words in their id, name, category or description",
		Example: `  invectd providers search sheet
  invectd providers search pay --category payments`,
		Args: cobra.MinimumNArgs(1),
	}
	search := newProviderSearch(p, cmd)
	cmd.RunE = search.daemon.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		providers, err := c.Providers(cmd.Context())
		if err != nil {
			return err
		}
		return search.print(cmd, args, providers)
	})
	cmd.AddCommand(newProvidersAcceptCommand(p))
	return cmd
}

func newProvidersSchemaCommand(p program) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a provider definition",
		Long: `Print the JSON Schema (2020-12) of a provider definition. An editor completes and checks
a definition whose first line names a copy of it:

  # yaml-language-server: $schema=provider.schema.json`,
		Example: "  invectd providers schema > provider.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, socket.ProviderSchema)
			return err
		},
	}
}

// A providerSearch is what to list of all providers.
type providerSearch struct {
	program
	daemon           *daemonFlag
	asJSON           *bool
	category, source string
	experimental     bool
}

func newProviderSearch(p program, cmd *cobra.Command) *providerSearch {
	s := &providerSearch{program: p, daemon: addDaemonFlag(p, cmd), asJSON: addJSONFlag(cmd)}
	cmd.ValidArgsFunction = s.daemon.completeProvider
	flags := cmd.Flags()
	flags.StringVar(&s.category, "category", "", "only those of a `CATEGORY`, such as crm_sales")
	flags.StringVar(&s.source, "source", "", "only those from a `SOURCE`: builtin, file, plugin or api")
	flags.BoolVar(&s.experimental, "experimental", false, "only those whose facts nobody has confirmed; =false for the others")
	return s
}

func (s *providerSearch) print(cmd *cobra.Command, words []string, providers []client.Provider) error {
	sources := []broker.Source{broker.SourceBuiltin, broker.SourceFile, broker.SourcePlugin, broker.SourceAPI}
	if s.source != "" && !slices.Contains(sources, broker.Source(s.source)) {
		return usagef("--source takes builtin, file, plugin or api")
	}
	which := cmd.Flags().Changed("experimental")
	providers = slices.DeleteFunc(providers, func(provider client.Provider) bool {
		return s.category != "" && !strings.EqualFold(provider.Category, s.category) ||
			s.source != "" && string(provider.Source) != s.source ||
			which && provider.Experimental != s.experimental ||
			slices.ContainsFunc(words, func(word string) bool { return !mentions(provider, word) })
	})
	if len(providers) == 0 {
		return &client.Error{Code: "unknown_provider", Message: "no provider matches; `invectd providers` lists all, and a few lines of YAML in DATA_DIR/providers add one"}
	}
	if *s.asJSON {
		return printJSON(s.stdout, providers)
	}
	t := newTable(s.stdout, "ID", "NAME", "CATEGORY", "SOURCE", "NOTE")
	for _, provider := range providers {
		t.row(provider.ID, provider.Name, provider.Category, sourceOf(provider), noteOf(provider))
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

func noteOf(provider client.Provider) string {
	if provider.Experimental {
		return "experimental"
	}
	return ""
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

func newProvidersShowCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one provider, its quirks, and what it takes to connect",
		Args:  cobra.ExactArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeProvider
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		provider, err := c.Provider(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printProvider(cmd.Context(), p, *asJSON, c, provider)
	})
	return cmd
}

// shownInput tells a person of an input.
func shownInput(input broker.Input) string {
	var parts []string
	if input.Label != "" {
		parts = append(parts, input.Label)
	}
	if len(input.Enum) > 0 {
		parts = append(parts, "one of "+strings.Join(input.Enum, ", "))
	}
	if input.Default != "" {
		parts = append(parts, "default "+input.Default)
	}
	if input.Callback != "" {
		parts = append(parts, "brought by the redirect")
	}
	return strings.Join(parts, "; ")
}

// appsSetLine is the command that registers a client with a provider.
func appsSetLine(provider client.Provider, inputs []string) string {
	line := "invectd apps set " + provider.ID + " --client-id ID"
	switch provider.ClientAuthentication {
	case broker.ClientAuthNone:
	case broker.PrivateKeyJWT:
		line += " --private-key-file FILE"
	case broker.TLSClientAuth:
		line += " --private-key-file FILE --certificate-file FILE"
	default:
		line += " --client-secret-file FILE"
	}
	for _, name := range inputs {
		line += fmt.Sprintf(" --input %s=…", name)
	}
	return line
}
