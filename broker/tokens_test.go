package broker_test

import (
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

func TestTokensIndex(t *testing.T) {
	tokens := broker.NewTokens()
	tokens.Add(held("a", "mail", "google", 1))
	tokens.Add(held("b", "twice", "google", 1))
	tokens.Add(held("c", "twice", "github", 1))
	for name, want := range map[string]int{"mail": 1, "twice": 2, "a": 0} {
		if got := len(tokens.Named(name)); got != want {
			t.Errorf("Named(%s) has %d, want %d", name, got, want)
		}
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
	for name, want := range map[string]int{"one": 0, "two": 0, "three": 1} {
		if got := len(tokens.Named(name)); got != want {
			t.Errorf("Named(%s) has %d, want %d", name, got, want)
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
	if got, _ := tokens.Get("a"); got.Revision != 1601 || got.Name != "n1601" {
		t.Errorf("Get(a) = %q at revision %d, want n1601 at 1601", got.Name, got.Revision)
	}
}
