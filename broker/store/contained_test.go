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

// One damaged summary is named, never served and never silently absent, and all
// others are read and written. Once the credential is deleted all is well.
func TestDamagedSummaries(t *testing.T) {
	flip := func(back int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) {
				value := x.read(summaryAt("id-1"))
				value[len(value)-back] ^= 1
				x.write(summaryAt("id-1"), value)
			})
		}
	}
	for name, do := range map[string]func(t *testing.T, dir string){
		"lost": func(t *testing.T, dir string) { tamper(t, dir, func(x tamperer) { x.write(summaryAt("id-1"), nil) }) },
		"emptied": func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) { x.write(summaryAt("id-1"), []byte{}) })
		},
		"swapped": func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) { x.write(summaryAt("id-1"), x.read(summaryAt("id-2"))) })
		},
		"rolled back": func(t *testing.T, dir string) {
			old, _ := update(t, dir)
			tamper(t, dir, func(x tamperer) { x.write(summaryAt("id-1"), old) })
		},
		"under a key that is not its own": func(t *testing.T, dir string) {
			tamper(t, dir, func(x tamperer) {
				value := x.read(summaryAt("id-1"))
				x.write(summaryAt("id-1"), nil)
				x.write(summaryAt("nobody"), value)
			})
		},
		"uncovering an older one": func(t *testing.T, dir string) {
			oldSummary, oldBody := update(t, dir)
			tamper(t, dir, func(x tamperer) {
				x.write(summaryAt("nobody"), x.read(summaryAt("id-1")))
				x.write(summaryAt("id-1"), oldSummary)
				x.write(bodyAt("id-1"), oldBody)
			})
		},
		"altered in its tag":      flip(1),
		"altered in its content":  flip(tagSize + 5),
		"altered in its id":       func(t *testing.T, dir string) { alterAt(t, dir, 8) },
		"altered in its version":  func(t *testing.T, dir string) { alterAt(t, dir, 0) },
		"altered in its revision": func(t *testing.T, dir string) { alterAt(t, dir, 8+len("id-1")+7) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			do(t, dir)
			for range 2 { // it stays so
				db := open(t, dir)
				wantDamaged(t, db)
				closeStore(t, db)
			}
			db := open(t, dir)
			wantDamaged(t, db)
			if err := db.Delete(t.Context(), "id-1"); err != nil {
				t.Fatalf("Delete of a damaged credential: %v", err)
			}
			for range 2 {
				if _, err := db.Get(t.Context(), "id-1"); !errors.Is(err, broker.ErrNotFound) {
					t.Errorf("Get of what was deleted = %v, want ErrNotFound", err)
				}
				if _, err := db.Check(t.Context()); err != nil {
					t.Errorf("Check once it was deleted: %v", err)
				}
				closeStore(t, db)
				db = open(t, dir)
			}
			if _, err := db.Create(t.Context(), brokertest.FullCredential("id-1")); err != nil {
				t.Errorf("Create in its place: %v", err)
			}
		})
	}
}

func alterAt(t *testing.T, dir string, at int) {
	t.Helper()
	tamper(t, dir, func(x tamperer) {
		value := x.read(summaryAt("id-1"))
		value[at] ^= 1
		x.write(summaryAt("id-1"), value)
	})
}

// wantDamaged checks that id-1 is known to be damaged, and all else is served.
func wantDamaged(t *testing.T, db *DB) {
	t.Helper()
	for s, err := range db.Summaries(t.Context()) {
		if err == nil && s.ID == "id-1" {
			// What was altered in nothing that its envelope shows is found when it is
			// opened, what is in a false place before.
			if _, err := db.Get(t.Context(), "id-1"); err == nil {
				t.Errorf("Summaries yields the damaged id-1")
			}
		}
	}
	named := false
	for _, d := range db.Damaged() {
		named = named || d.ID == "id-1"
		if d.ID != "id-1" || !d.OfCredential() {
			t.Errorf("Damaged names %s %q, want only id-1", d.Kind, d.ID)
		}
	}
	if !named {
		t.Error("Damaged does not name id-1")
	}
	_, err := db.Get(t.Context(), "id-1")
	damage(t, err, "id-1")
	if _, err := db.Create(t.Context(), brokertest.FullCredential("id-1")); !errors.Is(err, broker.ErrDamaged) && !errors.Is(err, broker.ErrConflict) {
		t.Errorf("Create in the place of a damaged credential = %v, want ErrDamaged or ErrConflict", err)
	}
	if _, err := db.Update(t.Context(), "id-2", func(c *broker.Credential) error { c.ReadCount++; return nil }); err != nil {
		t.Errorf("Update of another credential: %v", err)
	}
	if _, err := db.Check(t.Context()); err == nil || !strings.Contains(err.Error(), `"id-1"`) {
		t.Errorf("Check = %v, want it to name id-1", err)
	}
}

// A bit of a record in a table hits that record, and the background names it.
func TestDamagedBlock(t *testing.T) {
	dir := filled(t)
	hits := 0
	tables, _ := filepath.Glob(filepath.Join(dir, recordsFolder, "*.sst"))
	for _, path := range tables {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 100; at < len(data); at += 97 {
			damagedDir := copyOf(t, dir)
			if err := os.WriteFile(filepath.Join(damagedDir, recordsFolder, filepath.Base(path)), flipped(at)(append([]byte(nil), data...)), 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := Open(testConfig(t, damagedDir))
			if err != nil {
				if !errors.Is(err, broker.ErrStoreUnavailable) {
					t.Errorf("Open with byte %d changed = %v", at, err)
				}
				continue
			}
			served := 0
			for _, id := range []broker.ID{"id-0", "id-1", "id-2", "id-3", "id-4"} {
				_, err := db.Get(t.Context(), id)
				if err == nil {
					served++
				} else if !errors.Is(err, broker.ErrDamaged) {
					t.Errorf("Get(%s) with byte %d changed = %v, want it or ErrDamaged", id, at, err)
				}
			}
			if served < 5 {
				hits++
			}
			closeStore(t, db)
		}
	}
	if hits == 0 {
		t.Error("no byte that was changed hits a credential, so nothing is shown")
	}
}
