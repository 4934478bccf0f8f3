package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// sickDisk is a file system that has room and whose device has none: what is
// written to it is lost with an I/O error, until the returned file is removed.
func sickDisk(t *testing.T) (mount string, sicken func() (hogged string)) {
	t.Helper()
	device := smallDisk(t)
	image, mount := filepath.Join(device, "image"), t.TempDir()
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	// A journal would have the file system given up for good.
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", image).CombinedOutput(); err != nil {
		t.Skipf("making an ext4 file system: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop,errors=continue", image, mount).CombinedOutput(); err != nil {
		t.Skipf("mounting a file: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Errorf("unmounting %s: %v", mount, err)
		}
	})
	return mount, func() string { return hog(t, device) }
}

// An I/O error never makes a write visible that was not acknowledged, and once
// the disk is well the store is, too.
func TestSickDisk(t *testing.T) {
	mount, sicken := sickDisk(t)
	db, err := Open(testConfig(t, filepath.Join(mount, "data")))
	if err != nil {
		t.Fatal(err)
	}
	acknowledged, err := db.Create(t.Context(), brokertest.FullCredential("one"))
	if err != nil {
		t.Fatal(err)
	}
	count := func(c *broker.Credential) error { c.ReadCount++; return nil }
	hogged := sicken()
	for writes := 0; err == nil; writes++ {
		var c broker.Credential
		if c, err = db.Update(t.Context(), "one", count); err == nil {
			acknowledged = c
		}
		if writes == 100_000 {
			t.Skip("the disk takes everything")
		}
	}
	t.Logf("after %d writes: %v", acknowledged.ReadCount, err)
	if !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("Update on a sick disk = %v, want ErrStoreUnavailable", err)
	}
	for began := time.Now(); time.Since(began) < 10*healSoon; { // while it tries to come back
		c, err := db.Get(t.Context(), "one")
		if err != nil && !errors.Is(err, broker.ErrStoreUnavailable) || err == nil && c.ReadCount != acknowledged.ReadCount {
			t.Errorf("Get on a sick disk = %d, %v, want the %d that were acknowledged", c.ReadCount, err, acknowledged.ReadCount)
		}
		if _, err := db.Update(t.Context(), "one", count); !errors.Is(err, broker.ErrStoreUnavailable) {
			t.Errorf("Update on a sick disk = %v, want ErrStoreUnavailable", err)
		}
	}
	if err := os.Remove(hogged); err != nil {
		t.Fatal(err)
	}
	waitWritable(t, db)
	c, err := db.Update(t.Context(), "one", count)
	if last := acknowledged.ReadCount; err != nil || c.ReadCount != last+1 && c.ReadCount != last+2 {
		t.Errorf("Update once the disk is well = %d, %v, want it to go on from %d or one more", c.ReadCount, err, last)
	}
	closeStore(t, db)
}
