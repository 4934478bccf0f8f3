package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/invectd/invectd/plugins"
	"github.com/invectd/invectd/socket/client"
)

// printProvider shows one provider: where it is, what is odd about it, and what
// a person does to connect to it.
func printProvider(ctx context.Context, p program, asJSON bool, c *client.Client, provider client.Provider) error {
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
	if provider.Experimental {
		t.field("experimental", "one source alone has its facts, and nobody has confirmed them")
	}
	t.field("issuer", provider.Issuer)
	t.field("authorization", provider.AuthorizationURL)
	t.field("token", provider.TokenURL)
	t.field("revocation", provider.RevocationURL)
	t.field("device", provider.DeviceAuthorizationURL)
	t.field("default scopes", strings.Join(provider.DefaultScopes, " "))
	t.field("API hosts", strings.Join(provider.APIHosts, " "))
	var needed []string
	for _, name := range slices.Sorted(maps.Keys(provider.Inputs)) {
		input := provider.Inputs[name]
		t.row("input "+name, shownInput(input))
		if input.Default == "" && input.Callback == "" {
			needed = append(needed, name)
		}
	}
	for i, quirk := range plugins.Quirks(provider.Definition) {
		t.row(heading("quirks", i), quirk.String())
	}
	for i, step := range stepsTo(ctx, c, provider, needed) {
		t.row(heading("to connect", i), step)
	}
	t.field("documentation", provider.DocsURL)
	return t.print()
}

// heading is the name of a field in its first line.
func heading(name string, line int) string {
	if line > 0 {
		return ""
	}
	return name
}

// stepsTo tells what to do for a first connection.
func stepsTo(ctx context.Context, c *client.Client, provider client.Provider, inputs []string) []string {
	redirects := "http://127.0.0.1/callback (for invectd connect)"
	// Where the daemon does not say, there is the one of the command line.
	if status, err := c.Status(ctx); err == nil && status.Listeners["callback"] != "" {
		redirects += ", " + callbackURL(status.Listeners["callback"]) + " (the daemon's own)"
	}
	return []string{
		"register a client with " + provider.Name + ", and for it the redirect URI " + redirects,
		appsSetLine(provider, inputs),
		"invectd connect " + provider.ID,
	}
}
