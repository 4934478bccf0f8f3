package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// All that were to be committed together learn of the failure, the refused too:
// their refusal may rest on a write that was lost.
func TestFailedCommitFailsTheBatch(t *testing.T) {
	db, _, cause := failing(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, err := db.Create(t.Context(), brokertest.FullCredential("contested"))
			if !errors.Is(err, broker.ErrStoreUnavailable) || !errors.Is(err, cause) || errors.Is(err, broker.ErrConflict) {
				t.Errorf("Create = %v, want ErrStoreUnavailable and the cause", err)
			}
		})
	}
	wg.Wait()
}

func TestClose(t *testing.T) {
	db := open(t, t.TempDir())
	for n := range 3 {
		if _, err := db.Create(t.Context(), brokertest.FullCredential(broker.ID(fmt.Sprint(n)))); err != nil {
			t.Fatal(err)
		}
	}
	// Writers and readers at the same time come to an end, one way or the other.
	var wg, begun sync.WaitGroup
	begun.Add(8)
	for n := range 8 {
		wg.Go(func() {
			first := true
			for {
				_, err := db.Update(t.Context(), broker.ID(fmt.Sprint(n%3)), func(c *broker.Credential) error { c.ReadCount++; return nil })
				for _, scanErr := range db.Summaries(t.Context()) {
					if scanErr != nil && !errors.Is(scanErr, broker.ErrStoreUnavailable) {
						t.Errorf("Summaries = %v, want ErrStoreUnavailable", scanErr)
					}
				}
				if first {
					begun.Done()
					first = false
				}
				if err != nil {
					if !errors.Is(err, broker.ErrStoreUnavailable) {
						t.Errorf("Update = %v, want ErrStoreUnavailable", err)
					}
					return
				}
			}
		})
	}
	begun.Wait()
	closeStore(t, db)
	wg.Wait()
	closeStore(t, db) // again changes nothing
	_, err := db.Get(t.Context(), "0")
	if !errors.Is(err, broker.ErrStoreUnavailable) || !errors.Is(db.Writable(t.Context()), broker.ErrStoreUnavailable) {
		t.Errorf("Get after Close = %v, want ErrStoreUnavailable", err)
	}
}

// A panic in change is its caller's and not the committer's.
func TestUpdatePanics(t *testing.T) {
	db := open(t, t.TempDir())
	if _, err := db.Create(t.Context(), brokertest.FullCredential("one")); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("Update panics with %v, want boom", p)
			}
		}()
		db.Update(t.Context(), "one", func(c *broker.Credential) error { c.Name = "half"; panic("boom") })
	}()
	c, err := db.Update(t.Context(), "one", func(*broker.Credential) error { return nil })
	if err != nil || c.Revision != 2 || c.Name == "half" {
		t.Errorf("Update after a panic = %v, %v, want revision 2", c, err)
	}
}

// A write that waits behind others is given up with its context; one that has
// begun is not.
func TestContextOfAWrite(t *testing.T) {
	db := open(t, t.TempDir())
	if _, err := db.Create(t.Context(), brokertest.FullCredential("one")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller is gone")
	var waiting error
	var wg sync.WaitGroup
	c, err := db.Update(ctx, "one", func(c *broker.Credential) error {
		cancel(gone)
		wg.Go(func() { waiting = db.Delete(ctx, "one") }) // the committer is busy here
		c.Name = "written"
		return nil
	})
	wg.Wait()
	if err != nil || c.Name != "written" {
		t.Errorf("Update whose context ends meanwhile = %v, %v, want it done", c.Name, err)
	}
	if !errors.Is(waiting, gone) {
		t.Errorf("Delete with an ended context = %v, want its cause", waiting)
	}
}

// Large credentials do not make a commit larger than Badger takes.
func TestLargeRecords(t *testing.T) {
	db := open(t, t.TempDir())
	large := func(size int) broker.Config {
		return broker.NewConfig(map[string]any{"apiKey": string(make([]byte, size))})
	}
	var wg sync.WaitGroup
	for n := range 24 {
		wg.Go(func() {
			c := brokertest.FullCredential(broker.ID(fmt.Sprint(n)))
			c.Config = large(80 << 10) // six times as long in JSON
			if _, err := db.Create(t.Context(), c); err != nil {
				t.Errorf("Create of a large credential: %v", err)
			}
		})
	}
	wg.Wait()
	c := brokertest.FullCredential("too large")
	c.Config = large(200 << 10)
	if _, err := db.Create(t.Context(), c); err == nil || errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("Create of a credential that is too large = %v, want an error about it alone", err)
	}
	if got, err := db.Get(t.Context(), "7"); err != nil || len(got.Config.Text("apiKey")) != 80<<10 {
		t.Errorf("Get of a large credential: %v", err)
	}
}

// A field that the codec does not know would be lost without a word: the contract
// stores a credential with a value in every field.
func TestEveryFieldIsStored(t *testing.T) {
	v := reflect.ValueOf(brokertest.FullCredential("id"))
	for _, field := range reflect.VisibleFields(v.Type()) {
		if field.Name == "Hindrance" {
			continue // it is of the moment and never stored
		}
		if v.FieldByIndex(field.Index).IsZero() {
			t.Errorf("FullCredential leaves %s empty, so nothing tests that it is stored", field.Name)
		}
	}
}

// The times that come back do so in UTC, whatever was given.
func TestTimesAreInUTC(t *testing.T) {
	db := open(t, t.TempDir())
	at := time.Now().In(time.FixedZone("elsewhere", 3600))
	c := brokertest.FullCredential("one")
	c.ExpiresAt = at
	created, err := db.Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.Get(t.Context(), "one")
	if err != nil || !got.ExpiresAt.Equal(at) || got.ExpiresAt.Location() != time.UTC || created.ExpiresAt != got.ExpiresAt {
		t.Errorf("ExpiresAt = %v after Create and %v after Get, %v, want %v in UTC", created.ExpiresAt, got.ExpiresAt, err, at)
	}
}
