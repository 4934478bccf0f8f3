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

// Listen listens on a Unix socket at path whose permission bits are mode, and at
// no instant wider than that. A missing parent folder is made, with mode 0700.
//
// Whoever holds the lock on PATH.lock owns the path: a socket that a dead process
// left behind is replaced, one that is in use is an error. Closing the listener
// removes its own socket and never another's.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	switch {
	case path == "" || strings.HasPrefix(path, "@"):
		return nil, fmt.Errorf("listening on %q: give the path of a file", path)
	case len(path) > maxPath:
		return nil, fmt.Errorf("listening on %s: the path has %d bytes and a Unix socket's may have %d: choose a shorter one", path, len(path), maxPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the socket: %w", err)
	}
	lock, err := lockPath(path)
	if err != nil {
		return nil, err
	}
	ln, err := listenLocked(path, mode.Perm(), lock)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return ln, nil
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

func listenLocked(path string, mode fs.FileMode, lock *os.File) (*listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
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
	own, err := os.Lstat(path)
	if err != nil {
		unix.Close()
		return nil, err
	}
	return &listener{UnixListener: unix, path: path, own: own, lock: lock}, nil
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
