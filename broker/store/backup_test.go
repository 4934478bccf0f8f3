package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

func backUp(t *testing.T, db *DB) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := db.Backup(t.Context(), &out); err != nil {
		t.Fatalf("Backup: %v", err)
	}
	return out.Bytes()
}

// everything is all that a store holds.
func everything(t *testing.T, db *DB) map[string]any {
	t.Helper()
	all := map[string]any{}
	for s, err := range db.Summaries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := db.Get(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		config := c.Config.Reveal()
		c.Config = broker.Config{}
		all["credential "+string(s.ID)] = []any{c, config}
	}
	definitions, definitionsErr := db.StoredDefinitions(t.Context())
	apps, appsErr := db.Apps(t.Context())
	if err := errors.Join(definitionsErr, appsErr); err != nil {
		t.Fatal(err)
	}
	all["definitions"] = definitions
	for _, a := range apps {
		all["app "+a.ProviderID] = a.Client.Secret.Reveal()
	}
	return all
}

// A backup that is made while the store is written holds one moment of it, and
// that moment comes back.
func TestBackupAndRestore(t *testing.T) {
	db := open(t, filled(t))
	want := everything(t, db)
	backup := backUp(t, db)
	dir := filepath.Join(t.TempDir(), "restored")
	got, err := Restore(bytes.NewReader(backup), testConfig(t, dir))
	if err != nil || got.Records != db.root.count || got.Commits != db.root.commits || got.Missing != 0 {
		t.Fatalf("Restore = %+v, %v, want %d records of %d commits", got, err, db.root.count, db.root.commits)
	}
	restored := open(t, dir)
	if all := everything(t, restored); !reflect.DeepEqual(all, want) {
		t.Errorf("restored %v, want %v", all, want)
	}
	if _, err := restored.TakeAuthorization(t.Context(), "state"); err != nil {
		t.Errorf("TakeAuthorization from what was restored: %v", err)
	}
	for _, name := range []string{"id-0", "google", "access-id"} {
		if bytes.Contains(backup, []byte(name)) {
			t.Errorf("the backup shows %q", name)
		}
	}
}

func TestBackupUnderLoad(t *testing.T) {
	db := open(t, t.TempDir())
	ids := []broker.ID{"a", "b"}
	for _, id := range ids {
		if _, err := db.Create(t.Context(), brokertest.FullCredential(id)); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := db.Update(t.Context(), id, func(c *broker.Credential) error { c.ReadCount++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		backup := backUp(t, db)
		if _, err := readBackup(bytes.NewReader(backup), testKey(t, 7)); err != nil {
			t.Errorf("a backup under load is no whole: %v", err)
		}
	}
	close(stop)
	wg.Wait()
}

// What is not whole is not restored, and nothing is written.
func TestRestoreRefuses(t *testing.T) {
	db := open(t, filled(t))
	backup := backUp(t, db)
	refused := func(what string, data []byte, key Key, says string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "restored")
		_, err := Restore(bytes.NewReader(data), Config{Dir: dir, Key: key})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Restore of %s = %v, want %q", what, err, says)
		}
		if exists(dir) {
			t.Errorf("Restore of %s wrote something", what)
		}
	}
	refused("a backup under another key", backup, testKey(t, 8), "not the one that this store was made with")
	refused("nothing", nil, testKey(t, 7), "no backup")
	refused("something else", []byte(strings.Repeat("x", 5000)), testKey(t, 7), "no backup")
	refused("more than a backup", append(bytes.Clone(backup), 0), testKey(t, 7), "not what was written")
	for at := 0; at < len(backup); at += 7 {
		altered := bytes.Clone(backup)
		altered[at] ^= 1 << (at % 8)
		refused(fmt.Sprintf("a backup with byte %d of %d changed", at, len(backup)), altered, testKey(t, 7), "reading the backup")
		refused(fmt.Sprintf("a backup cut off at %d of %d", at, len(backup)), backup[:at], testKey(t, 7), "reading the backup")
	}
	config := testConfig(t, filled(t))
	before := snapshot(t, config.Dir)
	if _, err := Restore(bytes.NewReader(backup), config); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("Restore over a store = %v, want ErrNotEmpty", err)
	}
	if !reflect.DeepEqual(before, snapshot(t, config.Dir)) {
		t.Error("a refused Restore changed the folder")
	}
}

// Where the head of the lost store is still there, it tells how old a backup is.
func TestRestoreOfAnOlderBackup(t *testing.T) {
	dir := filled(t)
	db := open(t, dir)
	older := backUp(t, db)
	for range 3 {
		if _, err := db.Update(t.Context(), "id-0", func(c *broker.Credential) error { c.ReadCount++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	newest := backUp(t, db)
	closeStore(t, db)
	for what, want := range map[*[]byte]uint64{&older: 3, &newest: 0} {
		target := t.TempDir()
		head, err := os.ReadFile(filepath.Join(dir, headFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(target, headFile), head, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Restore(bytes.NewReader(*what), testConfig(t, target))
		if err != nil || got.Missing != want {
			t.Errorf("Restore = %+v, %v, want %d commits missing", got, err, want)
		}
		closeStore(t, open(t, target))
	}
}

// A damaged store has no backup: the error names what is hit, as a check does.
func TestBackupOfADamagedStore(t *testing.T) {
	dir := filled(t)
	tamper(t, dir, func(x tamperer) {
		value := x.read(bodyAt("id-2"))
		value[len(value)-1] ^= 1
		x.write(bodyAt("id-2"), value)
	})
	db := open(t, dir)
	var out bytes.Buffer
	damage(t, db.Backup(t.Context(), &out), "id-2")
	_, err := db.Check(t.Context())
	damage(t, err, "id-2")
}

func TestCheck(t *testing.T) {
	db := open(t, filled(t))
	if got, err := db.Check(t.Context()); err != nil || got.Records != 8 || got.Commits != db.root.commits {
		t.Errorf("Check = %+v, %v, want 8 records in order", got, err)
	}
}
