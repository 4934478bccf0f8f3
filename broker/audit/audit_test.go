package audit

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

var (
	discard = slog.New(slog.DiscardHandler)
	testKey = bytes.Repeat([]byte{7}, keySize)
	runner  = broker.Caller{UID: 1000, GID: 1000, PID: 42, Attested: true}
	someone = broker.AuditEntry{Caller: runner, Verb: broker.VerbWrite, CredentialID: "c1", Rule: "writers"}
)

// open opens a log that is closed with the test, if it was not before.
func open(t *testing.T, c Config) *Log {
	t.Helper()
	c.Key, c.Log = testKey, discard
	l, err := Open(c)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return l
}

// abandonAll leaves a log as kill -9 does.
func kill(l *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abandon()
	if l.head != nil {
		l.head.file.Close()
	}
}

func closeLog(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
}

// change writes a change and its outcome.
func change(t *testing.T, l *Log) uint64 {
	t.Helper()
	line, err := l.Begin(someone)
	if err != nil {
		t.Fatalf("Begin = %v", err)
	}
	l.End(line, someone, broker.Outcome{})
	return line
}

func verify(t *testing.T, dir string) Report {
	t.Helper()
	r, err := Verify(dir, testKey, nil)
	if err != nil {
		t.Fatalf("Verify = %v", err)
	}
	return r
}

func wantWhole(t *testing.T, dir string) Report {
	t.Helper()
	r := verify(t, dir)
	if len(r.Problems) > 0 || len(r.Notices) > 0 {
		t.Fatalf("Verify found %v and %v, want nothing", r.Problems, r.Notices)
	}
	return r
}

// wantProblem fails unless the first problem says what, at a place.
func wantProblem(t *testing.T, dir, what string) {
	t.Helper()
	r := verify(t, dir)
	if len(r.Problems) == 0 || !strings.Contains(r.Problems[0].String(), what) {
		t.Errorf("Verify found %v, want %q", r.Problems, what)
	}
}

func lines(t *testing.T, dir string) []Line {
	t.Helper()
	var all []Line
	for line, err := range Lines(dir, 0) {
		if err != nil {
			t.Fatalf("Lines = %v", err)
		}
		all = append(all, line)
	}
	return all
}

func events(t *testing.T, dir string) []Event {
	t.Helper()
	var all []Event
	for _, line := range lines(t, dir) {
		all = append(all, line.Event)
	}
	return all
}

// copyLog copies the files of a log.
func copyLog(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func onlyFile(t *testing.T, dir string) string {
	t.Helper()
	names, err := listFiles(filepath.Join(dir, folderName))
	if err != nil || len(names) != 1 {
		t.Fatalf("the files are %v, %v, want one", names, err)
	}
	return filepath.Join(dir, folderName, names[0])
}

func TestWhatIsWritten(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	first, err := l.Begin(someone)
	if err != nil {
		t.Fatal(err)
	}
	l.End(first, someone, broker.Outcome{CredentialID: "c2", Handout: broker.Handout{Generation: 3, Secret: broker.NewSecret("tok-en")}})
	second, err := l.Begin(someone)
	if err != nil {
		t.Fatal(err)
	}
	l.End(second, someone, broker.Outcome{Err: broker.ErrConflict})
	l.Denied(broker.AuditEntry{Caller: broker.Caller{}, Verb: broker.VerbToken, CredentialID: "c1", Rule: "unattested"})
	closeLog(t, l)
	got := lines(t, dir)
	want := []Event{EventBegun, EventStarted, EventChange, EventOutcome, EventChange, EventOutcome, EventDenied, EventStopped}
	if e := events(t, dir); !slices.Equal(e, want) {
		t.Fatalf("the events are %v, want %v", e, want)
	}
	begun, made, failed, denied := got[2], got[3], got[5], got[6]
	if begun.Seq != first || *begun.Caller.UID != 1000 || *begun.Caller.GID != 1000 || begun.Caller.PID != 42 ||
		begun.Verb != "write" || begun.Credential != "c1" || begun.Rule != "writers" {
		t.Errorf("the change is %+v of %+v", begun, begun.Caller)
	}
	if made.Of != first || made.Outcome != done || made.Credential != "c2" || made.Generation != 3 || len(made.Token) != 16 {
		t.Errorf("its outcome is %+v", made)
	}
	if failed.Of != second || failed.Outcome != "conflict" || failed.Credential != "c1" {
		t.Errorf("the other outcome is %+v", failed)
	}
	if denied.Caller.Kind != "unattested" || denied.Caller.UID != nil {
		t.Errorf("the denial is of %+v", denied.Caller)
	}
	if text, err := os.ReadFile(onlyFile(t, dir)); err != nil || bytes.Contains(text, []byte("tok-en")) {
		t.Errorf("a token is in the log, or it cannot be read: %v", err)
	}
	if r := wantWhole(t, dir); r.Lines != 8 || r.First != 1 || r.Last.Line != 8 {
		t.Errorf("Verify = %+v", r)
	}
}
