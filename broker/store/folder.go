package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	lockFile      = "lock"
	recordsFolder = "records"
	// newRecordsFolder is where a store is made, before its keyring is written;
	// nothing was acknowledged from it yet.
	newRecordsFolder = "records.new"
)

// inspect looks at the folder without changing anything. It returns the keyring
// and its keys, or nil where there is no store yet.
func inspect(dir string, kek Key) (*keyring, *rootKeys, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is no folder", dir)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != uint32(os.Geteuid()) {
		return nil, nil, fmt.Errorf("%s belongs to user id %d, who could put other files there: chown it to the daemon's own user", dir, owner)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, nil, fmt.Errorf("others can write to %s (mode %04o): chmod 0700 it", dir, info.Mode().Perm())
	}
	path := filepath.Join(dir, keyringFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if exists(filepath.Join(dir, recordsFolder)) {
			return nil, nil, fmt.Errorf("%s holds records but no keyring to open them with: put %s back from a backup, or choose another folder", dir, path)
		}
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the keyring: %w", err)
	}
	k, err := parseKeyring(data)
	if err != nil {
		return nil, nil, fmt.Errorf("keyring %s: %w", path, err)
	}
	keys, err := k.unlock(kek)
	if err != nil {
		return nil, nil, fmt.Errorf("keyring %s: %w", path, err)
	}
	return k, keys, nil
}

// lockFolder makes the folder where there is none and takes it for this process
// alone, until the returned file is closed or the process ends.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", dir, err)
		}
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		return nil, fmt.Errorf("another invectd (pid %s) uses %s", strings.TrimSpace(string(holder[:n])), dir)
	}
	// The number only tells people whom to look for; the lock is the kernel's.
	pid := fmt.Appendln(nil, os.Getpid())
	if err := errors.Join(second(f.WriteAt(pid, 0)), f.Truncate(int64(len(pid)))); err != nil && !errors.Is(err, syscall.ENOSPC) {
		f.Close()
		return nil, fmt.Errorf("writing the lock file: %w", err)
	}
	return f, nil
}

func second(_ int, err error) error { return err }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeSynced writes a private file and waits until it is on disk.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFolder waits until the names in a folder are on disk.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
