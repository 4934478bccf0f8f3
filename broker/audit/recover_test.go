package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
)

// TestKilledAnywhere kills the log as it writes its last line, at each byte of it:
// with the head of before, since the head is written after the line.
func TestKilledAnywhere(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	change(t, l)
	path := onlyFile(t, dir)
	before, err := os.ReadFile(filepath.Join(dir, headName))
	if err != nil {
		t.Fatal(err)
	}
	short, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Denied(someone)
	kill(l)
	long, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := int(short.Size()); size <= len(long); size++ {
		if err := os.WriteFile(path, long[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, headName), before, 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, Config{Dir: dir})
		change(t, again)
		closeLog(t, again)
		wantWhole(t, dir)
		torn := size > int(short.Size()) && size < len(long)
		if told := slices.Contains(events(t, dir), EventMended); told != torn {
			t.Errorf("cut to %d of %d bytes, a mended line is told: %t, want %t", size, len(long), told, torn)
		}
	}
}

// TestPowerCut loses lines that were not synced, which is told and excused, and
// then one that was, which is not.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	change(t, l) // its outcome, line 4, is not synced
	l.Denied(someone)
	kill(l)
	path := onlyFile(t, dir)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := splitLines(data)
	if len(all) != 5 {
		t.Fatalf("there are %d lines, want 5", len(all))
	}
	unlucky := copyLog(t, dir)
	cut(t, path, append(all[:3:3], all[3][:20])) // torn, too
	closeLog(t, open(t, Config{Dir: dir}))
	if r := verify(t, dir); len(r.Problems) > 0 || len(r.Notices) != 1 || !strings.Contains(r.Notices[0], "lines 4 to 5 are missing") {
		t.Errorf("Verify found %v and %v, want only a notice", r.Problems, r.Notices)
	}
	cut(t, onlyFile(t, unlucky), all[:2])
	closeLog(t, open(t, Config{Dir: unlucky}))
	wantProblem(t, unlucky, "lines 3 to 5 are missing")
}

func cut(t *testing.T, path string, to [][]byte) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Join(to, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRotation keeps the chain over files, and tells which it removes.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	config := Config{Dir: dir, MaxSize: 2000, Keep: 3}
	for range 3 {
		l := open(t, config)
		for range 20 {
			change(t, l)
		}
		closeLog(t, l)
	}
	r := wantWhole(t, dir)
	if r.Files != 3 || r.First < 100 {
		t.Errorf("%d files are left, from line %d on, want 3 from a later one", r.Files, r.First)
	}
	names, err := listFiles(filepath.Join(dir, folderName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, folderName, names[0])); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, dir, "the daemon did not remove them")
}

// TestFullDisk has changes refused while nothing can be written, and tells
// afterwards how much is missing.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	change(t, l)
	fill(t, l)
	for range 3 {
		if _, err := l.Begin(someone); err == nil {
			t.Fatal("Begin = nil on a full disk")
		}
	}
	l.Read(someone, broker.Handout{Generation: 1})
	if s := l.State(); s.Failure == nil || s.Missed != 4 {
		t.Errorf("State = %+v on a full disk, want a failure and 4 missed", s)
	}
	empty(t, l)
	l.retry()
	if s := l.State(); s.Failure != nil || s.Missed != 4 || s.Altered {
		t.Errorf("State = %+v after there was room, want no failure and 4 missed", s)
	}
	change(t, l)
	closeLog(t, l)
	wantWhole(t, dir)
	all := lines(t, dir)
	i := slices.IndexFunc(all, func(l Line) bool { return l.Event == EventMissed })
	if i < 0 || all[i].Count != 4 || all[i].Since == nil {
		t.Errorf("the lines are %v, want one that says that 4 are missing", events(t, dir))
	}
}

// fill makes the folder one that nothing can be written to.
func fill(t *testing.T, l *Log) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	l.file.Close()
	l.file = full
	// No new file can be begun either.
	if err := os.Rename(l.config.folder(), l.config.folder()+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.config.folder(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, l *Log) {
	t.Helper()
	if err := os.Remove(l.config.folder()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.config.folder()+".away", l.config.folder()); err != nil {
		t.Fatal(err)
	}
}

// TestRemovedUnderneath has a running daemon see that its files are taken away.
func TestRemovedUnderneath(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	change(t, l)
	if err := os.RemoveAll(filepath.Join(dir, folderName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, headName)); err != nil {
		t.Fatal(err)
	}
	l.look()
	change(t, l)
	closeLog(t, l)
	if got := events(t, dir); !slices.Equal(got[:3], []Event{EventContinued, EventMended, EventMended}) {
		t.Errorf("the events are %v, want two that tell of it", got)
	}
	wantProblem(t, dir, "lines 1 to 4 are missing before it, and the daemon did not remove them")
}

// TestSyncFails does not trust a file whose sync failed.
func TestSyncFails(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	change(t, l)
	l.mu.Lock()
	good := l.file
	read, write, err := os.Pipe() // cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	l.file = write
	number := l.last.seq + 1
	l.mu.Unlock()
	if err := l.sync(number); err == nil {
		t.Fatal("sync = nil of what cannot be synced")
	}
	good.Close()
	change(t, l)
	closeLog(t, l)
	if r := wantWhole(t, dir); r.Files != 2 {
		t.Errorf("there are %d files, want a new one after the failure", r.Files)
	}
}
