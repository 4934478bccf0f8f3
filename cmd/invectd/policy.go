package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newPolicyCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show who may do what, and test it",
		Long: `Show the rules that are in force. They are those of the file that "invectd serve
--policy" names, unless that is broken: then the rules before it stay, and what is
wrong is shown.

Nobody may do anything but whom a rule allows it; a rule that denies wins. Root and
the daemon's own user may do everything on the full socket, and nothing beyond the
rules on the runners' one.`,
		Example: `  invectd policy
  invectd policy test --user runner --verb token --credential "Work mail"`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.RunE = d.with(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		policy, err := c.Policy(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, policy)
		}
		return printPolicy(p, policy, time.Now())
	})
	cmd.AddCommand(newPolicyTestCommand(p))
	return cmd
}

func printPolicy(p program, policy client.Policy, now time.Time) error {
	if policy.File == nil {
		_, err := fmt.Fprintln(p.stdout, "there is no policy file: only root and the daemon's own user get in, on the full socket")
		return err
	}
	fmt.Fprintf(p.stdout, "%s, read %s\n", printable(*policy.File), when(policy.LoadedAt, now))
	if policy.Fault != nil {
		fmt.Fprintf(p.stdout, "the file has changed since, and cannot be used: %s\n", printable(*policy.Fault))
	}
	fmt.Fprintln(p.stdout)
	t := newTable(p.stdout, "RULE", "EFFECT", "WHO", "MAY", "ON")
	for _, rule := range policy.Rules {
		t.row(rule.Name, rule.Effect, whoOf(rule.Who), strings.Join(rule.May, ","), onOf(rule.On))
	}
	return t.print()
}

func whoOf(w client.PolicyWho) string {
	uids := make([]string, len(w.UIDs))
	for i, uid := range w.UIDs {
		uids[i] = fmt.Sprint(uid)
	}
	return choice("everybody",
		column{"user", w.Users}, column{"group", w.Groups}, column{"uid", uids},
		column{"unit", w.Units}, column{"cgroup", w.Cgroups}, column{"grant", w.Grants})
}

func onOf(o client.PolicyOn) string {
	columns := []column{{"id", o.IDs}, {"name", o.Names}, {"provider", o.Providers}, {"workspace", o.Workspaces}}
	for _, key := range slices.Sorted(maps.Keys(o.Metadata)) {
		columns = append(columns, column{"metadata." + key, o.Metadata[key]})
	}
	return choice("everything", columns...)
}

// A column is one list of a rule.
type column struct {
	name   string
	values []string
}

// choice tells what all columns together choose: "user runner|ci, unit web.*".
func choice(all string, columns ...column) string {
	var parts []string
	for _, c := range columns {
		if len(c.values) > 0 {
			parts = append(parts, c.name+" "+strings.Join(c.values, "|"))
		}
	}
	if len(parts) == 0 {
		return all
	}
	return strings.Join(parts, ", ")
}
