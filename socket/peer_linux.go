package socket

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/invectd/invectd/broker"
)

// A peer is whoever opened a connection on a Unix socket. The kernel noted its
// credentials at connect(2), so what the process does later changes nothing of
// them. What can change is who holds the connection: a process may hand it on and
// end, and another may get its pid. So the process itself is held by a pidfd, and
// is looked at again before each request is decided on.
type peer struct {
	caller  broker.Caller
	process *os.File // pidfd; nil if there is none
}

// The reasons why a caller is not attested. They are for the log alone.
const (
	reasonNoPeer   = "it came over no Unix socket"
	reasonPID      = "its process is in a PID namespace that is not below this one's"
	reasonUID      = "its user id is not mapped into this user namespace"
	reasonGID      = "its group id is not mapped into this user namespace"
	reasonEnded    = "the process that connected has ended"
	reasonNoPIDFD  = "the kernel gives no pidfd of its process: "
	reasonNoSocket = "the kernel does not say who it is: "
)

// peerOf asks the kernel who connected.
func peerOf(conn *net.UnixConn) *peer {
	p := new(peer)
	raw, err := conn.SyscallConn()
	if err == nil {
		controlErr := raw.Control(func(fd uintptr) { err = p.ask(int(fd)) })
		err = errors.Join(err, controlErr)
	}
	if err != nil {
		p.caller.Unattested = reasonNoSocket + err.Error()
	}
	p.caller.Attested = p.caller.Unattested == ""
	return p
}

// ask fills in what is known of the other end of a connected socket. What a
// caller is not attested for is no error.
func (p *peer) ask(fd int) error {
	credentials, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return err
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return err
	}
	c := &p.caller
	c.UID, c.GID, c.PID = credentials.Uid, credentials.Gid, credentials.Pid
	c.Groups = slices.DeleteFunc(groups, func(gid uint32) bool { return int64(gid) == unmappedGID() })
	if c.Unattested = unattested(c, unmappedUID(), unmappedGID()); c.Unattested != "" {
		return nil
	}
	pidfd, own, err := peerPIDFD(fd, int(c.PID))
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL): // the latter where it is reaped
		c.Unattested = reasonEnded
		return nil
	case err != nil:
		c.Unattested = reasonNoPIDFD + err.Error()
		return nil
	}
	p.process = os.NewFile(uintptr(pidfd), "pidfd")
	if own {
		c.Cgroup = cgroupOf(p.process, c.PID)
		c.Unit = unitOf(c.Cgroup)
	}
	if ended(p.process) {
		c.Unattested = reasonEnded
	}
	return nil
}

// unattested returns why a caller cannot be told from others; "" if it can. The
// unmapped ids stand for all that this process' user namespace does not map.
func unattested(c *broker.Caller, unmappedUID, unmappedGID int64) string {
	switch {
	case c.PID <= 0:
		return reasonPID
	case int64(c.UID) == unmappedUID:
		return reasonUID
	case int64(c.GID) == unmappedGID:
		return reasonGID
	}
	return ""
}

// peerPIDFD returns a pidfd of the process that connected. own is false where
// the kernel is older than 6.5 and so the process may be another, that was given
// the same pid between connect(2) and now: nothing is to be learned from that.
func peerPIDFD(fd, pid int) (pidfd int, own bool, err error) {
	pidfd, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if !errors.Is(err, unix.ENOPROTOOPT) {
		return pidfd, true, err
	}
	pidfd, err = unix.PidfdOpen(pid, 0)
	return pidfd, false, err
}

// current returns who sends a request on the connection now.
func (p *peer) current() broker.Caller {
	caller := p.caller
	if caller.Attested && ended(p.process) {
		caller.Attested, caller.Unattested = false, reasonEnded
	}
	return caller
}

// ended reports whether the process of a pidfd is gone, or the pidfd closed.
func ended(process *os.File) bool {
	gone := true
	raw, err := process.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(poll, 0)
		}
		gone = err != nil || n > 0
	})
	return gone || err != nil
}

// A peerConn is a connection on a Unix socket, with who opened it.
type peerConn struct {
	*net.UnixConn
	peer *peer
}

// identified adds to a connection who opened it; one over TCP it leaves alone.
// runner says that it came on the runners' socket.
func identified(conn net.Conn, runner bool) net.Conn {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return conn
	}
	p := peerOf(unixConn)
	p.caller.Runner = runner
	return &peerConn{unixConn, p}
}

// Close implements [net.Conn].
func (c *peerConn) Close() error {
	err := c.UnixConn.Close()
	if c.peer.process != nil {
		c.peer.process.Close()
	}
	return err
}

type callerKey struct{}

// withCaller notes on a connection's context who opened it.
func withCaller(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*peerConn); ok {
		return context.WithValue(ctx, callerKey{}, c.peer.current)
	}
	return ctx
}

// callerOf returns who sends a request, as of now; over TCP that is nobody.
func callerOf(ctx context.Context) broker.Caller {
	if current, ok := ctx.Value(callerKey{}).(func() broker.Caller); ok {
		return current()
	}
	return broker.Caller{Unattested: reasonNoPeer}
}

// peerGroups returns the supplementary groups of who connected.
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		n, err := getsockoptUint32s(fd, unix.SO_PEERGROUPS, groups)
		if !errors.Is(err, syscall.ERANGE) {
			return groups[:n:n], err
		}
		groups = make([]uint32, n)
	}
}
