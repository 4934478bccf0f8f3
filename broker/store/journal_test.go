package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// damageLogs changes every log of Badger's with the function.
func damageLogs(t *testing.T, dir string, change func(data []byte) []byte) {
	t.Helper()
	for _, path := range logs(t, dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func flipped(at int) func([]byte) []byte {
	return func(data []byte) []byte { data[at] ^= 1; return data }
}

// wantCounters checks that the counters are all there, at what was acknowledged
// or one unacknowledged write further.
func wantCounters(t *testing.T, db *DB, acknowledged []uint64) {
	t.Helper()
	for n, want := range acknowledged {
		c, err := db.Get(t.Context(), crashID(n))
		if err != nil || c.ReadCount < want || c.ReadCount > want+1 {
			t.Errorf("%s = %d, %v, want %d", crashID(n), c.ReadCount, err, want)
		}
	}
	if _, err := db.Check(t.Context()); err != nil {
		t.Errorf("Check of a store that was repaired: %v", err)
	}
}

// Badger drops what follows a flipped bit in its log, and says nothing; where it
// cannot open its log it gives up. The journal makes good for both.
func TestDamagedLogIsRepaired(t *testing.T) {
	whole := t.TempDir()
	closeStore(t, open(t, whole))
	acknowledged := killAfter(t, whole, 60)
	for name, change := range map[string]func([]byte) []byte{
		"a bit flipped in the middle": flipped(2000),
		"a bit of the first entry":    flipped(30),
		"the number of its key":       flipped(7),
		"its initial vector":          flipped(12),
		"cut short":                   func(data []byte) []byte { return data[:3000] },
		"cut to its header":           func(data []byte) []byte { return data[:10] },
		"emptied":                     func([]byte) []byte { return nil },
		"zeros":                       func(data []byte) []byte { return make([]byte, len(data)) },
		"nonsense":                    func(data []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(data)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t, whole)
			damageLogs(t, dir, change)
			db := open(t, dir)
			wantCounters(t, db, acknowledged)
			if n := db.Repairs(); n != 1 {
				t.Errorf("Repairs = %d, want 1", n)
			}
			if _, err := db.Create(t.Context(), brokertest.FullCredential("later")); err != nil {
				t.Errorf("Create in a store that was repaired: %v", err)
			}
			closeStore(t, db)
			db = open(t, dir)
			if n := db.Repairs(); n != 0 {
				t.Errorf("Repairs at the next opening = %d, want 0", n)
			}
			wantCounters(t, db, acknowledged)
			if left, _ := filepath.Glob(filepath.Join(dir, recordsFolder, "*"+asideSuffix)); len(left) > 0 {
				t.Errorf("the repair leaves %v", left)
			}
		})
	}
}

// A damaged journal is told and never trusted, and does no harm where Badger is
// whole. Damaged together with Badger's log, what is lost is told as ever.
func TestDamagedJournal(t *testing.T) {
	whole := t.TempDir()
	closeStore(t, open(t, whole))
	acknowledged := killAfter(t, whole, 60)
	path := func(dir string) string { return filepath.Join(dir, journalFile) }
	data, err := os.ReadFile(path(whole))
	if err != nil || len(data) < 10_000 {
		t.Fatalf("the journal has %d bytes, %v, want more", len(data), err)
	}
	damages := map[string][]byte{"emptied": nil, "cut short": data[:len(data)/2], "nonsense": bytes.Repeat([]byte{0xa5}, len(data))}
	for at := 0; at < len(data)*9/10; at += len(data) / 12 { // the last may be of a write that was not acknowledged
		damages[fmt.Sprintf("byte %d flipped", at)] = flipped(at)(bytes.Clone(data))
	}
	for name, damage := range damages {
		dir := copyOf(t, whole)
		if err := os.WriteFile(path(dir), damage, 0o600); err != nil {
			t.Fatal(err)
		}
		db := open(t, dir)
		wantCounters(t, db, acknowledged)
		if n := db.Repairs(); (n == 0) != (damage == nil) {
			t.Errorf("with a journal that is %s: Repairs = %d", name, n)
		}
		closeStore(t, db)

		dir = copyOf(t, whole)
		if err := os.WriteFile(path(dir), damage, 0o600); err != nil {
			t.Fatal(err)
		}
		damageLogs(t, dir, flipped(30))
		_, err := Open(testConfig(t, dir))
		if _, ok := errors.AsType[*DamagedError](err); !ok || !strings.Contains(err.Error(), "lost") {
			t.Errorf("Open with a journal that is %s and a damaged log = %v, want it to tell what is lost", name, err)
		}
	}
}

// An older journal put in the place of the present one is not replayed.
func TestJournalPutBack(t *testing.T) {
	dir := t.TempDir()
	killAfter(t, dir, 20)
	older, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := killAfter(t, dir, 100)
	if err := os.WriteFile(filepath.Join(dir, journalFile), older, 0o600); err != nil {
		t.Fatal(err)
	}
	wantCounters(t, open(t, dir), acknowledged)
}

// What a killed process had in its journal and not yet in Badger is there as a
// whole, and that is no damage.
func TestJournalAhead(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := db.Create(t.Context(), brokertest.FullCredential("one")); err != nil {
		t.Fatal(err)
	}
	b := db.newBatch()
	r := &request{t.Context(), func(b *batch) error {
		return b.putCredential(broker.Credential{Summary: broker.Summary{ID: "two", Revision: 1}}, nil)
	}, nil}
	if result := b.run(r); result.err != nil {
		t.Fatal(result.err)
	}
	if err := errors.Join(b.setRoot(), db.journal.append(b.root.commits, b.staged)); err != nil {
		t.Fatal(err)
	}
	b.discard()
	killed := copyOf(t, dir)
	db = open(t, killed)
	if _, err := db.Get(t.Context(), "two"); err != nil {
		t.Errorf("Get of what only the journal had: %v", err)
	}
	if n := db.Repairs(); n != 0 {
		t.Errorf("Repairs = %d, want 0", n)
	}
}

// The journals hold all that is in Badger's logs, and no more than about that.
func TestJournalTurns(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := db.Create(t.Context(), broker.Credential{Summary: broker.Summary{ID: "id"}}); err != nil {
		t.Fatal(err)
	}
	large := broker.NewConfig(map[string]any{"key": strings.Repeat("x", 200<<10)})
	writes, biggest := 150, int64(0)
	for n := range writes {
		if _, err := db.Update(t.Context(), "id", func(c *broker.Credential) error { c.ReadCount, c.Config = uint64(n), large; return nil }); err != nil {
			t.Fatal(err)
		}
		biggest = max(biggest, db.journal.size)
	}
	if limit := int64(3 * memTableSize); biggest < journalSize || biggest > limit {
		t.Errorf("the journal grew to %d bytes, want %d to %d", biggest, journalSize, limit)
	}
	crashed := copyOf(t, dir)
	if !exists(filepath.Join(crashed, formerJournal)) {
		t.Error("no journal was begun anew")
	}
	for _, path := range logs(t, crashed) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := open(t, crashed).Get(t.Context(), "id"); err != nil || c.ReadCount != uint64(writes-1) {
		t.Errorf("Get once all logs are gone = %d, %v, want %d", c.ReadCount, err, writes-1)
	}
	closeStore(t, db)
	for _, name := range []string{journalFile, formerJournal} {
		if exists(filepath.Join(dir, name)) {
			t.Errorf("after Close, when all is in tables, %s is still there", name)
		}
	}
}
