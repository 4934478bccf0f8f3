package socket

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// refusals are under way for so many at a time; whoever comes beside them is
	// answered before it has asked.
	refusals       = 512
	refusalPause   = 250 * time.Millisecond // for whom would try again at once
	refusalTimeout = time.Second            // for a request that will be refused to arrive
)

// An admission is a listener that admits whom the limits let in, and answers the
// others itself: that costs a read and a write, not a server's goroutine.
type admission struct {
	net.Listener
	accounts *accounts
	runner   bool   // it is the runners' socket
	count    func() // a refusal
	refusing sync.WaitGroup
	refused  atomic.Int64 // how many are being refused
}

// Accept implements [net.Listener]. Where descriptors have run out, connections
// that nothing happens on make room; where there are none it returns the error,
// upon which [http.Server] tries again a little later, for as long as it takes.
func (a *admission) Accept() (net.Conn, error) {
	for {
		conn, err := a.Listener.Accept()
		if outOfDescriptors(err) && a.accounts.shedAny() {
			continue
		}
		if err != nil {
			return nil, err
		}
		if c := a.accounts.admit(conn, userOf(conn)); c != nil {
			// Only who is let in is worth finding out about.
			c.Conn = identified(conn, a.runner)
			c.state.Store(unheard)
			return c, nil
		}
		a.count()
		a.refuse(conn)
	}
}

func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// refuse answers 429 and hangs up. It waits for the request, since clients take
// an answer that comes before it for a broken connection and try again at once.
func (a *admission) refuse(conn net.Conn) {
	if a.refused.Add(1) > min(refusals, int64(a.accounts.room/4)) {
		a.refused.Add(-1)
		writeRefusal(conn)
		return
	}
	a.refusing.Go(func() {
		defer a.refused.Add(-1)
		time.Sleep(refusalPause)
		_ = conn.SetReadDeadline(time.Now().Add(refusalTimeout))
		header := make([]byte, 0, 1024)
		for len(header) < cap(header) && !bytes.Contains(header, []byte("\r\n\r\n")) {
			n, err := conn.Read(header[len(header):cap(header)])
			if err != nil {
				break
			}
			header = header[:len(header)+n]
		}
		writeRefusal(conn)
	})
}

// refusalText is the whole answer to a connection too many.
var refusalText = func() []byte {
	const body = `{"error":"this user has too many connections open: close some, or use one for many requests; --max-conns-per-uid sets how many it may have","code":"too_many_requests"}` + "\n"
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"+
		"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests), len(body), body)
}()

func writeRefusal(conn net.Conn) {
	// It finds room in the buffer of a new connection; where it does not, the peer
	// would not read it either.
	_ = conn.SetWriteDeadline(time.Now().Add(refusalTimeout))
	_, _ = conn.Write(refusalText)
	conn.Close()
}

// userOf returns whose limits a connection is under. Those whom the kernel does
// not name share the limits of one user, whom no other can be.
func userOf(conn net.Conn) uint32 {
	const nobody = ^uint32(0)
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nobody
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return nobody
	}
	uid := nobody
	_ = raw.Control(func(fd uintptr) { // it fails for a closed connection, which is nobody's
		if peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = peer.Uid
		}
	})
	return uid
}
