package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// crashed is the folder of a store as a killed process leaves it: what is in
// Badger's log was not moved to a table by a Close.
func crashed(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	closeStore(t, open(t, dir))
	killAfter(t, dir, 20)
	return dir
}

// logs are the files that Badger replays in Open.
func logs(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, recordsFolder, "*.mem"))
	if err != nil || len(found) == 0 {
		t.Fatalf("Badger's logs = %v, %v, want some", found, err)
	}
	return found
}

func TestHead(t *testing.T) {
	dir := filled(t)
	path := filepath.Join(dir, headFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	altered := func(slots ...int) []byte {
		data := append([]byte(nil), whole...)
		for _, slot := range slots {
			data[slot*headSlot+10] ^= 1
		}
		return data
	}
	for slot := range 2 {
		put(altered(slot)) // torn by a power cut
		closeStore(t, open(t, dir))
	}
	for name, data := range map[string][]byte{"both slots altered": altered(0, 1), "emptied": nil, "cut short": whole[:10]} {
		put(data)
		if _, err := Open(testConfig(t, dir)); !errors.Is(err, broker.ErrStoreUnavailable) {
			t.Errorf("Open with a head that has %s = %v, want a DamagedError", name, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig(t, dir)); err == nil || !strings.Contains(err.Error(), "head is missing") {
		t.Errorf("Open without a head = %v, want it to say so", err)
	}
	put(whole)
	closeStore(t, open(t, dir))
}

// A folder of records put back to an earlier state does not match the head.
func TestRecordsPutBack(t *testing.T) {
	dir := filled(t)
	kept := t.TempDir()
	if err := os.CopyFS(filepath.Join(kept, recordsFolder), os.DirFS(filepath.Join(dir, recordsFolder))); err != nil {
		t.Fatal(err)
	}
	db := open(t, dir)
	if _, err := db.Create(t.Context(), brokertest.FullCredential("newer")); err != nil {
		t.Fatal(err)
	}
	closeStore(t, db)
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, recordsFolder)), os.Rename(filepath.Join(kept, recordsFolder), filepath.Join(dir, recordsFolder))); err != nil {
		t.Fatal(err)
	}
	_, err := Open(testConfig(t, dir))
	damage(t, err)
}
