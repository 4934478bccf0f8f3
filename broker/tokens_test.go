package broker_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/invectd/invectd/broker"
)

func held(id, name, provider string, revision uint64) broker.Credential {
	return broker.Credential{
		Summary: broker.Summary{
			ID: broker.ID(id), Name: name, Provider: provider, AuthType: broker.AuthBearer, IsActive: true, Revision: revision,
		},
		Config: broker.NewConfig(map[string]any{"token": fmt.Sprintf("t%d", revision)}),
	}
}

func TestTokensFind(t *testing.T) {
	tokens := broker.NewTokens()
	tokens.Add(held("a", "mail", "google", 1))
	tokens.Add(held("b", "twice", "google", 1))
	tokens.Add(held("c", "twice", "github", 1))
	tokens.Add(held("d", "a", "", 1)) // bears another's id as its name
	for ref, want := range map[string]broker.ID{"a": "a", "mail": "a", "b": "b", "d": "d"} {
		if got, err := tokens.Find(ref); err != nil || got.ID != want {
			t.Errorf("Find(%s) = %s, %v, want %s", ref, got.ID, err, want)
		}
	}
	tokens.LoadDamaged("hurt", fmt.Errorf("%w: hurt", broker.ErrDamaged))
	for _, ref := range []string{"hurt", "nobody"} { // whose name is not known may have this one
		if _, err := tokens.Find(ref); !errors.Is(err, broker.ErrDamaged) || errors.Is(err, broker.ErrNotFound) {
			t.Errorf("Find(%s) beside a damaged credential = %v, want ErrDamaged", ref, err)
		}
	}
	if got, err := tokens.Find("twice-1"); err == nil {
		t.Errorf("Find(twice-1) = %v", got)
	}
	tokens.Delete("hurt")
	if _, err := tokens.Find("twice"); !errors.Is(err, broker.ErrAmbiguousName) {
		t.Errorf("Find(twice) = %v, want ErrAmbiguousName", err)
	}
	if _, err := tokens.Find("nobody"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Find(nobody) = %v, want ErrNotFound", err)
	}
	if got := len(tokens.Provider("google")); got != 2 {
		t.Errorf("Provider(google) has %d, want 2", got)
	}
}

func TestTokensKeepTheNewest(t *testing.T) {
	tokens := broker.NewTokens()
	tokens.Add(held("a", "one", "google", 1))
	tokens.Put(held("a", "three", "google", 3))
	tokens.Put(held("a", "two", "google", 2)) // told late
	if got, err := tokens.Find("three"); err != nil || got.Revision != 3 {
		t.Errorf("Find(three) = revision %d, %v, want 3", got.Revision, err)
	}
	for _, gone := range []string{"one", "two"} {
		if _, err := tokens.Find(gone); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("Find(%s) = %v, want ErrNotFound", gone, err)
		}
	}
	tokens.Delete("a")
	tokens.Put(held("a", "four", "google", 4)) // of a write that came before the deletion
	if _, ok := tokens.Token("a"); ok {
		t.Error("a deleted credential came back")
	}
	if got := len(tokens.All()) + len(tokens.Provider("google")); got != 0 {
		t.Errorf("%d entries are left of a deleted credential", got)
	}
}

func TestTokensConcurrently(t *testing.T) {
	tokens := broker.NewTokens()
	tokens.Add(held("a", "n0", "google", 1))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				revision := uint64(2 + i*8 + worker)
				tokens.Put(held("a", fmt.Sprint("n", revision), "google", revision))
				if token, ok := tokens.Token("a"); !ok || token.Access.Empty() {
					t.Error("the token was gone for a moment")
				}
			}
		})
	}
	wg.Wait()
	if got, err := tokens.Find("n1601"); err != nil || got.Revision != 1601 {
		t.Errorf("Find(n1601) = %d, %v, want revision 1601", got.Revision, err)
	}
}
