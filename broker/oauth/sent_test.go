package oauth

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

func TestSentNever(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	listening := speak(t, func(_ net.Conn, r *bufio.Reader) { r.ReadByte() })
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name, at string
		ctx      context.Context
		allowed  broker.Addresses
	}{
		{"refused", "http://" + closed.Addr().String(), t.Context(), loopback},
		{"blocked", listening, t.Context(), nil},
		{"no such host", "https://no-such-host.invalid/token", t.Context(), loopback},
		{"cancelled before", listening, cancelled, loopback},
		{"no TLS there", strings.Replace(speak(t, func(conn net.Conn, r *bufio.Reader) {
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}), "http:", "https:", 1), t.Context(), loopback},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(Config{Addresses: test.allowed})
			defer c.Close()
			_, err := c.Refresh(test.ctx, connection(test.at), broker.NewSecret(canaryRefresh))
			if failed := providerError(t, err); failed.Sent != broker.SentNever || failed.Status != 0 || failed.Err == nil {
				t.Errorf("Refresh = %+v, want Sent never and what failed", *failed)
			}
		})
	}
}

func TestBlockedAddressIsNamed(t *testing.T) {
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	c := New(Config{})
	defer c.Close()
	k := broker.Connection{Definition: server.Definition("acme"), Client: server.Client()}
	_, err := c.Refresh(t.Context(), k, broker.NewSecret(canaryRefresh))
	noCanary(t, err)
	if blocked, ok := errors.AsType[*BlockedError](err); !ok || blocked.Address != "127.0.0.1" {
		t.Errorf("Refresh = %v, want a *BlockedError about 127.0.0.1", err)
	}
	if !strings.Contains(err.Error(), "127.0.0.1 is no public address; name it in --allow-addresses") {
		t.Errorf("error = %q, want it to say what to do", err)
	}
	if got := server.Stats().Requests; got != 0 {
		t.Errorf("requests = %d, want none", got)
	}
}

// TestNeverSentTwice kills connections at every stage of a request and counts
// how often the provider saw one.
func TestNeverSentTwice(t *testing.T) {
	for _, keptAlive := range []bool{false, true} {
		var requests atomic.Int64
		at := speak(t, func(conn net.Conn, r *bufio.Reader) {
			if keptAlive { // one honest answer first
				if drain(r) != nil {
					return
				}
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"access_token\":\"a\"}")
			}
			if drain(r) == nil {
				requests.Add(1) // read in full, then killed
			}
		})
		c := newClient(t)
		if keptAlive {
			if _, err := c.Refresh(t.Context(), connection(at), broker.NewSecret("r")); err != nil {
				t.Fatal(err)
			}
		}
		_, err := c.Refresh(t.Context(), connection(at), broker.NewSecret(canaryRefresh))
		if failed := providerError(t, err); failed.Sent != broker.SentUnknown || failed.Timeout {
			t.Errorf("killed after reading, kept alive %v: %+v, want Sent unknown", keptAlive, *failed)
		}
		if got := requests.Load(); got != 1 {
			t.Errorf("kept alive %v: the provider read %d requests, want 1", keptAlive, got)
		}
	}
}

func TestDropBeforeAndAfterProcessing(t *testing.T) {
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	k := broker.Connection{Definition: server.Definition("acme"), Client: server.Client()}
	c := newClient(t)
	_, token := server.Grant("")
	for _, process := range []bool{false, true} {
		server.Fail(brokertest.Fault{Drop: true, Process: process})
		_, err := c.Refresh(t.Context(), k, broker.NewSecret(token))
		if failed := providerError(t, err); failed.Sent != broker.SentUnknown {
			t.Errorf("dropped (processed: %v) = %+v, want Sent unknown", process, *failed)
		}
	}
	if stats := server.Stats(); stats.Requests != 2 || stats.Refreshes != 1 || stats.Reuses != 0 {
		t.Errorf("Stats() = %+v, want 2 requests, 1 refresh, no reuse", stats)
	}
}

// A fragileConn writes until it is broken, and nothing after.
type fragileConn struct {
	net.Conn
	broken *atomic.Bool
}

func (c fragileConn) Write(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, errors.New("broken pipe " + canaryRefresh)
	}
	return c.Conn.Write(b)
}

// TestDeadKeptAliveConnection is a request on a connection that died while it
// was idle: nothing of it was written, so its token may be sent again.
func TestDeadKeptAliveConnection(t *testing.T) {
	ca := newAuthority(t)
	for _, at := range []string{
		record(t, saysJSON(goodAnswer)).URL,
		ca.serve(t, &tls.Config{}, func(*x509.Certificate) {}).URL,
	} {
		var broken atomic.Bool
		c := New(Config{RootCAs: ca.pool(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return fragileConn{conn, &broken}, err
		}})
		defer c.Close()
		if _, err := c.Refresh(t.Context(), connection(at), broker.NewSecret("r")); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		_, err := c.Refresh(t.Context(), connection(at), broker.NewSecret(canaryRefresh))
		if failed := providerError(t, err); failed.Sent != broker.SentNever {
			t.Errorf("Refresh at %s = %+v, want Sent never", at, *failed)
		}
	}
}

// TestSealedConnection holds the proof behind "never": after sealing nothing
// more can be written.
func TestSealedConnection(t *testing.T) {
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	conn := &countedConn{Conn: near}
	if n, err := conn.Write([]byte("12345")); n != 5 || err != nil {
		t.Fatalf("Write = %d, %v, want 5", n, err)
	}
	p := progress{connected: true, conn: conn, before: 5}
	if got := p.sent(); got != broker.SentNever {
		t.Errorf("sent() with nothing new written = %v, want never", got)
	}
	if _, err := conn.Write([]byte("6")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after sealing = %v, want net.ErrClosed", err)
	}
	p.before = 4
	if got := p.sent(); got != broker.SentUnknown {
		t.Errorf("sent() with one byte written = %v, want unknown", got)
	}
}
