package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

const unsynced = "STORE_UNSYNCED" // set in the child that is to lose writes

// A disk is an ext4 file system in a file, whose power can be cut.
type disk struct {
	t            *testing.T
	image, mount string
}

// newDisk makes one, or skips the test where that cannot be done.
func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t, filepath.Join(t.TempDir(), "image"), t.TempDir()}
	if os.Geteuid() != 0 {
		t.Skip("cutting the power of a file system takes root")
	}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		t.Skipf("making an ext4 file system: %v %s", err, out)
	}
	if err := d.on(); err != nil {
		t.Skipf("mounting a file: %v", err)
	}
	t.Cleanup(d.off)
	return d
}

func (d *disk) on() error {
	out, err := exec.Command("mount", "-o", "loop", d.image, d.mount).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (d *disk) off() {
	d.t.Helper()
	if err := syscall.Unmount(d.mount, 0); err != nil {
		d.t.Errorf("unmounting %s: %v", d.mount, err)
	}
}

// cut cuts the power: nothing more reaches the disk, not even what the kernel
// holds to be written.
func (d *disk) cut() {
	d.t.Helper()
	const ioctl, noLogFlush = 0x8004587d, 2 // FS_IOC_SHUTDOWN, FS_SHUTDOWN_FLAGS_NOLOGFLUSH
	f, err := os.Open(d.mount)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	how := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctl, uintptr(unsafe.Pointer(&how))); errno != 0 {
		d.t.Skipf("FS_IOC_SHUTDOWN: %v", errno)
	}
}

// cutAfter cuts the power under a writing child once that many writes were
// acknowledged, and returns the last acknowledged count of each writer.
func (d *disk) cutAfter(dir string, lines int, environment ...string) []uint64 {
	d.t.Helper()
	child := exec.CommandContext(d.t.Context(), os.Args[0])
	child.Env = append(append(os.Environ(), crashDir+"="+dir), environment...)
	out, err := child.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		d.t.Fatal(err)
	}
	acknowledged := make([]uint64, crashWriters)
	for scanner := bufio.NewScanner(out); scanner.Scan(); lines-- {
		var n int
		var count uint64
		if _, err := fmt.Sscan(scanner.Text(), &n, &count); err != nil {
			break
		}
		acknowledged[n] = max(acknowledged[n], count)
		if lines == 0 {
			d.cut() // what is acknowledged from here on was synced before, or is a lie
		}
	}
	if err := child.Wait(); err == nil || lines > 0 {
		d.t.Fatalf("the child ended by itself, before the power was cut: %v", err)
	}
	return acknowledged
}

// lost counts the acknowledged writes that a store does not have any more; all
// of them where it does not open.
func lost(t *testing.T, dir string, acknowledged []uint64) (count uint64) {
	t.Helper()
	db, err := Open(testConfig(t, dir))
	if err != nil {
		t.Logf("after the power was cut: %v", err)
		for _, n := range acknowledged {
			count += n
		}
		return count
	}
	defer closeStore(t, db)
	for n, want := range acknowledged {
		c, err := db.Get(t.Context(), crashID(n))
		if err != nil {
			t.Logf("%s: %v", crashID(n), err)
		}
		count += max(want, c.ReadCount) - c.ReadCount
	}
	return count
}

// A power cut loses nothing that was acknowledged, and the next start works.
// Without syncing the same test loses writes: else it would show nothing.
func TestPowerCut(t *testing.T) {
	cuts := 20
	if testing.Short() {
		cuts = 2
	}
	d := newDisk(t)
	total := uint64(0)
	for cut := range cuts {
		dir := filepath.Join(d.mount, "synced")
		acknowledged := d.cutAfter(dir, 30+61*cut)
		d.off()
		if err := d.on(); err != nil {
			t.Fatal(err)
		}
		total = 0 // they go on counting
		for _, n := range acknowledged {
			total += n
		}
		if count := lost(t, dir, acknowledged); count > 0 {
			t.Errorf("cut %d lost %d acknowledged writes", cut, count)
		}
		if t.Failed() {
			return
		}
	}
	dir := filepath.Join(d.mount, "synced")
	acknowledged := d.cutAfter(dir, 2000, unsynced+"=1")
	d.off()
	if err := d.on(); err != nil {
		t.Fatal(err)
	}
	count := lost(t, dir, acknowledged)
	if count == 0 {
		t.Error("without syncing nothing was lost: this test does not cut the power")
	}
	t.Logf("%d cuts lost none of %d acknowledged writes; without syncing one cut lost %d", cuts, total, count)
}
