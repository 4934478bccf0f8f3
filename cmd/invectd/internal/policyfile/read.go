package policyfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/invectd/invectd/broker"
)

// Load reads the policy in a file. Whoever may write it decides who gets the
// secrets, so that has to be root or the daemon's own user alone.
func Load(file string) ([]broker.Rule, error) {
	data, err := read(file)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	return Parse(file, data, Machine)
}

func read(file string) ([]byte, error) {
	target, err := filepath.EvalSymlinks(file)
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{filepath.Dir(file), filepath.Dir(target)} {
		if err := mayTrustPath(folder); err != nil {
			return nil, err
		}
	}
	// A pipe would be waited for until somebody writes to it.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", file)
	}
	if err := mayTrust(file, info); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// mayTrust returns an error for what others could have written.
func mayTrust(path string, info fs.FileInfo) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case owner != 0 && owner != uint32(os.Geteuid()):
		return fmt.Errorf("%s belongs to user id %d: chown it to root or the daemon's own user", path, owner)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others can write to %s (mode %04o): chmod go-w it", path, info.Mode().Perm())
	}
	return nil
}

// mayTrustPath looks at a folder and at all above it, any of which could be
// renamed by whoever may write to the one that it is in.
func mayTrustPath(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	for {
		if err := mayTrustFolder(folder); err != nil {
			return err
		}
		if folder == "/" {
			return nil
		}
		folder = filepath.Dir(folder)
	}
}

// mayTrustFolder returns an error for a folder in which others could put another
// file in place of ours. In a sticky one they cannot, and where nothing can be
// written, as in the volume of a Kubernetes ConfigMap, its mode says nothing.
func mayTrustFolder(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if err = mayTrust(folder, info); err == nil {
		return nil
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if info.Mode()&fs.ModeSticky != 0 && owner == 0 || readOnly(folder) {
		return nil
	}
	return err
}

func readOnly(folder string) bool {
	var volume unix.Statfs_t
	return unix.Statfs(folder, &volume) == nil && volume.Flags&unix.ST_RDONLY != 0
}
