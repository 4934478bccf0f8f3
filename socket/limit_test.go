package socket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// withLimits serves the fixture's parts with other limits, and returns the path
// of the socket and a client for it.
func withLimits(t *testing.T, f *fixture, limits Limits) (string, *http.Client) {
	t.Helper()
	config := f.server.Config
	config.Limits = limits
	w := &world{fixture: f}
	return f.path + "l", w.beside(t, New(config), "l")
}

func connectTo(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends text on a connection and reads one answer.
func ask(t *testing.T, conn net.Conn, text string) exchange {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("writing %q: %v", text, err)
	}
	method, _, _ := strings.Cut(text, " ")
	return readAnswer(t, conn, method)
}

func readAnswer(t *testing.T, conn net.Conn, method string) exchange {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("ReadResponse: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return exchange{response.StatusCode, response.Header, string(body)}
}

const askVersion = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"

func wantTooMany(t *testing.T, what string, got exchange) {
	t.Helper()
	if got.status != http.StatusTooManyRequests || codeOf(got) != "too_many_requests" || got.header.Get("Retry-After") != "1" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s = %d %v %s, want 429 too_many_requests with Retry-After: 1", what, got.status, got.header, got.body)
	}
}

// countRefusals has the servers made from now on count answers of 429 by reason.
func countRefusals(f *fixture) map[string]*atomic.Int64 {
	counts := map[string]*atomic.Int64{}
	for _, reason := range RefusalReasons {
		counts[reason] = new(atomic.Int64)
	}
	f.server.Config.Refused = func(reason string) { counts[reason].Add(1) }
	return counts
}

// wantRefusals wants so many for one reason, and none for another.
func wantRefusals(t *testing.T, counts map[string]*atomic.Int64, reason string, want int64) {
	t.Helper()
	for _, other := range RefusalReasons {
		expected := int64(0)
		if other == reason {
			expected = want
		}
		if got := counts[other].Load(); got != expected {
			t.Errorf("refusals for %s = %d, want %d", other, got, expected)
		}
	}
}

// TestTooManyConnections: one too many is told so and closed, whether it asks or
// not, and there is room again once another has gone.
func TestTooManyConnections(t *testing.T) {
	f := newFixture(t)
	refused := countRefusals(f)
	path, over := withLimits(t, f, Limits{Connections: 2})
	first, second := connectTo(t, "unix", path), connectTo(t, "unix", path)
	for _, conn := range []net.Conn{first, second} {
		if got := ask(t, conn, askVersion); got.status != http.StatusOK {
			t.Fatalf("GET /version = %d, want 200", got.status)
		}
	}
	for _, request := range []string{askVersion, "POST /credentials HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", "nonsense", ""} {
		conn := connectTo(t, "unix", path)
		wantTooMany(t, "the third connection, which says "+request, ask(t, conn, request))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read after the refusal = %v, want that it is closed", err)
		}
	}
	wantTooMany(t, "a client's request", send(t, over, "http://localhost/version", "GET", ""))
	wantRefusals(t, refused, refusedConnections, 5)
	second.Close()
	for send(t, over, "http://localhost/version", "GET", "").status != http.StatusOK {
		if t.Context().Err() != nil {
			t.Fatal("there was no room after a connection was closed")
		}
	}
	if got := ask(t, first, askVersion); got.status != http.StatusOK {
		t.Errorf("GET /version on a connection from before = %d, want 200", got.status)
	}
}

// TestRefusalsAreBounded: those who come while many others are being refused are
// refused before they have asked.
func TestRefusalsAreBounded(t *testing.T) {
	f := newFixture(t)
	path, _ := withLimits(t, f, Limits{Connections: 1})
	if got := ask(t, connectTo(t, "unix", path), askVersion); got.status != http.StatusOK {
		t.Fatalf("GET /version = %d, want 200", got.status)
	}
	began := time.Now()
	for range refusals {
		connectTo(t, "unix", path)
	}
	wantTooMany(t, "a connection beside the refused", readAnswer(t, connectTo(t, "unix", path), "GET"))
	if took := time.Since(began); took > refusalTimeout {
		t.Errorf("it took %v, want less than what the others have to ask", took)
	}
}

