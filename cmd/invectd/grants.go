package main

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newGrantsCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grants",
		Short: "List, mint or revoke grants, for jobs that share a user",
		Long: `List the grants. A grant is a secret that lets whoever presents it do a few things
with a few credentials for some time, besides what the policy allows; what the
policy denies stays denied. It can be bound to a user, a systemd unit or a cgroup.

"grants create" mints one, and prints its secret this once; "grants delete" revokes
one at once. A client presents it by INVECT_GRANT or --grant-file, and a program by
the header ` + client.GrantHeader + `.`,
		Example: `  invectd grants
  invectd grants create --credential work --ttl 1h > job.grant
  invectd token work --grant-file job.grant`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		grants, err := c.Grants(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, grants)
		}
		now := time.Now()
		t := newTable(p.stdout, "NAME", "ID", "WHO", "MAY", "ON", "EXPIRES", "LAST USED")
		for _, g := range grants {
			t.row(g.Name, g.ID, whoOf(g.Who), strings.Join(g.May, ","), onOf(g.On), when(&g.ExpiresAt, now), when(g.LastUsedAt, now))
		}
		return t.print()
	})
	cmd.AddCommand(newGrantsCreateCommand(p), newGrantsDeleteCommand(p))
	return cmd
}

func newGrantsCreateCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create --credential REF --ttl DURATION",
		Short: "Mint a grant and print its secret, this once",
		Long: `Mint a grant and print its secret to standard output, this once: the daemon keeps
only a keyed hash of it. Without --user, --unit or --cgroup anybody who has the
secret may use it.`,
		Example: `  invectd grants create --credential work --ttl 1h --user ci > job.grant
  invectd grants create --provider google --verb token --verb header --ttl 24h --unit 'report@*.service'`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	var in client.GrantInput
	var users []string
	var ttl time.Duration
	flags := cmd.Flags()
	flags.StringVar(&in.Name, "name", "", "what to call it, for the audit and the policy")
	flags.StringSliceVar(&in.Credentials, "credential", nil, "`REF` of a credential that it is for")
	flags.StringSliceVar(&in.Providers, "provider", nil, "`PROVIDER` whose credentials it is for")
	flags.StringSliceVar(&in.May, "verb", nil, "what it gives: token (the default), resolve, header, rejected, list, refresh")
	flags.StringSliceVar(&users, "user", nil, "name or id of a `USER` who may present it")
	flags.StringSliceVar(&in.Units, "unit", nil, "`PATTERN` of systemd units that may present it")
	flags.StringSliceVar(&in.Cgroups, "cgroup", nil, "`PATTERN` of cgroups that may present it")
	flags.DurationVar(&ttl, "ttl", 0, "how long it lasts, such as 1h, at most 720h")
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) (err error) {
		if ttl <= 0 || len(in.Credentials)+len(in.Providers) == 0 {
			return usagef("say what it is for, by --credential or --provider, and how long it lasts, by --ttl")
		}
		in.TTL = ttl.String()
		if in.UIDs, err = userIDs(users); err != nil {
			return err
		}
		minted, err := c.CreateGrant(cmd.Context(), in)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, minted)
		}
		fmt.Fprintf(p.stderr, "minted grant %s (%s), good for %s; its secret is shown this once\n", minted.ID, printable(minted.Name), ttl)
		_, err = fmt.Fprintln(p.stdout, minted.Secret)
		return err
	})
	return cmd
}

// userIDs returns the ids of users of this machine.
func userIDs(names []string) (ids []uint32, err error) {
	for _, name := range names {
		text := name
		if found, err := user.Lookup(name); err == nil {
			text = found.Uid
		}
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, usagef("--user %q: there is no such user here", name)
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}

func newGrantsDeleteCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete ID",
		Short:   "Revoke a grant at once",
		Long:    `Revoke a grant at once: no request gets in with it any more.`,
		Example: `  invectd grants delete 7q2m4t5xk3vb6yhc2dfnwr5ase`,
		Args:    cobra.ExactArgs(1),
	}
	d := addDaemonFlag(p, cmd)
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if err := c.DeleteGrant(cmd.Context(), args[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "revoked grant %s\n", args[0])
		return err
	})
	return cmd
}
