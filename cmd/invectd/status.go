package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

// readyInterval is how often a daemon that starts is asked whether it is ready.
const readyInterval = 20 * time.Millisecond

func newStatusCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the daemon is",
		Long: `Show how the daemon is: where it listens, what it holds, and what needs your
attention. With --wait it waits until the daemon is ready to do all of its work.`,
		Example: `  invectd status
  invectd serve & invectd status --wait 10s`,
		Args: cobra.NoArgs,
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	wait := cmd.Flags().Duration("wait", 0, "how long to wait for the daemon to be ready")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *wait > 0 {
			if err := d.awaitReady(cmd.Context(), *wait); err != nil {
				return err
			}
		}
		c, err := d.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		status, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, status)
		}
		return printStatus(p, status, time.Now())
	}
	return cmd
}

// awaitReady returns once the daemon says that it is ready, or with the last
// reason why it is not.
func (d *daemonFlag) awaitReady(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	var last error // what the daemon or the system said, not that time ran out
	for {
		err := d.ready(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", wait, last)
		case <-tick.C:
		}
	}
}

func (d *daemonFlag) ready(ctx context.Context) error {
	c, err := d.dial() // again each time: its socket may not be there yet
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Ready(ctx)
	return err
}

func printStatus(p program, s client.Status, now time.Time) error {
	t := newTable(p.stdout)
	t.field("version", s.Version)
	t.field("up since", short(time.Duration(s.UptimeSeconds)*time.Second)+" ago")
	for _, name := range slices.Sorted(maps.Keys(s.Listeners)) {
		t.field(name, s.Listeners[name])
	}
	t.field("store", conditionText(s.Store))
	t.field("audit", fmt.Sprintf("%s, line %d has the mac %s", map[bool]string{true: "writable", false: "NOT WRITABLE"}[s.Audit.Writable], s.Audit.Line, s.Audit.MAC[:min(16, len(s.Audit.MAC))]))
	t.field("credentials", countsOf(s.Credentials))
	t.field("providers", strconv.Itoa(s.Providers))
	for _, problem := range s.Problems {
		t.row("problem", fmt.Sprintf("%s, since %s", problem.What, when(&problem.Since, now)))
		t.row("", "to do: "+problem.Todo)
	}
	return t.print()
}

// conditionText tells how the store is: "writable, 120 records to be sealed under
// the new data key".
func conditionText(s client.StoreStatus) string {
	parts := []string{map[bool]string{true: "writable", false: "NOT WRITABLE"}[s.Writable]}
	if s.Repairs > 0 {
		parts = append(parts, "was damaged and has repaired itself: look after the disk, and back up")
	}
	if s.OutdatedRecords > 0 {
		parts = append(parts, fmt.Sprintf("%d records to be sealed under the new data key", s.OutdatedRecords))
	}
	return strings.Join(parts, ", ")
}

// countsOf tells the credentials by status: "3 active, 1 reauth_required".
func countsOf(credentials map[string]int) string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(credentials)) {
		if n := credentials[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
