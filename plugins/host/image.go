package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errDigest is what sealing returns for a file that is not the trusted one.
var errDigest = errors.New("the file is not the one that was trusted")

// digestOf returns the digest of what a file holds now, as `sha256:` and hex.
func digestOf(r io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(r, maxImage+1)); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// An image is what is run: a copy that nobody can change any more. Closing it
// leaves a process that runs it alone.
type image struct {
	*os.File
	private string // folder of the copy on disk, where there is no memfd
}

// seal copies the file at path into memory, seals the copy, and returns it if its
// digest is the trusted one: what was hashed is what runs, whatever becomes of
// the file.
func seal(path, digest, scratch string) (*image, error) {
	from, err := openExecutable(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := sealedCopy(from, filepath.Base(path))
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		// vm.memfd_noexec=2, or no memfd at all.
		to, err = privateCopy(from, scratch)
	}
	if err != nil {
		return nil, fmt.Errorf("copying %s: %w", path, err)
	}
	got, err := digestOf(io.NewSectionReader(to, 0, maxImage+1))
	if err == nil && got != digest {
		err = errDigest
	}
	if err != nil {
		to.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return to, nil
}

// sealedCopy returns a copy in memory.
func sealedCopy(from *os.File, name string) (*image, error) {
	fd, err := unix.MemfdCreate("invectd-plugin-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 there is no MFD_EXEC
		fd, err = unix.MemfdCreate("invectd-plugin-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	to := &image{File: os.NewFile(uintptr(fd), name)}
	_, err = io.Copy(to, io.LimitReader(from, maxImage+1))
	if err == nil {
		err = unix.Fchmod(fd, 0o555)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		to.Close()
		return nil, err
	}
	return to, nil
}

// privateCopy returns a copy in a folder that only the daemon's own user can
// enter. It is weaker than a sealed one: that user could change it.
func privateCopy(from *os.File, scratch string) (*image, error) {
	folder, err := os.MkdirTemp(scratch, "image-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "plugin")
	err = func() error {
		to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o500)
		if err != nil {
			return err
		}
		if _, err = from.Seek(0, io.SeekStart); err == nil {
			_, err = io.Copy(to, io.LimitReader(from, maxImage+1))
		}
		if err == nil {
			err = to.Chmod(0o555) // a daemon that is root runs it as somebody else
		}
		// Somebody who holds it open for writing could not run it.
		return errors.Join(err, to.Close())
	}()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &image{f, folder}, nil
}

// Close implements [io.Closer].
func (i *image) Close() error {
	err := i.File.Close()
	if i.private != "" {
		err = errors.Join(err, os.RemoveAll(i.private))
	}
	return err
}
