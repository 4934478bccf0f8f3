package store

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

func testKey(t testing.TB, fill byte) Key {
	t.Helper()
	key, err := ParseKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens a store that the test closes in the end, if it has not yet.
func open(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(testConfig(t, dir))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { closeStore(t, db) })
	return db
}

func testConfig(t testing.TB, dir string) Config {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	return Config{Dir: dir, Key: testKey(t, 7), Log: log}
}

func closeStore(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestContract(t *testing.T) {
	dirs, dbs := map[*testing.T]string{}, map[*testing.T]*DB{}
	brokertest.TestStore(t, func(t *testing.T) broker.Store {
		if dirs[t] == "" {
			dirs[t] = t.TempDir()
		} else {
			closeStore(t, dbs[t])
		}
		dbs[t] = open(t, dirs[t])
		return dbs[t]
	})
}
