package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/invectd/invectd/broker/audit"
	"github.com/invectd/invectd/broker/store"
)

// followInterval is how often a log that is followed is looked at.
const followInterval = 200 * time.Millisecond

// An auditFilter chooses lines.
type auditFilter struct {
	since      time.Duration
	credential string
	denied     bool
	limit      int
	follow     bool
}

func newAuditCommand(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who asked for what, and what was done",
		Long: `Show who asked for what, and what was done: the newest lines of the audit log, as
they lie in the folder "audit" of the data directory, which takes leave to read
that. Whether they are genuine is what "invectd audit verify" tells.

Each change has a line before it, and one with its outcome. Repeated reads, and
denials of a caller who does not stop asking, are counted once a minute.`,
		Example: `  invectd audit --since 1h --denied
  invectd audit --credential 0f8a… --limit 0 --json
  invectd audit --follow`,
		Args: cobra.NoArgs,
	}
	dataDir := addDataDirFlag(p, cmd.PersistentFlags())
	asJSON := cmd.Flags().Bool("json", false, "print the lines as JSON")
	var f auditFilter
	cmd.Flags().DurationVar(&f.since, "since", 0, "only lines that are not older than this, such as 1h")
	cmd.Flags().StringVar(&f.credential, "credential", "", "only lines about the credential with this `ID`, or that was asked for by this name")
	cmd.Flags().BoolVar(&f.denied, "denied", false, "only denials")
	cmd.Flags().IntVarP(&f.limit, "limit", "n", 50, "at most so many of the newest lines, 0 for all")
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with new lines as they come")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.limit < 0 {
			return usagef("--limit %d: give a number of lines, or 0 for all", f.limit)
		}
		return f.show(cmd.Context(), p, *dataDir, *asJSON)
	}
	cmd.AddCommand(newAuditVerifyCommand(p, dataDir))
	return cmd
}

func newAuditVerifyCommand(p program, dataDir *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Look whether anybody changed the audit log",
		Long: `Look whether anybody changed the audit log: every line that was edited, removed,
inserted or moved is named, by file and line. The daemon may run meanwhile. The
encryption key is given as to "invectd serve".

A log that was put back to an earlier state as a whole, with the file "audit.head",
looks as it did then. To find that out, keep the last line and its mac elsewhere, as
the daemon logs them (message "audit") or /metrics has them, and give them here.`,
		Example: `  invectd audit verify --data-dir /var/lib/invectd
  invectd audit verify --expect 1207:9f4c01adea15`,
		Args: cobra.NoArgs,
	}
	expect := cmd.Flags().String("expect", "", "`LINE:MAC` that has to be in the log, the mac by its first digits")
	cmd.RunE = func(*cobra.Command, []string) error {
		var kept *audit.Kept
		if *expect != "" {
			parsed, err := audit.ParseKept(*expect)
			if err != nil {
				return usagef("--expect %v", err)
			}
			kept = &parsed
		}
		return verifyAudit(p, *dataDir, kept)
	}
	return cmd
}

// takeAuditKey returns the key of the audit log, by the operator's key.
func takeAuditKey(p program, dataDir string) ([]byte, error) {
	kek, err := takeKey(p)
	if err != nil {
		return nil, err
	}
	key, err := store.ReadAuditKey(dataDir, kek)
	if err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", dataDir, err)
	}
	return key, nil
}

func verifyAudit(p program, dataDir string, kept *audit.Kept) error {
	key, err := takeAuditKey(p, dataDir)
	if err != nil {
		return err
	}
	report, err := audit.Verify(dataDir, key, kept)
	if err != nil {
		return fmt.Errorf("verifying the audit log in %s: %w", dataDir, err)
	}
	for _, notice := range report.Notices {
		fmt.Fprintln(p.stderr, "notice:", notice)
	}
	for _, problem := range report.Problems {
		fmt.Fprintln(p.stderr, "problem:", problem)
	}
	if n := len(report.Problems); n > 0 {
		return fmt.Errorf("the audit log in %s is not what was written (%s): keep a copy, and compare it with what was kept elsewhere", dataDir, plural(n, "problem"))
	}
	_, err = fmt.Fprintf(p.stdout, "the audit log in %s is whole: lines %d to %d in %s\nthe last line has the mac %s\n",
		dataDir, report.First, report.Last.Line, plural(report.Files, "file"), report.Last.MAC)
	return err
}

// plural counts things: "1 file", "2 files".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// show prints the lines that match.
func (f *auditFilter) show(ctx context.Context, p program, dir string, asJSON bool) error {
	chosen, last, err := f.choose(dir, 0, time.Now())
	if err != nil {
		return fmt.Errorf("reading the audit log in %s: %w", dir, err)
	}
	if f.limit > 0 && len(chosen) > f.limit {
		chosen = chosen[len(chosen)-f.limit:]
	}
	if err := printLines(p, chosen, asJSON, true); err != nil || !f.follow {
		return err
	}
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if chosen, last, err = f.choose(dir, last, time.Now()); err != nil {
			return fmt.Errorf("reading the audit log in %s: %w", dir, err)
		}
		if err := printLines(p, chosen, asJSON, false); err != nil {
			return err
		}
	}
}

// choose returns the lines after one that match, and the number of the last.
func (f *auditFilter) choose(dir string, after uint64, now time.Time) (chosen []audit.Line, last uint64, err error) {
	last = after
	for line, err := range audit.Lines(dir, after) {
		if err != nil {
			return nil, 0, err
		}
		last = line.Seq
		if f.matches(&line, now) {
			chosen = append(chosen, line)
		}
	}
	return chosen, last, nil
}

func (f *auditFilter) matches(line *audit.Line, now time.Time) bool {
	return (f.since == 0 || now.Sub(line.At) <= f.since) &&
		(f.credential == "" || line.Credential == f.credential || line.Target == f.credential) &&
		(!f.denied || line.Event == audit.EventDenied || line.Event == audit.EventDenials)
}

func printLines(p program, lines []audit.Line, asJSON, headings bool) error {
	if asJSON {
		encoder := json.NewEncoder(p.stdout)
		for i := range lines {
			if err := encoder.Encode(&lines[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(lines) == 0 {
		return nil
	}
	t := newTable(p.stdout)
	if headings {
		t.row("LINE", "TIME", "CALLER", "EVENT", "VERB", "CREDENTIAL", "TARGET", "MORE")
	}
	for i := range lines {
		l := &lines[i]
		t.row(strconv.FormatUint(l.Seq, 10), l.At.Local().Format(time.DateTime), callerText(l.Caller), string(l.Event),
			cmp.Or(l.Verb, "-"), cmp.Or(l.Credential, "-"), cmp.Or(l.Target, "-"), moreOf(l))
	}
	return t.print()
}

func callerText(c *audit.Caller) string {
	switch {
	case c == nil:
		return "-"
	case c.UID == nil:
		return c.Kind
	}
	return fmt.Sprintf("uid %d", *c.UID)
}

// moreOf tells what has no column of its own.
func moreOf(l *audit.Line) string {
	var more []string
	add := func(is bool, format string, value any) {
		if is {
			more = append(more, fmt.Sprintf(format, value))
		}
	}
	add(l.Outcome != "", "%s", l.Outcome)
	add(l.Event == audit.EventOutcome, "of line %d", l.Of)
	add(l.Count > 0, "%d times", l.Count)
	add(l.Generation > 0, "generation %d", l.Generation)
	add(l.Rule != "", "rule %s", l.Rule)
	add(l.Before > 0, "up to line %d", l.Before-1)
	add(l.Detail != "", "%s", l.Detail)
	return strings.Join(more, ", ")
}
