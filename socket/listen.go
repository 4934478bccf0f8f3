package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// maxPath is how many bytes the path of a Unix socket may have on Linux, see
// unix(7): 108 with the NUL at its end.
const maxPath = 107

// NoGroup leaves a socket with the group that it has by itself.
const NoGroup = -1

// Listen listens on a Unix socket at path whose permission bits are mode and
// whose group is gid, and at no instant is it wider than that. A missing parent
// folder is made, which those may pass through who may connect, and nobody else.
//
// Whoever holds the lock on PATH.lock owns the path: a socket that a dead process
// left behind is replaced, one that is in use is an error. Closing the listener
// removes its own socket and never another's.
func Listen(path string, mode fs.FileMode, gid int) (net.Listener, error) {
	switch {
	case path == "" || strings.HasPrefix(path, "@"):
		return nil, fmt.Errorf("listening on %q: give the path of a file", path)
	case len(path) > maxPath:
		return nil, fmt.Errorf("listening on %s: the path has %d bytes and a Unix socket's may have %d: choose a shorter one", path, len(path), maxPath)
	}
	if gid != NoGroup && len(filepath.Dir(path)+asidePath) > maxPath {
		return nil, fmt.Errorf("listening on %s: the path of its folder is too long for a socket that is given to a group: choose a shorter one", path)
	}
	if err := makeFolder(filepath.Dir(path), mode, gid); err != nil {
		return nil, fmt.Errorf("making the folder of the socket: %w", err)
	}
	lock, err := lockPath(path)
	if err != nil {
		return nil, err
	}
	ln, err := listenLocked(path, mode.Perm(), gid, lock)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return ln, nil
}

// makeFolder makes the folder of a socket, if there is none.
func makeFolder(dir string, mode fs.FileMode, gid int) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Writing to the socket is what connect(2) asks for.
	pass := mode & 0o022 >> 1
	if err := os.MkdirAll(dir, 0o700|pass); err != nil {
		return err
	}
	if gid != NoGroup {
		if err := os.Chown(dir, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700|pass) // whatever the umask
}

// lockPath takes the lock that belongs to path. The file stays for good: to
// remove it would let two processes hold a lock on two files of the same name.
func lockPath(path string) (*os.File, error) {
	file, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the socket: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("another invectd listens on %s: stop it, or give this one another --socket", path)
	}
	return nil, fmt.Errorf("locking %s.lock: %w", path, err)
}

func listenLocked(path string, mode fs.FileMode, gid int, lock *os.File) (*listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	unix, err := bind(path, mode, gid)
	if err != nil {
		return nil, err
	}
	own, err := os.Lstat(path)
	if err != nil {
		unix.Close()
		return nil, err
	}
	return &listener{UnixListener: unix, path: path, own: own, lock: lock}, nil
}

// asidePath is how long the path in a folder may be where a socket is made first.
const asidePath = "/.s4294967295/s"

// bind makes the socket. One that has to be given to a group is made where
// nobody else can reach it, and moved when it is as it has to be.
func bind(path string, mode fs.FileMode, gid int) (*net.UnixListener, error) {
	if gid == NoGroup {
		return bindAt(path, mode)
	}
	aside, err := os.MkdirTemp(filepath.Dir(path), ".s*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(aside)
	made := filepath.Join(aside, "s")
	ln, err := bindAt(made, mode)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Lchown(made, -1, gid), os.Rename(made, path)); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// bindAt makes a socket of that mode.
func bindAt(path string, mode fs.FileMode) (*net.UnixListener, error) {
	// bind(2) gives the file the mode of the socket less the umask. Both are set
	// before there is a file that anybody could open, and nothing is changed by
	// its name afterwards: who may write in the folder could put another file there.
	umask := syscall.Umask(0o777 &^ int(mode))
	defer syscall.Umask(umask)
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), uint32(mode)) })
		return errors.Join(err, failed)
	}}
	ln, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	unix := ln.(*net.UnixListener)
	unix.SetUnlinkOnClose(false)
	return unix, nil
}

// removeStale removes a socket that nobody listens on. The lock is held, so what
// does listen is no invectd, or one whose lock somebody removed.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket: remove it, or choose another path")
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
		return errors.New("another process listens there: stop it, or choose another path")
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("finding out whether somebody listens: %w", err)
	}
	return os.Remove(path)
}

// A listener removes its socket and gives up the lock when it is closed.
type listener struct {
	*net.UnixListener
	path string
	own  fs.FileInfo // of the socket that this listener made
	lock *os.File
	once sync.Once
	err  error // of the first Close
}

// Addr implements [net.Listener]: where the socket is, not where it was made.
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close implements [net.Listener]. Closing twice is no error.
func (l *listener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.own) {
			l.err = os.Remove(l.path)
		}
		l.err = errors.Join(l.err, l.UnixListener.Close(), l.lock.Close())
	})
	return l.err
}
