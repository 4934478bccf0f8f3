package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

// readFlags say which token is good enough, and how long to wait for it.
type readFlags struct{ minValidity, wait time.Duration }

func addReadFlags(cmd *cobra.Command) *readFlags {
	var r readFlags
	cmd.Flags().DurationVar(&r.minValidity, "min-validity", 0, "how much longer the token has to live (default 1m; never more than half of its lifetime)")
	cmd.Flags().DurationVar(&r.wait, "wait", 0, "how long to wait for a refresh (default 30s)")
	return &r
}

// options checks the flags. Zero leaves it to the daemon, as does a flag that is
// not given.
func (r *readFlags) options() (client.ReadOptions, error) {
	if r.minValidity < 0 || r.wait < 0 {
		return client.ReadOptions{}, usagef("--min-validity and --wait take durations such as 90s or 5m")
	}
	return client.ReadOptions{MinValidity: r.minValidity, Wait: r.wait}, nil
}

func newTokenCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token REF",
		Short: "Print a valid access token",
		Long: `Print an access token that stays valid long enough, renewing it first where needed.

Ask when you need it rather than keep it: the answer comes from memory.
--json prints the whole answer, with the type, the expiry and the generation.`,
		Example: `  invectd token work
  invectd token work --min-validity 5m --json`,
		Args: cobra.ExactArgs(1),
	}
	d, read, asJSON := addDaemonFlag(p, cmd), addReadFlags(cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeRef
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		token, err := d.token(cmd.Context(), c, args[0], read)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, token)
		}
		_, err = fmt.Fprintln(p.stdout, token.AccessToken)
		return err
	})
	return cmd
}

// token reads a token, and warns of one that lives shorter than asked for.
func (d *daemonFlag) token(ctx context.Context, c *client.Client, ref string, read *readFlags) (client.Token, error) {
	options, err := read.options()
	if err != nil {
		return client.Token{}, err
	}
	token, err := c.Token(ctx, ref, options)
	if err == nil && token.Degraded {
		fmt.Fprintf(d.stderr, "invectd: this token ends %s, and it cannot be renewed now\n", when(&token.ExpiresAt, time.Now()))
	}
	return token, err
}

func newHeaderCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "header REF",
		Short: "Print the request header that authenticates",
		Long: `Print the request header that authenticates with a credential, as "Name: value":
Authorization for tokens and passwords, an API key's own otherwise. Several
headers are several lines.

Piped into curl, the secret is in no argument, which other users could see.`,
		Example: `  invectd header work | curl -H @- https://api.github.com/user`,
		Args:    cobra.ExactArgs(1),
	}
	d, read, asJSON := addDaemonFlag(p, cmd), addReadFlags(cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeRef
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		options, err := read.options()
		if err != nil {
			return err
		}
		header, err := c.Header(cmd.Context(), args[0], options)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, header)
		}
		for _, name := range slices.Sorted(maps.Keys(header)) {
			if _, err := fmt.Fprintf(p.stdout, "%s: %s\n", name, header[name]); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}
