package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// failing is a store whose commits reach Badger and then report an error, as
// when the disk did not confirm them. It stays so until the returned function is
// called.
func failing(t *testing.T) (db *DB, mend func(), cause error) {
	t.Helper()
	dir := t.TempDir()
	db = open(t, dir)
	if _, err := db.Create(t.Context(), brokertest.FullCredential("one")); err != nil {
		t.Fatal(err)
	}
	cause = errors.New("input/output error")
	db.commitTxn = func(txn *badger.Txn) error { return errors.Join(txn.Commit(), cause) }
	// A folder in the place of the file that is written to try the disk.
	if err := os.MkdirAll(filepath.Join(dir, probeFile, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	mend = func() {
		db.commitTxn = (*badger.Txn).Commit // the committer is idle
		if err := os.RemoveAll(filepath.Join(dir, probeFile)); err != nil {
			t.Fatal(err)
		}
	}
	return db, mend, cause
}

func rename(c *broker.Credential) error { c.Name = "never acknowledged"; return nil }

// waitWritable waits until the store has come back.
func waitWritable(t *testing.T, db *DB) {
	t.Helper()
	for tick, late := time.NewTicker(5*time.Millisecond), time.After(time.Minute); db.Writable(t.Context()) != nil; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("the store does not come back: %v", db.Writable(t.Context()))
		}
	}
}

// After a failed commit Badger's memory holds what the disk may not: nothing is
// written any more, and what is read is what was acknowledged.
func TestFailedCommit(t *testing.T) {
	db, mend, cause := failing(t)
	ctx := t.Context()
	if _, err := db.Update(ctx, "one", rename); !errors.Is(err, broker.ErrStoreUnavailable) || !errors.Is(err, cause) {
		t.Fatalf("Update = %v, want ErrStoreUnavailable and the cause", err)
	}
	_, updateErr := db.Update(ctx, "one", rename)
	_, createErr := db.Create(ctx, brokertest.FullCredential("two"))
	_, takeErr := db.TakeAuthorization(ctx, "state")
	for method, err := range map[string]error{
		"Create": createErr, "Update": updateErr, "TakeAuthorization": takeErr, "PutApp": db.PutApp(ctx, broker.App{ProviderID: "a"}),
		"Delete": db.Delete(ctx, "one"), "Writable": db.Writable(ctx),
	} {
		if !errors.Is(err, broker.ErrStoreUnavailable) {
			t.Errorf("%s after a failed commit = %v, want ErrStoreUnavailable", method, err)
		}
	}
	want := brokertest.FullCredential("one").Name
	for range 3 {
		if c, err := db.Get(ctx, "one"); err != nil || c.Name != want || c.Revision != 1 {
			t.Errorf("Get after a failed commit = %q at revision %d, %v, want %q at 1", c.Name, c.Revision, err, want)
		}
		for s, err := range db.Summaries(ctx) {
			if err != nil || s.Name != want {
				t.Errorf("Summaries after a failed commit yields %q, %v, want %q", s.Name, err, want)
			}
		}
	}
	mend()
	waitWritable(t, db)
	// The write had reached the disk: whoever asked for it finds it there.
	if c, err := db.Get(ctx, "one"); err != nil || c.Name != "never acknowledged" || c.Revision != 2 {
		t.Errorf("Get once it came back = %q at revision %d, %v, want what reached the disk", c.Name, c.Revision, err)
	}
	if c, err := db.Update(ctx, "one", func(c *broker.Credential) error { c.Name = "later"; return nil }); err != nil || c.Revision != 3 {
		t.Errorf("Update once it came back = revision %d, %v, want 3", c.Revision, err)
	}
	closeStore(t, db)
	if c, err := open(t, db.dir).Get(ctx, "one"); err != nil || c.Name != "later" {
		t.Errorf("Get after the next opening = %q, %v, want the last that was written", c.Name, err)
	}
}

// A write that failed and did not reach the disk is nowhere afterwards.
func TestFailedCommitThatIsLost(t *testing.T) {
	db, mend, cause := failing(t)
	db.commitTxn = func(*badger.Txn) error { return cause }
	if _, err := db.Update(t.Context(), "one", rename); !errors.Is(err, cause) {
		t.Fatalf("Update = %v, want the cause", err)
	}
	mend()
	waitWritable(t, db)
	if c, err := db.Get(t.Context(), "one"); err != nil || c.Revision != 1 {
		t.Errorf("Get once it came back = revision %d, %v, want 1", c.Revision, err)
	}
}

// Where the head could not be written the commit is whole, and acknowledged.
func TestFailedHead(t *testing.T) {
	db := open(t, t.TempDir())
	if err := db.head.file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Create(t.Context(), brokertest.FullCredential("one")); err != nil {
		t.Errorf("Create whose head is not written = %v, want it acknowledged", err)
	}
	waitWritable(t, db)
	if _, err := db.Get(t.Context(), "one"); err != nil {
		t.Errorf("Get of what was acknowledged: %v", err)
	}
	if commits, err := db.head.read(); err != nil || commits != db.root.commits {
		t.Errorf("the head tells of %d commits, %v, want %d", commits, err, db.root.commits)
	}
}

// A store that failed is closed without waiting for its disk, and loses nothing.
func TestCloseAfterAFailedCommit(t *testing.T) {
	db, mend, cause := failing(t)
	if _, err := db.Update(t.Context(), "one", rename); !errors.Is(err, cause) {
		t.Fatalf("Update = %v, want the cause", err)
	}
	closeStore(t, db)
	if _, err := db.Get(t.Context(), "one"); !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("Get after Close = %v, want ErrStoreUnavailable", err)
	}
	mend()
	if _, err := open(t, db.dir).Get(t.Context(), "one"); err != nil {
		t.Errorf("Get after the next opening: %v", err)
	}
}
