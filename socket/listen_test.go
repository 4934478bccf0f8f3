package socket

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func listenAt(t *testing.T, path string, mode fs.FileMode) net.Listener {
	t.Helper()
	ln, err := Listen(path, mode, NoGroup)
	if err != nil {
		t.Fatalf("Listen(%q): %v", path, err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestListenMakesFolderAndMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666} {
		dir := filepath.Join(socketDir(t), "made")
		path := filepath.Join(dir, "s")
		listenAt(t, path, mode)
		info, err := os.Stat(dir)
		if want := 0o700 | mode&0o022>>1; err != nil || info.Mode().Perm() != want {
			t.Errorf("Stat(folder of a socket with mode %v) = %v, %v, want %v", mode, info.Mode(), err, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|mode {
			t.Errorf("Stat(socket) = %v, %v, want mode %v", info.Mode(), err, fs.ModeSocket|mode)
		}
	}
}

// TestListenModeAtEveryInstant polls while sockets come and go under a umask that
// forbids nothing: none may ever be seen with more than its mode, or with its
// mode and another group.
func TestListenModeAtEveryInstant(t *testing.T) {
	t.Run("group", func(t *testing.T) {
		needsRoot(t, "to give a socket to a group")
		watchMode(t, 0o660, 12345)
	})
	watchMode(t, 0o600, NoGroup)
}

func watchMode(t *testing.T, mode fs.FileMode, gid int) {
	t.Helper()
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(socketDir(t), "s")
	ctx, cancel := context.WithCancel(t.Context())
	var poll sync.WaitGroup
	var seen atomic.Int32
	poll.Go(func() {
		for ctx.Err() == nil {
			info, err := os.Lstat(path)
			if err != nil {
				continue
			}
			seen.Add(1)
			if perm := info.Mode().Perm(); perm&^mode != 0 {
				t.Errorf("the socket was seen with mode %v, want at most %v", perm, mode)
				return
			}
			if own := int(info.Sys().(*syscall.Stat_t).Gid); gid != NoGroup && own != gid {
				t.Errorf("the socket was seen with group %d, want %d", own, gid)
				return
			}
		}
	})
	for seen.Load() < 500 && !t.Failed() {
		ln, err := Listen(path, mode, gid)
		if err != nil {
			t.Fatalf("Listen: %v", err)
		}
		ln.Close()
	}
	cancel()
	poll.Wait()
}

func TestListenRefusesLiveSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	first := listenAt(t, path, 0o600)
	if _, err := Listen(path, 0o600, NoGroup); err == nil || !strings.Contains(err.Error(), "another invectd listens on "+path) {
		t.Errorf("second Listen = %v, want an error that names the path", err)
	}
	// Even with the lock file gone the socket is not stolen.
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, 0o600, NoGroup); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("Listen without the lock = %v, want an error", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("Dial after two failed takeovers: %v", err)
	}
	conn.Close()
	if err := first.Close(); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("Lstat after Close = %v, want that it does not exist", err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("second Close = %v, want nil", err)
	}
	listenAt(t, path, 0o600)
}

func TestListenTakesOverStaleSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close() // as a crash leaves it
	ln := listenAt(t, path, 0o600)
	go func() {
		if conn, err := ln.Accept(); err == nil {
			conn.Close()
		}
	}()
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		t.Fatalf("Dial = %v, want nil", err)
	}
	conn.Close()
}

func TestListenOnlyOneWinsTheRace(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	var wins sync.Map
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if ln, err := Listen(path, 0o600, NoGroup); err == nil {
				wins.Store(i, ln)
			}
		})
	}
	all.Wait()
	count := 0
	wins.Range(func(_, ln any) bool {
		count++
		ln.(net.Listener).Close()
		return true
	})
	if count != 1 {
		t.Errorf("%d of 20 listeners were made at once, want 1", count)
	}
}

func TestCloseLeavesAnothersSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	ln := listenAt(t, path, 0o600)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ln.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("Lstat of the other's socket = %v, want nil", err)
	}
}

func TestListenRefusesBadPaths(t *testing.T) {
	dir := socketDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, strings.Repeat("x", 100)): "choose a shorter one",
		file:       "no socket",
		"@invectd": "path of a file",
		"":         "path of a file",
	} {
		ln, err := Listen(path, 0o600, NoGroup)
		if err == nil {
			ln.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q) = %v, want an error with %q", path, err, want)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("ReadFile = %q, %v, want it untouched", data, err)
	}
}