// TestInFlight: a request that is at work counts, one that waits for a refresh or
// for events does not.
func TestInFlight(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "answered", 0)
	reached, finish := make(chan struct{}), make(chan struct{})
	f.refresher.refresh = func(context.Context, broker.ID, broker.Need) (broker.Token, error) {
		reached <- struct{}{}
		<-finish
		return broker.Token{Access: broker.NewSecret("late"), Generation: 2}, nil
	}
	refused := countRefusals(f)
	path, over := withLimits(t, f, Limits{InFlight: 1})
	waiter := client.New(path)
	defer waiter.Close()
	waited := make(chan error, 2)
	for range cap(waited) {
		go func() {
			_, err := waiter.Token(t.Context(), "answered", client.ReadOptions{})
			waited <- err
		}()
		<-reached
	}
	for range 2 {
		stream := connectTo(t, "unix", path)
		io.WriteString(stream, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
		if line, err := bufio.NewReader(stream).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
			t.Fatalf("GET /events = %q, %v, want 200", line, err)
		}
	}
	half := connectTo(t, "unix", path)
	io.WriteString(half, "POST /credentials HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	// The server asks for the body once the request is in flight.
	if line, err := bufio.NewReader(half).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("POST /credentials = %q, %v, want 100", line, err)
	}
	wantTooMany(t, "a second request in flight", send(t, over, "http://localhost/version", "GET", ""))
	wantRefusals(t, refused, refusedInFlight, 1)
	half.Close()
	for send(t, over, "http://localhost/version", "GET", "").status != http.StatusOK {
		if t.Context().Err() != nil {
			t.Fatal("there was no room after the request in flight had answered")
		}
	}
	close(finish)
	for range cap(waited) {
		if err := <-waited; err != nil {
			t.Errorf("Token = %v, want the one that was waited for", err)
		}
	}
}

// TestDenialsRunOut asks for what is not there until the allowance is gone: then
// it is not even said that it is not there, until a second has passed.
func TestDenialsRunOut(t *testing.T) {
	f := newFixture(t)
	refused := countRefusals(f)
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		s := New(f.server.Config)
		go func() { answered <- s.Serve(ctx, newPipeListener(far), s.Handler()) }()
		answers := bufio.NewReader(near)
		get := func(path string) exchange {
			go io.WriteString(near, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			response, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("ReadResponse: %v", err)
			}
			body, _ := io.ReadAll(response.Body)
			return exchange{response.StatusCode, response.Header, string(body)}
		}
		for i := range burst {
			if got := get("/credentials/nobody/token"); got.status != http.StatusNotFound {
				t.Fatalf("denial %d = %d, want 404", i, got.status)
			}
		}
		wantTooMany(t, "a denial too many", get("/credentials/nobody/token"))
		wantRefusals(t, refused, refusedRate, 1)
		if got := get("/version"); got.status != http.StatusOK {
			t.Errorf("what is allowed = %d meanwhile, want 200", got.status)
		}
		time.Sleep(time.Second)
		if got := get("/credentials/nobody/token"); got.status != http.StatusNotFound {
			t.Errorf("a denial a second later = %d, want 404", got.status)
		}
		near.Close()
		cancel()
		if err := <-answered; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// TestCosts asks each kind until it is refused, as a user and as root.
func TestCosts(t *testing.T) {
	for target, want := range map[string]int{
		"GET /credentials/{ref}/token":       -1,
		"HEAD /healthz":                      -1,
		"POST /credentials":                  burst,
		"POST /credentials/{ref}/rejected":   burst,
		"DELETE /credentials/{ref}":          burst,
		"POST /credentials/{ref}/refresh":    burst / 10,
		"GET " + callbackPath:                burst / 10,
		"POST /credentials/oauth2/start":     burst / 50,
		"POST /credentials/oauth2/providers": burst,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newAccounts(Limits{})
			method, pattern, _ := strings.Cut(target, " ")
			for uid, want := range map[uint32]int{1000: want, 0: -1} {
				c := p.admit(nil, uid)
				r := httptest.NewRequestWithContext(context.WithValue(t.Context(), connectionKey{}, c), method, "/", nil)
				r.Pattern = pattern
				got := -1
				for i := range burst + 1 {
					if !pay(r, cost(r)) {
						got = i
						break
					}
				}
				if got != want {
					t.Errorf("%s as uid %d was refused after %d, want %d", target, uid, got, want)
				}
			}
		})
	}
}

// fill admits connections of a user until it is refused.
func fill(t *testing.T, p *accounts, uid uint32, most int) (list []*connection) {
	t.Helper()
	for range most {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close(); far.Close() })
		c := p.admit(near, uid)
		if c == nil {
			break
		}
		c.state.Store(unheard)
		list = append(list, c)
	}
	return list
}

