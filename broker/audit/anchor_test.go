package audit

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A memory is an anchor.
type memory struct {
	line uint64
	mac  []byte
}

func (m *memory) AuditMark(context.Context) (uint64, []byte, error) { return m.line, m.mac, nil }

func (m *memory) PutAuditMark(_ context.Context, line uint64, mac []byte) error {
	m.line, m.mac = line, append([]byte(nil), mac...)
	return nil
}

// TestAnchor finds out who removes a log with its head, or puts an earlier one in
// its place, at the next start.
func TestAnchor(t *testing.T) {
	anchor := new(memory)
	dir := t.TempDir()
	config := Config{Dir: dir, Anchor: anchor}
	l := open(t, config)
	change(t, l)
	closeLog(t, l)
	earlier := copyLog(t, dir)
	l = open(t, config)
	change(t, l)
	closeLog(t, l)
	if anchor.line != 9 {
		t.Fatalf("the anchor knows line %d, want the last one, 9", anchor.line)
	}
	for what, put := range map[string]func(dir string) error{
		"removed":  func(string) error { return nil },
		"put back": func(dir string) error { return os.CopyFS(dir, os.DirFS(earlier)) },
	} {
		t.Run(what, func(t *testing.T) {
			dir, anchor := t.TempDir(), *anchor
			if err := put(dir); err != nil {
				t.Fatal(err)
			}
			l := open(t, Config{Dir: dir, Anchor: &anchor})
			if !l.State().Altered {
				t.Error("State does not say that the log was altered")
			}
			closeLog(t, l)
			wantProblem(t, dir, "lines ")
			if _, err := os.Stat(filepath.Join(dir, folderName, fileName(10))); err != nil {
				t.Errorf("the log does not go on with line 10: %v", err)
			}
		})
	}
}
