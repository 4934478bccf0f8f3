package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/socket/client"
)

func newShowCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show REF",
		Short:   "Show a credential, its secrets masked",
		Long:    `Show a credential: its kind, its status and why, when it is renewed. Secrets are masked.`,
		Example: `  invectd show work`,
		Args:    cobra.ExactArgs(1),
	}
	d, asJSON := addDaemonFlag(p, cmd), addJSONFlag(cmd)
	cmd.ValidArgsFunction = d.completeRef
	cmd.RunE = d.with(func(cmd *cobra.Command, args []string, c *client.Client) error {
		credential, err := c.Credential(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(p.stdout, credential)
		}
		return printCredential(p, credential, time.Now())
	})
	return cmd
}

func printCredential(p program, c client.Credential, now time.Time) error {
	t := newTable(p.stdout)
	t.field("name", c.Name)
	t.field("id", c.ID)
	t.field("kind", c.AuthType)
	t.field("type", c.Type)
	t.field("provider", orEmpty(c.Provider))
	t.field("description", orEmpty(c.Description))
	t.field("workspace", orEmpty(c.WorkspaceID))
	t.field("status", c.Status)
	t.field("because", orEmpty(c.StatusReason))
	t.field("generation", strconv.FormatUint(c.Generation, 10))
	t.field("expires", moment(c.ExpiresAt, now))
	t.field("next refresh", moment(c.NextRefreshAt, now))
	t.field("last refresh", moment(c.LastRefreshAt, now))
	t.field("last used", moment(c.LastUsedAt, now))
	t.field("created", moment(&c.CreatedAt, now))
	t.field("updated", moment(&c.UpdatedAt, now))
	for _, key := range slices.Sorted(maps.Keys(c.Config)) {
		t.field("config."+key, compact(c.Config[key]))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Metadata)) {
		t.field("metadata."+key, compact(c.Metadata[key]))
	}
	return t.print()
}

// moment is a time and how far away it is; "" for none.
func moment(at *time.Time, now time.Time) string {
	if at == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s)", at.UTC().Format(time.RFC3339), when(at, now))
}

// compact is a JSON value on one line, a string without its quotes.
func compact(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	// It came as JSON, so it can be written as such.
	data, _ := json.Marshal(value)
	return string(data)
}
