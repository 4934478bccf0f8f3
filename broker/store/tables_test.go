package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A table whose index or footer is hit is named, before Badger opens it and ends
// the process over it.
func TestDamagedTableIndex(t *testing.T) {
	dir := filled(t)
	tables, err := filepath.Glob(filepath.Join(dir, recordsFolder, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("Badger's tables = %v, %v, want some", tables, err)
	}
	path := tables[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for back := 1; back <= 120; back += 2 {
		data := append([]byte(nil), whole...)
		data[len(data)-back] ^= 1 << (back % 8)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(testConfig(t, dir))
		if damage(t, err); !strings.Contains(err.Error(), path) {
			t.Errorf("Open with byte %d from the end changed = %v, want it to name %s", back, err, path)
		}
	}
	for name, data := range map[string][]byte{"cut short": whole[:len(whole)/2], "emptied": nil} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(testConfig(t, dir))
		if damage(t, err); !strings.Contains(err.Error(), path) {
			t.Errorf("Open with a table that is %s = %v, want it to name %s", name, err, path)
		}
	}
}
