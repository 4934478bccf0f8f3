package socket

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/invectd/invectd/broker"
)

type callerKey struct{}

// withCaller notes on a connection's context who opened it.
func withCaller(ctx context.Context, conn net.Conn) context.Context {
	if unix, ok := conn.(*net.UnixConn); ok {
		return context.WithValue(ctx, callerKey{}, peerOf(unix))
	}
	return ctx
}

// callerOf returns who sends a request; over TCP that is nobody.
func callerOf(ctx context.Context) broker.Caller {
	caller, _ := ctx.Value(callerKey{}).(broker.Caller)
	return caller
}

// peerOf asks the kernel who connected. It noted that at connect(2), so what the
// process does later changes nothing.
func peerOf(conn *net.UnixConn) broker.Caller {
	raw, err := conn.SyscallConn()
	if err != nil {
		return broker.Caller{}
	}
	var peer *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		peer, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return broker.Caller{}
	}
	caller := broker.Caller{UID: peer.Uid, GID: peer.Gid, PID: peer.Pid}
	caller.Attested = attested(caller, unmappedUID())
	return caller
}

// attested reports whether the kernel could say who it is: a process that this
// one's namespaces do not show has pid 0, a user that they do not map unmapped,
// which is -1 where all are mapped.
func attested(c broker.Caller, unmapped int64) bool {
	return c.PID > 0 && int64(c.UID) != unmapped
}

// unmappedUID returns the user id that stands for all that this process' user
// namespace does not map, or -1 where it maps all: there it is a user as others.
var unmappedUID = sync.OnceValue(func() int64 {
	const everything = "0 0 4294967295"
	mapping, err := os.ReadFile("/proc/self/uid_map")
	if err == nil && strings.Join(strings.Fields(string(mapping)), " ") == everything {
		return -1
	}
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return 65534
	}
	uid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return 65534
	}
	return int64(uid)
})
