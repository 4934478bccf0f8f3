package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

func newPluginsCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugins",
		Short: "Show the provider plugins, trust one or take that back",
		Long: `Show the programs in the plugins folder, and what became of them. None is run before
you trust it: "plugins trust" takes your word for the file as it is.`,
		Example: `  invectd plugins
  invectd plugins trust my_service`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		list, err := c.Plugins(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, list)
		}
		t := newTable(p.stdout, "NAME", "STATE", "VERSION", "PROVIDERS", "HOOKS", "RESTARTS", "DIGEST")
		for _, plugin := range list {
			t.row(plugin.Name, plugin.State, cmp.Or(plugin.Version, "-"), orDash(plugin.Providers), hooksOf(plugin),
				fmt.Sprint(plugin.Restarts), cmp.Or(shortDigest(plugin.Digest), "-"))
		}
		if err := t.print(); err != nil {
			return err
		}
		for _, plugin := range list {
			if plugin.Error != "" {
				fmt.Fprintf(p.stdout, "\n%s: %s\n", printable(plugin.Name), printable(plugin.Error))
			}
		}
		return nil
	})
	cmd.AddCommand(newPluginsTrustCommand(p), newPluginsDistrustCommand(p))
	return cmd
}

func orDash(list []string) string { return cmp.Or(strings.Join(list, ","), "-") }

// hooksOf lists the hooks that a plugin needs, those in parentheses that it was
// not granted.
func hooksOf(plugin client.Plugin) string {
	var names []string
	for _, hook := range plugin.Hooks {
		if !slices.Contains(plugin.Granted, hook) {
			hook = "(" + hook + ")"
		}
		names = append(names, hook)
	}
	return orDash(names)
}

// shortDigest is enough of a digest to tell files apart by eye.
func shortDigest(digest string) string {
	return digest[:min(len(digest), len("sha256:")+12)]
}

func newPluginsTrustCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust NAME",
		Short: "Let a plugin run",
		Long: `Let a plugin run, whose file has the digest that it has now. Another file of the same
name is not run before you trust that.

A plugin gets no secret to see, unless you grant it a hook that does: it says
which it needs once it runs.

` + hookTexts() + `
The exit code is 1 if it does not run, though it is trusted then. Those given with --hook are all that it is granted from then on.`,
		Example: `  invectd plugins trust my_service
  invectd plugins trust github_app --hook token_request --hook token_response`,
		Args: cobra.ExactArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completePlugin
	var in client.PluginTrust
	cmd.Flags().StringSliceVar(&in.Hooks, "hook", nil, "`HOOK` to grant; may be given several times")
	cmd.Flags().StringVar(&in.Digest, "digest", "", "`DIGEST` that the file has to have, such as the one that its author published")
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		plugin, err := c.TrustPlugin(cmd.Context(), args[0], in)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(p.stdout, plugin)
		} else {
			err = printTrusted(p, plugin)
		}
		if err == nil && plugin.State != string(broker.PluginRunning) {
			err = fmt.Errorf("%s is trusted and does not run: %s", plugin.Name, plugin.Error)
		}
		return err
	})
	return cmd
}

// hookText tells what a plugin that is granted a hook may do and what it sees.
var hookText = map[broker.Hook]string{
	broker.HookAuthorizationURL: "change where a person is sent; sees no secret",
	broker.HookCallback:         "check what the browser brought back; sees the code and the client's secret",
	broker.HookTokenRequest:     "change or sign token requests; sees the client's secret or key, codes and refresh tokens",
	broker.HookTokenResponse:    "change what the token endpoint answered; sees the tokens",
}

// hookTexts tells it of each, in a line.
func hookTexts() string {
	var all strings.Builder
	for _, hook := range broker.AllHooks {
		fmt.Fprintf(&all, "  %-18s %s\n", hook, hookText[hook])
	}
	return all.String()
}

func printTrusted(p program, plugin client.Plugin) error {
	t := newTable(p.stdout)
	t.field("plugin", plugin.Name)
	t.field("digest", plugin.Digest)
	t.field("state", plugin.State)
	t.field("providers", strings.Join(plugin.Providers, ", "))
	t.field("hooks granted", strings.Join(plugin.Granted, ", "))
	missing := slices.DeleteFunc(slices.Clone(plugin.Hooks), func(hook string) bool { return slices.Contains(plugin.Granted, hook) })
	t.field("hooks needed", strings.Join(missing, ", "))
	t.field("problem", plugin.Error)
	if err := t.print(); err != nil || len(missing) == 0 {
		return err
	}
	fmt.Fprintf(p.stdout, "\nIt is to be granted:\n")
	for _, hook := range missing {
		fmt.Fprintf(p.stdout, "  %-18s %s\n", printable(hook), hookText[broker.Hook(hook)])
	}
	_, err := fmt.Fprintf(p.stdout, "If it may:\n  invectd plugins trust %s --hook %s\n",
		printable(plugin.Name), strings.Join(plugin.Hooks, " --hook "))
	return err
}

func newPluginsDistrustCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "distrust NAME",
		Short:   "End a plugin and do not run it any more",
		Long:    `End a plugin and do not run it any more. Its definitions stay in force for the credentials that use them.`,
		Example: `  invectd plugins distrust my_service`,
		Args:    cobra.ExactArgs(1),
	}
	d := addDaemonFlag(p, cmd)
	cmd.ValidArgsFunction = d.completePlugin
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if err := c.DistrustPlugin(cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "%s is not run any more\n", args[0])
		return err
	})
	return cmd
}

// completePlugin completes the name of a plugin.
func (d *daemonFlag) completePlugin(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return d.complete(cmd, args, func(ctx context.Context, c *client.Client) (words []string) {
		list, _ := c.Plugins(ctx)
		for _, plugin := range list {
			words = append(words, cobra.CompletionWithDesc(plugin.Name, plugin.State))
		}
		return words
	})
}
