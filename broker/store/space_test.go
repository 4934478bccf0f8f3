package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// smallDisk mounts a file system of 48 MiB, which only root may.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// hog fills the disk to the last byte.
func hog(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return f.Name()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	disk := smallDisk(t)
	dir := filepath.Join(disk, "data")
	db, err := Open(testConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Create(t.Context(), brokertest.FullCredential("one")); err != nil {
		t.Fatal(err)
	}
	hogged := hog(t, disk)
	_, createErr := db.Create(t.Context(), brokertest.FullCredential("two"))
	for what, err := range map[string]error{"Create": createErr, "Writable": db.Writable(t.Context()), "Delete": db.Delete(t.Context(), "one")} {
		if !errors.Is(err, broker.ErrStoreUnavailable) {
			t.Errorf("%s on a full disk = %v, want ErrStoreUnavailable", what, err)
		}
	}
	if _, err := db.Get(t.Context(), "one"); err != nil {
		t.Errorf("Get on a full disk: %v", err)
	}
	if err := os.Remove(hogged); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Create(t.Context(), brokertest.FullCredential("two")); err != nil {
		t.Errorf("Create once there is room again: %v", err)
	}
	closeStore(t, db)

	// It starts on a full disk to be read, and is written once there is room.
	for _, heals := range []bool{false, true} {
		hogged = hog(t, disk)
		db, err = Open(testConfig(t, dir))
		if err != nil {
			t.Fatalf("Open on a full disk: %v", err)
		}
		if _, err := db.Get(t.Context(), "two"); err != nil {
			t.Errorf("Get from a store opened on a full disk: %v", err)
		}
		if _, err := db.Create(t.Context(), brokertest.FullCredential("three")); !errors.Is(err, broker.ErrStoreUnavailable) {
			t.Errorf("Create on a full disk = %v, want ErrStoreUnavailable", err)
		}
		if !heals {
			closeStore(t, db)
		}
		if err := os.Remove(hogged); err != nil {
			t.Fatal(err)
		}
	}
	waitWritable(t, db)
	if _, err := db.Create(t.Context(), brokertest.FullCredential("three")); err != nil {
		t.Errorf("Create once there is room again: %v", err)
	}
	closeStore(t, db)
}

// What a killed process leaves is read on a full disk as well.
func TestFullDiskAfterACrash(t *testing.T) {
	disk := smallDisk(t)
	dir := filepath.Join(disk, "data")
	acknowledged := killAfter(t, dir, 100)
	hogged := hog(t, disk)
	for range 3 {
		got, err := readInChild(t, dir)
		if err != nil || !strings.Contains(got, unharmed) {
			t.Errorf("reading on a full disk after a crash: %v\n%s", err, got)
		}
	}
	if err := os.Remove(hogged); err != nil {
		t.Fatal(err)
	}
	db, err := Open(testConfig(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range acknowledged {
		if c, err := db.Get(t.Context(), crashID(n)); err != nil || c.ReadCount < want {
			t.Errorf("%s = %d, %v, want at least %d", crashID(n), c.ReadCount, err, want)
		}
	}
	closeStore(t, db)
}

// The logs that Badger writes to next have their space already.
func TestLogsArePreallocated(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	for _, path := range logs(t, dir) {
		var stat syscall.Stat_t
		if err := syscall.Stat(path, &stat); err != nil {
			t.Fatal(err)
		}
		if stat.Blocks*512 < memTableSize {
			t.Errorf("%s has %d bytes on disk, want %d", path, stat.Blocks*512, memTableSize)
		}
	}
}
