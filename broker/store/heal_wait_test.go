package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// Who takes a backup and stops reading does not keep a store that failed from
// coming back.
func TestStalledBackup(t *testing.T) {
	db, mend, cause := failing(t)
	r, w := io.Pipe()
	ended := make(chan error)
	go func() { ended <- db.Backup(t.Context(), w) }()
	if _, err := r.Read(make([]byte, 1)); err != nil { // and no more
		t.Fatal(err)
	}
	if _, err := db.Update(t.Context(), "one", rename); !errors.Is(err, cause) {
		t.Fatalf("Update = %v, want the cause", err)
	}
	mend()
	waitWritable(t, db)
	r.CloseWithError(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("Backup to a client that went away = %v, want its error", err)
	}
}

// Openings that fail leave no descriptor behind, wherever they do.
func TestFailedOpeningsLeaveNothing(t *testing.T) {
	for name, at := range map[string]int{"the end of the log": 2000, "the number of the log's key": 7} {
		t.Run(name, func(t *testing.T) {
			dir := crashed(t)
			damageLogs(t, dir, flipped(at))
			if err := os.Truncate(filepath.Join(dir, journalFile), 10); err != nil {
				t.Fatal(err)
			}
			open := func() {
				t.Helper()
				if _, err := Open(testConfig(t, dir)); !errors.Is(err, broker.ErrStoreUnavailable) {
					t.Fatalf("Open = %v, want ErrStoreUnavailable", err)
				}
			}
			open() // what the process opens once
			before := descriptors(t)
			for range 20 {
				open()
			}
			if after := descriptors(t); after > before+2 {
				t.Errorf("after 20 openings that failed there are %d descriptors, want the %d from before", after, before)
			}
		})
	}
}

// A store that cannot come back tries, and leaves no descriptor behind either.
func TestFailedHealingLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := db.Create(t.Context(), brokertest.FullCredential("one")); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("input/output error")
	db.commitTxn = func(*badger.Txn) error { return cause }
	manifest := filepath.Join(dir, recordsFolder, badger.ManifestFilename)
	if err := os.Rename(manifest, manifest+".away"); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	if _, err := db.Update(t.Context(), "one", rename); !errors.Is(err, cause) {
		t.Fatalf("Update = %v, want the cause", err)
	}
	for range 20 {
		if err := db.heal(); err == nil {
			t.Fatal("heal without a manifest = nil")
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("after 20 attempts to heal there are %d descriptors, want no more than %d", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(all)
}
