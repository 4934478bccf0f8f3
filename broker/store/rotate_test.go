package store

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// TestRotateKey: with a second key the store opens with either, records of both
// data keys are read, and once the first is retired it opens nothing.
func TestRotateKey(t *testing.T) {
	dir, first, second := t.TempDir(), testKey(t, 1), testKey(t, 2)
	text := func(fill byte) broker.Secret {
		return broker.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, KeySize)))
	}
	db, err := Open(Config{Dir: dir, Key: first})
	if err != nil {
		t.Fatal(err)
	}
	create := func(id broker.ID) {
		t.Helper()
		if _, err := db.Create(t.Context(), brokertest.FullCredential(id)); err != nil {
			t.Fatal(err)
		}
	}
	create("before")
	if _, err := db.AddKey(t.Context(), broker.NewSecret("no key")); err == nil {
		t.Error("AddKey took what is no key")
	}
	ids, err := db.AddKey(t.Context(), text(2))
	if err != nil || len(ids.All) != 2 {
		t.Fatalf("AddKey = %v, %v, want two keys", ids, err)
	}
	for _, again := range []broker.Secret{text(2), text(1), text(3)} {
		if _, err := db.AddKey(t.Context(), again); !errors.Is(err, broker.ErrConflict) {
			t.Errorf("AddKey once more = %v, want ErrConflict", err)
		}
	}
	create("after")
	reopen := func(key Key) error {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db, err = Open(Config{Dir: dir, Key: key})
		if err != nil {
			return err
		}
		for _, id := range []broker.ID{"before", "after"} {
			if _, err := db.Get(t.Context(), id); err != nil {
				t.Errorf("Get(%s) = %v", id, err)
			}
		}
		return nil
	}
	for _, key := range []Key{first, second} {
		if err := reopen(key); err != nil {
			t.Fatalf("Open with either key: %v", err)
		}
	}
	if ids, err := db.RetireKeys(t.Context()); err != nil || len(ids.All) != 1 || ids.All[0] != ids.Active {
		t.Fatalf("RetireKeys = %v, %v, want the key in use alone", ids, err)
	}
	if err := reopen(first); !errors.Is(err, ErrWrongKey) {
		t.Fatalf("Open with the retired key = %v, want ErrWrongKey", err)
	}
	if db, err = Open(Config{Dir: dir, Key: second}); err != nil {
		t.Fatalf("Open with the kept key: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
