package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/spf13/cobra"
)

// addJSONFlag adds --json to a command.
func addJSONFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print the daemon's answer as JSON")
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// A table aligns columns. Its cells never reach the terminal with control
// characters, which could come from a provider.
type table struct{ tab *tabwriter.Writer }

func newTable(w io.Writer, headings ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(headings) > 0 {
		t.row(headings...)
	}
	return t
}

func (t table) row(cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t.tab, "\t")
		}
		fmt.Fprint(t.tab, printable(cell))
	}
	fmt.Fprintln(t.tab)
}

// field is a row of a name and a value; without a value there is none.
func (t table) field(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

// print writes the table out.
func (t table) print() error { return t.tab.Flush() }

// printable returns text without control characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// when tells a time from now as people do: "in 54m", "3h ago"; "-" for none.
func when(at *time.Time, now time.Time) string {
	switch {
	case at == nil:
		return "-"
	case at.After(now):
		return "in " + short(at.Sub(now))
	}
	return short(now.Sub(*at)) + " ago"
}

// short rounds a duration down to its largest unit.
func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// terminal returns the file behind a reader or writer if it is a terminal.
func terminal(stream any) (*os.File, bool) {
	file, ok := stream.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}
