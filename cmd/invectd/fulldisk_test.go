package main

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// A builtDaemon is the program as a process of its own.
type builtDaemon struct {
	*client.Client
	t       *testing.T
	process *exec.Cmd
	log     *lockedBuffer
}

// startBuilt runs `invectd serve` and waits until it answers.
func startBuilt(t *testing.T, socket, dataDir, key string) *builtDaemon {
	t.Helper()
	d := &builtDaemon{Client: client.New(socket), t: t, log: &lockedBuffer{}}
	d.process = exec.Command("invectd", "serve", "--socket", socket, "--data-dir", dataDir, "--metrics", off, "--callback", off)
	d.process.Env = append(os.Environ(), keyVariable+"="+key, "GORACE=atexit_sleep_ms=0")
	d.process.Stderr = d.log
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); d.process.Process.Kill(); d.process.Wait() })
	d.until("it answers", func() bool {
		_, err := d.Health(t.Context())
		_, answered := errors.AsType[*client.Error](err)
		return err == nil || answered
	})
	return d
}

// until waits for something to come true.
func (d *builtDaemon) until(what string, holds func() bool) {
	d.t.Helper()
	for tick, late := time.NewTicker(10*time.Millisecond), time.After(30*time.Second); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			d.t.Fatalf("%s: not within 30 s\n%s", what, d.log)
		}
	}
}

// stop ends the daemon with a signal, SIGKILL or one that it obeys.
func (d *builtDaemon) stop(signal syscall.Signal) {
	d.t.Helper()
	if err := d.process.Process.Signal(signal); err != nil {
		d.t.Errorf("the daemon died by itself: %v\n%s", err, d.log)
	}
	if err := d.process.Wait(); err != nil && signal != syscall.SIGKILL {
		d.t.Errorf("stopped by %v: %v\n%s", signal, err, d.log)
	}
}

// wantStore looks at all that tells of the store.
func (d *builtDaemon) wantStore(writable bool) {
	d.t.Helper()
	if _, err := d.Ready(d.t.Context()); (err == nil) != writable {
		d.t.Errorf("/readyz = %v, want writable %t", err, writable)
	}
	if s, err := d.Status(d.t.Context()); err != nil || s.Store.Writable != writable || (len(s.Problems) == 0) != writable {
		d.t.Errorf("/status = %+v, %v, want writable %t", s, err, writable)
	}
	want := map[bool]string{true: "invectd_store_writable 1", false: "invectd_store_writable 0"}[writable]
	if page, err := d.Metrics(d.t.Context()); err != nil || !strings.Contains(string(page), want+"\n") {
		d.t.Errorf("/metrics lacks %q, %v", want, err)
	}
	if token, err := d.Token(d.t.Context(), "openai", client.ReadOptions{}); err != nil || token.AccessToken != "sk-1" {
		d.t.Errorf("Token(openai) = %q, %v, want it whatever the disk", token.AccessToken, err)
	}
}

// A disk that fills up kills no daemon, not a running one and not one that
// starts, whatever way the one before ended; it is told of, reads go on, and
// once there is room all is well without a restart.
func TestDaemonOnAFullDisk(t *testing.T) {
	disk, err := os.MkdirTemp("", "invectd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(disk) })
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("mounting a small file system, which only root may: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Errorf("unmounting %s: %v", disk, err)
		}
	})
	dataDir, key, hog := filepath.Join(disk, "data"), newKeyText(), filepath.Join(disk, "hog")
	socket := filepath.Join(t.TempDir(), "s")
	create := func(d *builtDaemon, name string) error {
		_, err := d.CreateCredential(t.Context(), client.CredentialInput{Name: &name, AuthType: new("apiKey"), Config: map[string]any{"apiKey": "sk-1"}})
		return err
	}
	d := startBuilt(t, socket, dataDir, key)
	if err := create(d, "openai"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		d.wantStore(true)
		fillUp(t, hog)
		if end != 0 {
			d.stop(end)
			d = startBuilt(t, socket, dataDir, key)
		}
		wantError(t, "CreateCredential", create(d, "late"), http.StatusServiceUnavailable, "store_unavailable")
		d.wantStore(false)
		if err := os.Remove(hog); err != nil {
			t.Fatal(err)
		}
		d.until("it heals", func() bool { _, err := d.Ready(t.Context()); return err == nil })
		if err := create(d, "after "+end.String()); err != nil {
			t.Errorf("CreateCredential once there is room = %v", err)
		}
	}
	d.wantStore(true)
	d.stop(syscall.SIGTERM)
}

// fillUp takes all that is left of a disk.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
