package oauth

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/invectd/invectd/broker"
)

// An operation is what the errors of one call have in common, and the way it
// goes.
type operation struct {
	op         string
	definition *broker.Definition
	transport  http.RoundTripper
}

// An answer is an HTTP answer, read in full.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send makes one request, once, and reads the answer as far as the limit. Its
// error is a [*broker.ProviderError].
//
// net/http sends a request again only if it is idempotent, or has a GetBody and
// nothing of it was written. A POST without GetBody is never sent twice, which
// is what a single-use token needs.
func (c *Client) send(o operation, r *http.Request) (answer, error) {
	r.GetBody = nil
	r.Header.Set("User-Agent", "invectd")
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	var p progress
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: p.gotConn})
	response, err := o.transport.RoundTrip(r.WithContext(withScheme(ctx, r.URL.Scheme)))
	if err != nil {
		return answer{}, o.unanswered(r.URL.Host, p.sent(), err)
	}
	defer response.Body.Close()
	c.clocks.note(r.URL.Host, response.Header.Get("Date"), time.Now())
	limit := c.config.ResponseLimit
	if o.op == opSend {
		limit = sendLimit
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = errTooLong
	}
	if err != nil {
		failed := o.refused(r.URL.Host, answer{response.StatusCode, response.Header, nil}, "", safeError(err))
		failed.Timeout = isTimeout(err)
		return answer{}, failed
	}
	return answer{response.StatusCode, response.Header, body}, nil
}

type schemeKey struct{}

// withScheme tells the guard what is going to be spoken on a connection.
func withScheme(ctx context.Context, scheme string) context.Context {
	return context.WithValue(ctx, schemeKey{}, scheme)
}

// progress tells how far a request got. Its methods are called by the goroutine
// that sends.
type progress struct {
	connected bool
	conn      *countedConn // nil if a connection cannot be counted
	before    int64        // what had been written on it before this request
}

func (p *progress) gotConn(info httptrace.GotConnInfo) {
	p.connected = true
	conn := info.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if p.conn, _ = conn.(*countedConn); p.conn != nil {
		p.before = p.conn.written.Load()
	}
}

// sent is to be called when a request has failed. It closes the connection, so
// that "never" stays true.
func (p *progress) sent() broker.Sent {
	switch {
	case !p.connected:
		return broker.SentNever
	case p.conn != nil && p.conn.seal() == p.before:
		return broker.SentNever
	}
	return broker.SentUnknown
}

// A countedConn knows how many bytes were written to it.
type countedConn struct {
	net.Conn
	written atomic.Int64

	mu     sync.Mutex // held while writing; guards sealed
	sealed bool
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sealed {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

// seal ends all writing and returns how much was written.
func (c *countedConn) seal() int64 {
	c.Conn.Close() // first, so that no Write keeps the lock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
	return c.written.Load()
}