// TestRoomIsShared: where descriptors are few, whoever has most makes room, but
// not with what is being answered; and the last places are root's.
func TestRoomIsShared(t *testing.T) {
	p := &accounts{limits: Limits{Connections: 30}, room: 40, all: map[uint32]*account{}}
	greedy := fill(t, p, 1, 50)
	if len(greedy) != 30 {
		t.Fatalf("one user got %d connections, want 30", len(greedy))
	}
	for _, c := range greedy[1:] {
		if !c.begin() {
			t.Fatal("begin = false for a connection that is open")
		}
	}
	if late := fill(t, p, 2, 50); len(late) != 1 {
		t.Errorf("another user got %d connections, want the one that waited", len(late))
	}
	if greedy[0].begin() {
		t.Error("begin = true for the connection that made room, want false")
	}
	if _, err := greedy[0].Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Read on it = %v, want that it is closed", err)
	}
	if root := fill(t, p, 0, 50); len(root) != 10 {
		t.Errorf("root got %d connections where none were left for others, want 10", len(root))
	}
	for _, c := range greedy[1:] {
		answered(c, http.StateIdle)
	}
	if late := fill(t, p, 3, 50); len(late) < 10 || len(late) > 20 {
		t.Errorf("a third user got %d connections once others waited, want its share", len(late))
	}
	if p.count > p.room {
		t.Errorf("there are %d connections, want at most %d", p.count, p.room)
	}
}

// TestPeersAreForgotten: nothing is kept of who is gone, once its allowance is
// whole again.
func TestPeersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newAccounts(Limits{})
		for uid := range uint32(1000) {
			fill(t, p, uid, 1)[0].Close()
		}
		if len(p.all) != 0 || p.count != 0 {
			t.Errorf("%d users with %d connections are kept, want none", len(p.all), p.count)
		}
		spent := fill(t, p, 7, 1)[0]
		spent.account.costs.AllowN(time.Now(), burst)
		spent.Close()
		spent.Close()
		if again := fill(t, p, 7, 1)[0]; again.account != spent.account {
			t.Error("an allowance was whole again after hanging up")
		} else {
			again.Close()
		}
		time.Sleep(time.Minute)
		fill(t, p, 8, 1)
		if _, kept := p.all[7]; kept || len(p.all) != 1 || p.count != 1 {
			t.Errorf("%d users with %d connections are kept, want only the one that is there", len(p.all), p.count)
		}
	})
}

// A brokenListener has no descriptor for a connection until one was closed.
type brokenListener struct {
	net.Listener
	spare  *connection
	offer  net.Conn
	errors int
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.spare.state.Load() != shed {
		l.errors++
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.offer, nil
}

// TestOutOfDescriptors: a connection that waits makes room; where none does, the
// error is one upon which net/http tries again.
func TestOutOfDescriptors(t *testing.T) {
	p := newAccounts(Limits{})
	near, far := net.Pipe()
	defer near.Close()
	l := &brokenListener{spare: fill(t, p, 1, 1)[0], offer: far}
	l.spare.begin()
	_, err := (&admission{Listener: l, accounts: p}).Accept()
	if temporary, ok := err.(interface{ Temporary() bool }); !ok || !temporary.Temporary() {
		t.Errorf("Accept = %v, want an error that passes", err)
	}
	answered(l.spare, http.StateIdle)
	if conn, err := (&admission{Listener: l, accounts: p}).Accept(); err != nil || conn == nil || l.errors != 2 {
		t.Errorf("Accept = %v, %v after %d errors, want a connection after 2", conn, err, l.errors)
	}
}

// TestTCPMakesRoom: connections over TCP that say nothing keep nobody out.
func TestTCPMakesRoom(t *testing.T) {
	f := newFixture(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, f.server, ln, f.server.MetricsHandler())
	first := connectTo(t, "tcp", ln.Addr().String())
	if got := ask(t, first, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); got.status != http.StatusOK {
		t.Fatalf("GET /healthz = %d, want 200", got.status)
	}
	began := time.Now()
	silent := connectTo(t, "tcp", ln.Addr().String())
	for range 2 * tcpConnections {
		io.WriteString(connectTo(t, "tcp", ln.Addr().String()), "GET /heal")
	}
	if got := ask(t, connectTo(t, "tcp", ln.Addr().String()), "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); got.status != http.StatusOK {
		t.Errorf("GET /healthz among those who dribble = %d, want 200", got.status)
	}
	if took := time.Since(began); took > tcpIdleTimeout/2 {
		t.Errorf("it took %v, want that it waits for nobody", took)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("Read on the oldest silent connection = nil, want that it made room")
	}
	if got := ask(t, first, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); got.status != http.StatusOK {
		t.Errorf("GET /healthz on a connection that was used before = %d, want that it is still there", got.status)
	}
}

// TestUserOf: whom the kernel does not name is nobody, and no user.
func TestUserOf(t *testing.T) {
	ln := listenAt(t, filepath.Join(socketDir(t), "s"), 0o600)
	connectTo(t, "unix", ln.Addr().String())
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := userOf(conn); got != uint32(os.Geteuid()) {
		t.Errorf("userOf(own) = %d, want %d", got, os.Geteuid())
	}
	conn.Close()
	for _, conn := range []net.Conn{conn, new(net.TCPConn)} {
		if got := userOf(conn); got != ^uint32(0) {
			t.Errorf("userOf(%T) = %d, want nobody", conn, got)
		}
	}
}
