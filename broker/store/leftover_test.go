package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/invectd/invectd/broker/brokertest"
)

// TestEmptyLogs: what a kill in the middle of closing leaves behind keeps nobody
// from opening the store, and nothing is lost with it.
func TestEmptyLogs(t *testing.T) {
	dir, key := t.TempDir(), testKey(t, 7)
	open := func() *DB {
		t.Helper()
		db, err := Open(Config{Dir: dir, Key: key})
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		return db
	}
	db := open()
	want, err := db.Create(t.Context(), brokertest.FullCredential("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00001.mem", "00042.mem"} {
		path := filepath.Join(dir, recordsFolder, name)
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			continue // it is in use
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db = open()
	defer db.Close()
	if got, err := db.Get(t.Context(), "a"); err != nil || got.Revision != want.Revision {
		t.Errorf("Get = revision %d, %v, want %d", got.Revision, err, want.Revision)
	}
}
