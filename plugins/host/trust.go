package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// An untrustworthy error says why nothing of a path is run, and what to do.
type untrustworthy struct{ path, why string }

func (e *untrustworthy) Error() string { return e.path + " " + e.why }

// checkFolder returns an error if others could put a file into the folder: by
// its own mode, or by that of any folder above it.
func checkFolder(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return err
	}
	for at := folder; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		// In a folder with the sticky bit, as /tmp, nobody moves what belongs to
		// another. That is enough above the folder, not for itself.
		sticky := at != folder && info.Mode()&fs.ModeSticky != 0
		if err := checkOwner(at, info, sticky); err != nil {
			return err
		}
		if at == "/" {
			return nil
		}
	}
}

// checkOwner returns an error if somebody besides root and the daemon's own user
// could write to a path. shared allows others to write.
func checkOwner(path string, info fs.FileInfo, shared bool) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case owner != 0 && owner != uint32(os.Geteuid()):
		return &untrustworthy{path, fmt.Sprintf("belongs to user id %d: chown it to root or to the daemon's own user", owner)}
	case info.Mode().Perm()&0o022 != 0 && !shared:
		return &untrustworthy{path, fmt.Sprintf("can be written by others (mode %04o): chmod go-w it", info.Mode().Perm())}
	}
	return nil
}

// validName are the names that a plugin may have: they stand in paths, logs and
// the labels of metrics.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// openExecutable opens a plugin's file for reading, if others cannot have written
// it. The folder has been checked.
func openExecutable(path string) (*os.File, error) {
	if !validName.MatchString(filepath.Base(path)) {
		return nil, &untrustworthy{path, "has a name that no plugin may have: give it one of at most 64 letters, digits, '.', '_' and '-'"}
	}
	// A link could lead out of the folder, and a pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, &untrustworthy{path, "is a symbolic link: put the file itself there"}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkExecutable(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// maxImage bounds what is copied into memory to be run.
const maxImage = 256 << 20

func checkExecutable(path string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return &untrustworthy{path, "is no regular file: remove it"}
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return &untrustworthy{path, "is setuid or setgid: chmod ug-s it"}
	case mode.Perm()&0o111 == 0:
		return &untrustworthy{path, "is not executable: chmod u+x it"}
	case info.Size() > maxImage:
		return &untrustworthy{path, fmt.Sprintf("has %d bytes and a plugin may have %d", info.Size(), maxImage)}
	}
	return checkOwner(path, info, false)
}
