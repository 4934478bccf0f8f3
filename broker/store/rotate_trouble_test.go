package store

import (
	"bytes"
	"encoding/base64"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

func keyText(fill byte) broker.Secret {
	return broker.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, KeySize)))
}

func openWith(t *testing.T, dir string, fill byte) *DB {
	t.Helper()
	config := testConfig(t, dir)
	config.Key, config.Existing = testKey(t, fill), true
	db, err := Open(config)
	if err != nil {
		t.Fatalf("Open with key %d: %v", fill, err)
	}
	t.Cleanup(func() { closeStore(t, db) })
	return db
}

func addKey(t *testing.T, db *DB, fill byte) broker.KeyIDs {
	t.Helper()
	ids, err := db.AddKey(t.Context(), keyText(fill))
	if err != nil {
		t.Fatalf("AddKey: %v", err)
	}
	return ids
}

func put(t *testing.T, db *DB, id broker.ID) {
	t.Helper()
	if _, err := db.Create(t.Context(), brokertest.FullCredential(id)); err != nil {
		t.Fatalf("Create: %v", err)
	}
}

// A rotation is called off by retiring with the old key.
func TestRotateKeyCalledOff(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	addKey(t, db, 8)
	if _, err := db.RetireKeys(t.Context()); err != nil {
		t.Fatalf("RetireKeys: %v", err)
	}
	addKey(t, db, 9)
	put(t, db, "a")
	closeStore(t, db)
	config := testConfig(t, dir)
	config.Key = testKey(t, 8)
	if _, err := Open(config); !errors.Is(err, ErrWrongKey) {
		t.Errorf("Open with the key that was called off = %v, want ErrWrongKey", err)
	}
	if _, err := openWith(t, dir, 9).Get(t.Context(), "a"); err != nil {
		t.Errorf("Get with the key that came after = %v", err)
	}
}

func TestRotateKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	before, _ := os.ReadFile(filepath.Join(dir, keyringFile))
	_, err := db.AddKey(t.Context(), broker.NewSecret("c2hvcnQ="))
	if e, ok := errors.AsType[*broker.InvalidError](err); !ok || e.Fields[0].Path != "key" || strings.Contains(err.Error(), "c2hvcnQ") {
		t.Errorf("AddKey of a short key = %v, want an InvalidError about key that does not hold it", err)
	}
	if _, err := db.AddKey(t.Context(), keyText(7)); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("AddKey of the present key = %v, want ErrConflict", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, keyringFile)); !bytes.Equal(before, after) {
		t.Error("a key that was refused changed the keyring")
	}
	addKey(t, db, 8)
	for _, fill := range []byte{8, 9} {
		if _, err := db.AddKey(t.Context(), keyText(fill)); !errors.Is(err, broker.ErrConflict) {
			t.Errorf("AddKey of key %d beside two = %v, want ErrConflict", fill, err)
		}
	}
	closeStore(t, db)
	if _, err := db.RetireKeys(t.Context()); !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("RetireKeys of a closed store = %v, want ErrStoreUnavailable", err)
	}
}

// What cannot be written leaves the old keyring and the old data key in force.
func TestRotateKeyThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	obstacle := filepath.Join(dir, keyringFile+".new", "x")
	if err := os.MkdirAll(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := db.AddKey(t.Context(), keyText(8)); !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("AddKey = %v, want ErrStoreUnavailable", err)
	}
	if active := db.sealer.keys().Active; active != 1 {
		t.Errorf("the active term is %d, want 1", active)
	}
	put(t, db, "a")
	closeStore(t, db)
	if err := os.RemoveAll(filepath.Dir(obstacle)); err != nil {
		t.Fatal(err)
	}
	openWith(t, dir, 7)
}

// Writers and readers go on while keys change.
func TestRotateKeyWhileServing(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	var writers sync.WaitGroup
	for _, id := range []broker.ID{"a", "b", "c"} {
		put(t, db, id)
		writers.Go(func() {
			for range 30 {
				_, err := db.Update(t.Context(), id, func(c *broker.Credential) error { return nil })
				if err == nil {
					_, err = db.Get(t.Context(), id)
				}
				if err != nil {
					t.Errorf("writing %s while keys change: %v", id, err)
					return
				}
			}
		})
	}
	for fill := range byte(5) {
		addKey(t, db, 20+fill)
		if _, err := db.RetireKeys(t.Context()); err != nil {
			t.Errorf("RetireKeys: %v", err)
		}
	}
	writers.Wait()
	if active := db.sealer.keys().Active; active != 6 {
		t.Errorf("after five new keys the active term is %d, want 6", active)
	}
	if _, err := db.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	want := slices.Sorted(maps.Keys(everything(t, db)))
	closeStore(t, db)
	if got := slices.Sorted(maps.Keys(everything(t, openWith(t, dir, 7)))); !slices.Equal(got, want) {
		t.Errorf("opened again it holds %v, want %v", got, want)
	}
}
