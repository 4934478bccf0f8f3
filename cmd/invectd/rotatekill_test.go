package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// TestKillWhileRotating: a daemon that is killed at any moment of a key rotation,
// or of the sweep that follows it, leaves a store that opens with one of the two
// keys, is whole, and has all that was acknowledged.
func TestKillWhileRotating(t *testing.T) {
	rounds := *kills
	if testing.Short() {
		rounds = 4
	}
	dir, err := os.MkdirTemp("", "invectd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dataDir, socket, key := filepath.Join(dir, "data"), filepath.Join(dir, "s"), newKeyText()
	d := startBuilt(t, socket, dataDir, key)
	acknowledged := map[string]string{} // secrets by id
	create := func(n int) bool {
		name, secret := fmt.Sprint("credential ", n), fmt.Sprint("secret-", n)
		c, err := d.CreateCredential(t.Context(), client.CredentialInput{Name: &name, AuthType: new("bearer"), Config: map[string]any{"token": secret}})
		if err == nil {
			acknowledged[c.ID] = secret
		}
		return err == nil
	}
	made := 0
	for ; made < 300; made++ {
		if !create(made) {
			t.Fatal("a credential was not created")
		}
	}
	for round := range rounds {
		fresh := newKeyText()
		var writing sync.WaitGroup
		writing.Go(func() {
			for create(made) {
				made++
			}
		})
		// Half of the rounds are killed while the key is added, and half while the
		// former is retired and the sweep ends.
		if _, err := d.AddKey(t.Context(), fresh); err != nil {
			t.Fatalf("round %d: AddKey = %v", round, err)
		}
		killed := time.AfterFunc(rand.N(40*time.Millisecond), func() { d.process.Process.Kill() })
		if round%2 == 1 {
			_, _ = d.RetireKeys(t.Context()) // calls the rotation off, if it gets so far
		}
		writing.Wait()
		killed.Stop()
		d.stop(syscall.SIGKILL)
		opens := ""
		for _, candidate := range []string{fresh, key} {
			if said := checkWith(dataDir, candidate); strings.Contains(said, "is whole:") {
				opens = candidate
				break
			} else if !strings.Contains(said, "not the one that this store was made with") {
				t.Fatalf("round %d: check = %s", round, said)
			}
		}
		if opens == "" {
			t.Fatalf("round %d: neither key opens the store", round)
		}
		key = opens
		d = startBuilt(t, socket, dataDir, key)
		for id, want := range acknowledged {
			if token, err := d.Token(t.Context(), id, client.ReadOptions{}); err != nil || token.AccessToken != want {
				t.Errorf("round %d: Token(%s) = %q, %v, want %q", round, id, token.AccessToken, err, want)
			}
		}
		// What is half done is ended, and killed at some moment of that.
		if _, err := d.RetireKeys(t.Context()); err != nil {
			t.Errorf("round %d: RetireKeys = %v", round, err)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(rand.N(30 * time.Millisecond)): // a random moment, not a wait for something
		}
		d.stop(syscall.SIGKILL)
		d = startBuilt(t, socket, dataDir, key)
		if t.Failed() {
			return
		}
	}
	d.stop(syscall.SIGTERM)
	if said := checkWith(dataDir, key); !strings.Contains(said, "is whole:") {
		t.Errorf("at last check = %s", said)
	}
	t.Logf("%d kills lost none of %d credentials", 2*rounds, len(acknowledged))
}

// checkWith runs `invectd check` with a key, and returns what it says.
func checkWith(dataDir, key string) string {
	check := exec.Command("invectd", "check", "--data-dir", dataDir)
	check.Env = append(os.Environ(), keyVariable+"="+key)
	out, _ := check.CombinedOutput() // it fails where the key is another
	return string(out)
}
