package plugins

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/invectd/invectd/broker"
)

// extensions are those of files that hold a definition.
var extensions = []string{".yaml", ".yml", ".json"}

const (
	// maxEntries bounds how much of a folder is looked at.
	maxEntries = 16 << 10
	// settleTime is how long a file has to have been left alone before it is read
	// again: somebody may be in the middle of writing it.
	settleTime = 500 * time.Millisecond
)

// errUnsettled says that a file is being written.
var errUnsettled = errors.New("it is being written")

// listFolder returns the paths of the files that may hold a definition, ordered.
// Hidden files, which editors and Kubernetes leave behind, and folders are none.
// One that does not exist has none; one that others can write to is an error.
func listFolder(dir string) (paths []string, err error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading provider definitions: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = mayTrust(dir, info)
	}
	if err != nil {
		return nil, fmt.Errorf("reading provider definitions: %w", err)
	}
	entries, err := f.ReadDir(maxEntries + 1)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("reading provider definitions: %w", err)
	case len(entries) > maxEntries:
		return nil, fmt.Errorf("reading provider definitions: %s has more than %d files: keep nothing else there", dir, maxEntries)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() && !strings.HasPrefix(name, ".") && slices.Contains(extensions, filepath.Ext(name)) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// A stamp tells one state of a file from another. The time of the last change of
// the inode cannot be set back, as that of its content can.
type stamp struct {
	device, inode     uint64
	size              int64
	modified, changed syscall.Timespec
	mode, owner       uint32
}

func stampOf(info fs.FileInfo) stamp {
	s := info.Sys().(*syscall.Stat_t)
	return stamp{s.Dev, s.Ino, s.Size, s.Mtim, s.Ctim, s.Mode, s.Uid}
}

// settled reports whether a file was left alone for a while. A time in the future
// is another machine's, and says nothing.
func (s stamp) settled(now time.Time) bool {
	age := now.Sub(time.Unix(s.modified.Unix()))
	return age < 0 || age >= settleTime
}

// readFile reads no more of a file than tells that it is too large. Opening a
// pipe would wait for somebody to write to it, and opening a device may do worse.
func readFile(path string) (data []byte, at stamp, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, stamp{}, err
	}
	at = stampOf(info)
	if !info.Mode().IsRegular() {
		return nil, at, fmt.Errorf("%s is no regular file", path)
	}
	if err := mayTrustLink(path); err != nil {
		return nil, at, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, at, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, at, err
	}
	at = stampOf(info)
	if !info.Mode().IsRegular() {
		return nil, at, fmt.Errorf("%s is no regular file", path)
	}
	if err := mayTrust(path, info); err != nil {
		return nil, at, err
	}
	if data, err = io.ReadAll(io.LimitReader(f, maxSize+1)); err != nil {
		return nil, at, err
	}
	if info, err = f.Stat(); err == nil && stampOf(info) != at {
		err = errUnsettled
	}
	return data, at, err
}

// mayTrust returns an error for a file or folder that others could have written:
// a definition says where secrets are sent.
func mayTrust(path string, info fs.FileInfo) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case owner != 0 && owner != uint32(os.Geteuid()):
		return fmt.Errorf("%s belongs to user id %d: chown it to root or the daemon's own user", path, owner)
	case info.Mode().Perm()&0o022 != 0 && !onReadOnlyMount(path):
		return fmt.Errorf("others can write to %s (mode %04o): chmod go-w it", path, info.Mode().Perm())
	}
	return nil
}

// mayTrustLink is mayTrust for the folder that a link leads into.
func mayTrustLink(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil || target == path {
		return err
	}
	dir := filepath.Dir(target)
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return mayTrust(dir, info)
}

// onReadOnlyMount reports whether nobody can write to path, whatever its mode:
// Kubernetes gives the folder of a config map to all, and mounts it so.
func onReadOnlyMount(path string) bool {
	const readOnly = 1 // ST_RDONLY of statvfs(3), which Linux keeps for each mount
	var mount syscall.Statfs_t
	return syscall.Statfs(path, &mount) == nil && mount.Flags&readOnly != 0
}

// A checkFunc returns a definition as it can be in force, or says why it cannot.
type checkFunc func(broker.Definition) (broker.Definition, error)

// readDefinition reads and checks the definition in a file. An error names the
// file, and the line where there is one, and says what to write.
func readDefinition(path string, check checkFunc) (d broker.Definition, lines lines, at stamp, err error) {
	data, at, err := readFile(path)
	if err != nil {
		return d, nil, at, fmt.Errorf("reading a provider definition: %w", err)
	}
	if d, lines, err = parse(path, data); err != nil {
		return d, nil, at, err
	}
	if d, err = check(d); err != nil {
		return d, nil, at, located(path, lines, err)
	}
	return d, lines, at, nil
}

// located turns the fields that a check names into places in a file.
func located(file string, lines lines, err error) error {
	invalid, ok := errors.AsType[*broker.InvalidError](err)
	if !ok {
		return fmt.Errorf("%s: %w", file, err)
	}
	var errs []error
	for _, field := range invalid.Fields {
		errs = append(errs, &SyntaxError{file, lines.of(field.Path), field.Path + ": " + field.Message})
	}
	return errors.Join(errs...)
}
