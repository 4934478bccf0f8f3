package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// waitSwept waits until the keyring in the folder has one data key.
func waitSwept(t *testing.T, db *DB) *rootKeys {
	t.Helper()
	for tick, late := time.NewTicker(5*time.Millisecond), time.After(time.Minute); ; {
		db.rotating.Lock()
		_, keys, err := db.readKeyring()
		db.rotating.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys.Terms) == 1 {
			return keys
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("there are still %d data keys", len(keys.Terms))
		}
	}
}

// Once a single key opens the store no record is left under a former data key,
// and that is gone; meanwhile everything is read and written, and nothing counts
// as changed.
func TestSweep(t *testing.T) {
	dir := filled(t)
	db := open(t, dir)
	for n := range 200 {
		if _, err := db.Create(t.Context(), brokertest.FullCredential(broker.ID(fmt.Sprint("more-", n)))); err != nil {
			t.Fatal(err)
		}
	}
	var backup bytes.Buffer
	if err := db.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	before, err := db.Get(t.Context(), "id-3")
	if err != nil {
		t.Fatal(err)
	}
	former := db.sealer.keys().Active
	if _, err := db.AddKey(t.Context(), keyText(2)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 50 {
				if _, err := db.Update(t.Context(), "id-1", func(c *broker.Credential) error { c.ReadCount++; return nil }); err != nil {
					t.Errorf("Update during the sweep: %v", err)
				}
				if _, err := db.Get(t.Context(), broker.ID(fmt.Sprint("more-", 50*w+n))); err != nil {
					t.Errorf("Get during the sweep: %v", err)
				}
			}
		})
	}
	if _, err := db.RetireKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := waitSwept(t, db)
	wg.Wait()
	if n := db.Outdated(); n != 0 {
		t.Errorf("Outdated after the sweep = %d, want 0", n)
	}
	if keys.Active == former || keys.dataKey(former) != nil {
		t.Errorf("the keyring still has the data key %d", former)
	}
	if after, err := db.Get(t.Context(), "id-3"); err != nil || after.Revision != before.Revision || !bytes.Equal(encoded(t, after), encoded(t, before)) {
		t.Errorf("the sweep changed a credential from %v to %v, %v", before.Summary, after.Summary, err)
	}
	closeStore(t, db)
	db = open(t, dir) // which has the new data key alone
	if found, err := db.Check(t.Context()); err != nil || found.Records != 208 {
		t.Errorf("Check after the sweep = %+v, %v, want 208 records", found, err)
	}
	for n := range 50 {
		if _, err := db.Get(t.Context(), broker.ID(fmt.Sprint("more-", n))); err != nil {
			t.Errorf("Get after the sweep: %v", err)
		}
	}
	// A backup of before is restored with the keyring that it has.
	if restored, err := Restore(bytes.NewReader(backup.Bytes()), testConfig(t, filepath.Join(t.TempDir(), "old"))); err != nil || restored.Records != 208 {
		t.Errorf("Restore of a backup from before = %+v, %v, want 208 records", restored, err)
	}
}

func encoded(t *testing.T, c broker.Credential) []byte {
	t.Helper()
	b, err := encodeBody(&c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A backup from before a rotation is older than what its folder saw last, although
// its keyring lacks the present data key.
func TestRestoreFromBeforeARotation(t *testing.T) {
	dir := filled(t)
	db := open(t, dir)
	var backup bytes.Buffer
	if err := db.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if _, err := db.AddKey(t.Context(), keyText(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Update(t.Context(), "id-1", func(c *broker.Credential) error { c.ReadCount++; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RetireKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitSwept(t, db)
	commits := db.root.commits
	closeStore(t, db)
	lost := t.TempDir()
	if err := os.Rename(filepath.Join(dir, headFile), filepath.Join(lost, headFile)); err != nil {
		t.Fatal(err)
	}
	restored, err := Restore(bytes.NewReader(backup.Bytes()), testConfig(t, lost))
	if err != nil || restored.Missing == 0 || restored.Commits+restored.Missing != commits {
		t.Errorf("Restore = %+v, %v, want it to miss what makes up %d commits", restored, err, commits)
	}
}

// A record that cannot be read keeps its data key alive, and nothing else does.
func TestSweepKeepsTheKeyOfWhatIsDamaged(t *testing.T) {
	dir := filled(t)
	tamper(t, dir, func(x tamperer) {
		value := x.read(bodyAt("id-1"))
		value[len(value)-20] ^= 1
		x.write(bodyAt("id-1"), value)
	})
	db := open(t, dir)
	if _, err := db.AddKey(t.Context(), keyText(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RetireKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.sweep(t.Context()); err == nil {
		t.Error("sweep over a damaged record = nil, want it to name it")
	} else {
		damage(t, err, "id-1")
	}
	if err := db.Delete(t.Context(), "id-1"); err != nil {
		t.Fatal(err)
	}
	if err := db.sweep(t.Context()); err != nil {
		t.Errorf("sweep once it was deleted: %v", err)
	}
	waitSwept(t, db)
}
