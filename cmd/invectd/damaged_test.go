package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/invectd/invectd/socket/client"
)

// A bit that flips in a table stops the credential whose record it hits, and no
// other: that one is never altered and never absent, it is named, and can be got
// rid of while the daemon runs.
func TestDaemonOnADamagedTable(t *testing.T) {
	dir, err := os.MkdirTemp("", "invectd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dataDir, key, socket := filepath.Join(dir, "data"), newKeyText(), filepath.Join(dir, "s")
	d := startBuilt(t, socket, dataDir, key)
	ids := map[string]string{} // and the secrets
	for n := range 30 {
		name, secret := fmt.Sprint("credential ", n), fmt.Sprintf("secret-%d-%s", n, strings.Repeat("x", 300))
		c, err := d.CreateCredential(t.Context(), client.CredentialInput{Name: &name, AuthType: new("bearer"), Config: map[string]any{"token": secret}})
		if err != nil {
			t.Fatal(err)
		}
		ids[c.ID] = secret
	}
	d.stop(syscall.SIGTERM)
	tables, err := filepath.Glob(filepath.Join(dataDir, "records", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables = %v, %v, want some", tables, err)
	}
	table := tables[len(tables)-1]
	whole, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	contained, nameless := 0, 0
	for at := 2000; at < len(whole)-2000 && contained < 3; at += 1501 {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 8
		if err := os.WriteFile(table, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		switch said := checkBuilt(t, dataDir, key); {
		case strings.Contains(said, "all other records are whole"):
		case strings.Contains(said, "is whole:"): // the byte is of nothing that is read
			continue
		default: // a key was hit, and so the order of the table
			if !strings.Contains(said, table) {
				t.Errorf("byte %d: invectd check says %s, want it to name %s", at, said, table)
			}
			continue
		}
		d := startBuilt(t, socket, dataDir, key)
		d.until("it knows what is damaged", func() bool { s, err := d.Status(t.Context()); return err == nil && len(s.Problems) > 0 })
		s, _ := d.Status(t.Context())
		contained++
		hit := ""
		for id, want := range ids {
			token, err := d.Token(t.Context(), id, client.ReadOptions{})
			if err == nil && token.AccessToken == want {
				continue
			}
			hit = id
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != "store_unavailable" || !strings.Contains(s.Problems[0].What, id) {
				t.Errorf("byte %d: Token(%s) = %v, want store_unavailable and /status to name it: %+v", at, id, err, s.Problems)
			}
		}
		list, _, err := d.Credentials(t.Context(), client.Filter{})
		if err != nil || len(list) < len(ids)-1 {
			t.Errorf("byte %d: Credentials lists %d, %v, want all that can be read", at, len(list), err)
		}
		if len(list) < len(ids) { // the name of the one that is hit is not known
			nameless++
			_, err := d.Token(t.Context(), "any name", client.ReadOptions{})
			wantError(t, "Token of a name that may be that of the damaged one", err, http.StatusServiceUnavailable, "store_unavailable")
		}
		if hit == "" {
			t.Errorf("byte %d is told of and hits nothing: %+v", at, s.Problems)
		}
		if contained == 3 { // the last is mended
			if err := d.DeleteCredential(t.Context(), hit, false); err != nil {
				t.Errorf("DeleteCredential(%s) of a damaged one = %v", hit, err)
			}
			if s, err := d.Status(t.Context()); err != nil || len(s.Problems) > 0 {
				t.Errorf("problems once it was deleted = %+v, %v, want none", s.Problems, err)
			}
		}
		d.stop(syscall.SIGKILL) // a proper end would compact the table
		if contained < 3 {
			for _, name := range []string{"journal", "journal.old"} {
				os.Remove(filepath.Join(dataDir, name))
			}
		}
	}
	if contained < 3 || nameless == 0 {
		t.Fatalf("%d damaged tables were served from, %d with a damaged summary, want 3 and some", contained, nameless)
	}
	d = startBuilt(t, socket, dataDir, key)
	d.wantHealthy()
	if list, _, err := d.Credentials(t.Context(), client.Filter{}); err != nil || len(list) != len(ids)-1 {
		t.Errorf("at the next start there are %d credentials, %v, want %d", len(list), err, len(ids)-1)
	}
	d.stop(syscall.SIGTERM)
}

// checkBuilt runs `invectd check` on a copy, and returns what it says.
func checkBuilt(t *testing.T, dataDir, key string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(dataDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	check := exec.Command("invectd", "check", "--data-dir", filepath.Join(dir, "data"))
	check.Env = append(os.Environ(), keyVariable+"="+key)
	out, _ := check.CombinedOutput() // it fails where anything is damaged
	return strings.ReplaceAll(string(out), filepath.Join(dir, "data"), dataDir)
}

func (d *builtDaemon) wantHealthy() {
	d.t.Helper()
	if _, err := d.Ready(d.t.Context()); err != nil {
		d.t.Errorf("/readyz = %v", err)
	}
}
