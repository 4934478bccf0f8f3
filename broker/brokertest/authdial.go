package brokertest

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// Dial connects to the server without a socket, whatever the address: it has
// the shape of [net.Dialer.DialContext]. The connection is served until it is
// closed, by a goroutine of its own.
func (s *AuthServer) Dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	server := &http.Server{Handler: s}
	listener := &oneConnection{conn: far, closed: make(chan struct{})}
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			listener.Close()
		}
	}
	go server.Serve(listener)
	return near, nil
}

// oneConnection is a listener that accepts conn and then waits to be closed.
type oneConnection struct {
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneConnection) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConnection) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConnection) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
