package socket

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

func TestBrowsersAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, header := range []string{"Origin", "Referer"} {
		for _, path := range []string{"/credentials", "/healthz", "/nowhere", callbackPath + "?state=x"} {
			for _, value := range []string{"https://evil.example", "null", ""} {
				if got := f.do(t, "GET", path, "", header, value); got.status != http.StatusForbidden || !strings.Contains(got.body, `"code":"forbidden"`) {
					t.Errorf("GET %s with %s: %q = %d %s, want 403 forbidden", path, header, value, got.status, got.body)
				}
			}
		}
	}
	if got := f.do(t, "GET", "/credentials", "", "X-User-ID", "user_123", "Host", "anything.example"); got.status != http.StatusOK {
		t.Errorf("GET with X-User-ID = %d, want 200", got.status)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "a/b", time.Hour)
	for _, path := range []string{"/", "/nothing", "/credentials/", "/credentials/x/y/z", "//credentials", "/credentials/../status", "/credentials/x/./token", "/credentials/a/b/token"} {
		got := f.do(t, "GET", path, "")
		if got.status != http.StatusNotFound || !strings.Contains(got.body, `"code":"not_found"`) || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("GET %s = %d %s, want a JSON 404", path, got.status, got.body)
		}
	}
	if got := f.do(t, "GET", "/credentials/a%2Fb/token", ""); got.status != http.StatusOK {
		t.Errorf("GET of a name with a slash = %d %s, want 200", got.status, got.body)
	}
	for target, allow := range map[string]string{
		"DELETE /credentials":             "GET, POST",
		"POST /credentials/x":             "DELETE, GET, PATCH, PUT",
		"POST /credentials/x/token":       "GET",
		"HEAD /credentials/x/token":       "GET",
		"GET /credentials/oauth2/start":   "POST",
		"PUT " + callbackPath:             "GET, POST",
		"OPTIONS /status":                 "GET",
		"BREW /credentials/oauth2/apps/x": "DELETE, GET, PUT",
	} {
		method, path, _ := strings.Cut(target, " ")
		got := f.do(t, method, path, "")
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != allow || method != "HEAD" && !strings.Contains(got.body, `"code":"method_not_allowed"`) {
			t.Errorf("%s = %d Allow %q %s, want 405 Allow %q", target, got.status, got.header.Get("Allow"), got.body, allow)
		}
	}
}

func TestMonitoring(t *testing.T) {
	f := newFixture(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, f.server, ln, f.server.MetricsHandler())
	tcp := &http.Client{Transport: new(http.Transport)}
	t.Cleanup(tcp.CloseIdleConnections)
	for path, want := range map[string]string{
		"/metrics": "up 1", "/healthz": `{"status":"ok","checks":{"audit":"ok","store":"ok"}}`, "/readyz": `{"status":"ok","checks":{"audit":"ok","store":"ok"}}`,
	} {
		got := send(t, tcp, "http://"+ln.Addr().String()+path, "GET", "")
		if got.status != http.StatusOK || strings.TrimSpace(got.body) != want || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s over TCP = %d %s, want 200 %s", path, got.status, got.body, want)
		}
		if same := f.do(t, "GET", path, ""); same.body != got.body {
			t.Errorf("GET %s = %s, want as over TCP: %s", path, same.body, got.body)
		}
	}
	if got := send(t, tcp, "http://"+ln.Addr().String()+"/healthz", "HEAD", ""); got.status != http.StatusOK {
		t.Errorf("HEAD /healthz = %d, want 200", got.status)
	}
	for _, path := range []string{"/credentials", "/status", "/version", callbackPath} {
		if got := send(t, tcp, "http://"+ln.Addr().String()+path, "GET", ""); got.status != http.StatusNotFound {
			t.Errorf("GET %s over TCP = %d, want 404", path, got.status)
		}
	}
	if v, err := f.client.Version(t.Context()); err != nil || v.Version != "1.2.3" || v.Go == "" {
		t.Errorf("Version = %+v, %v, want 1.2.3", v, err)
	}
	if text, err := f.client.Metrics(t.Context()); err != nil || string(text) != "up 1\n" {
		t.Errorf("Metrics = %q, %v, want the scrape", text, err)
	}
}

// TestCurl goes the way of the guides.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl")
	}
	f := newFixture(t)
	run := func(args ...string) string {
		t.Helper()
		args = append([]string{"-sS", "--unix-socket", f.path, "-w", "%{http_code}"}, args...)
		out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	made := run("-X", "POST", "http://localhost/credentials", "-H", "Content-Type: application/json", "-H", "X-User-ID: user_123",
		"-d", `{"name":"My GitHub Token","provider":"github","authType":"bearer","config":{"token":"ghp_xxxxx"},"description":"Personal access token for GitHub API"}`)
	if !strings.HasSuffix(made, "201") || strings.Contains(made, "ghp_") || !strings.Contains(made, `"provider":"github"`) {
		t.Fatalf("curl POST = %s, want 201 and the masked credential", made)
	}
	if got := run("http://localhost/credentials?provider=github"); !strings.Contains(got, "My GitHub Token") {
		t.Errorf("curl list = %s, want the credential", got)
	}
	if got := run("http://localhost/credentials/My%20GitHub%20Token/header"); got != `{"Authorization":"Bearer ghp_xxxxx"}`+"\n200" {
		t.Errorf("curl header = %s, want the header", got)
	}
	if got := run("-X", "DELETE", "http://localhost/credentials/My%20GitHub%20Token"); got != "204" {
		t.Errorf("curl DELETE = %s, want 204", got)
	}
	if got := run("-X", "POST", "http://localhost/credentials", "-d", `{"name":"x"}`); !strings.HasSuffix(got, "415") {
		t.Errorf("curl without a JSON type = %s, want 415", got)
	}
}

// TestSlowPeers keep a connection for seconds and not for ever, whether they
// dribble a header or a body, or say nothing.
func TestSlowPeers(t *testing.T) {
	for name, test := range map[string]struct {
		send  string
		limit time.Duration
	}{
		"header":  {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", headerTimeout},
		"nothing": {"", headerTimeout},
		"body":    {"POST /credentials HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", readTimeout},
		"unread":  {"GET /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", readTimeout},
		"idle":    {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", idleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				s := New(f.server.Config)
				go func() { ended <- s.Serve(ctx, newPipeListener(far), s.Handler()) }()
				began := time.Now()
				go io.WriteString(near, test.send)
				if _, err := io.Copy(io.Discard, near); err != nil {
					t.Errorf("reading until the server closes: %v", err)
				}
				if took := time.Since(began); took < test.limit || took > test.limit+time.Second {
					t.Errorf("the server closed after %v, want %v", took, test.limit)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Serve = %v, want nil", err)
				}
			})
		})
	}
}

// TestWaitOutlivesReadTimeout: a caller who has sent its request may wait longer
// for a refresh than it may take to send one, and its leaving is noticed.
func TestWaitOutlivesReadTimeout(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "mail", -40*365*24*time.Hour) // long before a bubble's clock begins
	synctest.Test(t, func(t *testing.T) {
		left := make(chan error, 1)
		f.refresher.refresh = func(ctx context.Context, _ broker.ID, _ broker.Need) (broker.Token, error) {
			select {
			case <-time.After(2 * readTimeout):
				return broker.Token{Access: broker.NewSecret("late"), Generation: 2}, nil
			case <-ctx.Done():
				left <- ctx.Err()
				return broker.Token{}, broker.ErrWaitEnded
			}
		}
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		s := New(f.server.Config)
		h := s.Handler()
		asSelf := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, func() broker.Caller { return broker.Caller{Attested: true} })))
		})
		go func() { ended <- s.Serve(ctx, newPipeListener(far), asSelf) }()
		request := "GET /credentials/" + c.ID + "/token HTTP/1.1\r\nHost: x\r\n\r\n"
		go io.WriteString(near, request)
		response, err := http.ReadResponse(bufio.NewReader(near), nil)
		if err != nil {
			t.Fatalf("ReadResponse: %v", err)
		}
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"accessToken":"late"`)) {
			t.Errorf("GET = %d %s, want the token that came late", response.StatusCode, body)
		}
		io.WriteString(near, request)
		synctest.Wait()
		near.Close()
		if err := <-left; err != context.Canceled {
			t.Errorf("the wait of a caller who left = %v, want that it is cancelled", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// A pipeListener accepts one connection, and then nothing until it is closed.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener(conn net.Conn) *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conns <- conn
	return l
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestHugeHeader(t *testing.T) {
	f := newFixture(t)
	got := f.do(t, "GET", "/healthz", "", "X-Huge", strings.Repeat("x", 32<<10))
	if got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("GET with a header of 32 KiB = %d, want 431", got.status)
	}
}

// TestShutdown: a request in flight is answered, a new one is refused, and the
// socket is gone afterwards.
func TestShutdown(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "mail", 0)
	reached, finish := make(chan struct{}), make(chan struct{})
	f.refresher.refresh = func(context.Context, broker.ID, broker.Need) (broker.Token, error) {
		close(reached)
		<-finish
		return broker.Token{Access: broker.NewSecret("in time"), Generation: 2}, nil
	}
	path := f.path + "2"
	ln, err := Listen(path, 0o600, NoGroup)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	s := New(f.server.Config)
	go func() { ended <- s.Serve(ctx, ln, s.Handler()) }()

	idle, err := net.Dial("unix", path) // accepted before the end, speaks after it
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	slow := client.New(path)
	defer slow.Close()
	answered := make(chan error, 1)
	go func() {
		token, err := slow.Token(t.Context(), "mail", client.ReadOptions{})
		if err == nil && token.AccessToken != "in time" {
			err = fmt.Errorf("Token = %+v", token)
		}
		answered <- err
	}()
	<-reached
	cancel()
	for s.serving.TryRLock() {
		s.serving.RUnlock()
		select {
		case err := <-ended:
			t.Fatalf("Serve = %v before the request in flight was answered", err)
		default:
		}
	}
	if _, err := io.WriteString(idle, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(idle), nil)
	if err != nil {
		t.Fatalf("ReadResponse: %v", err)
	}
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusServiceUnavailable || !bytes.Contains(body, []byte("shutting_down")) || response.Header.Get("Retry-After") == "" {
		t.Errorf("a request during the shutdown = %d %s, want 503 shutting_down", response.StatusCode, body)
	}
	close(finish)
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v, want its token", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		t.Error("Dial after the end = nil, want an error")
	}
}

// BenchmarkTokenRead reads a token over a real socket with a client that does as
// little as it can. Beside it [BenchmarkBareHandler] is what net/http costs alone,
// for the same answer, its header included.
func BenchmarkTokenRead(b *testing.B) {
	f := newFixture(b)
	c := f.oauth(b, "mail", time.Hour)
	benchmarkGet(b, f.path, "/credentials/"+c.ID+"/token")
}

func BenchmarkBareHandler(b *testing.B) {
	f := newFixture(b)
	c := f.oauth(b, "mail", time.Hour)
	token := f.do(b, "GET", "/credentials/"+c.ID+"/token", "")
	answer := []byte(token.body)
	token.header.Del("Date") // net/http's own, as is Content-Length
	token.header.Del("Content-Length")
	path := f.path + "2"
	ln, err := Listen(path, 0o600, NoGroup)
	if err != nil {
		b.Fatal(err)
	}
	bare := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), token.header)
		w.Write(answer)
	})}
	go bare.Serve(ln)
	b.Cleanup(func() { bare.Close() })
	benchmarkGet(b, path, "/credentials/"+c.ID+"/token")
}

func benchmarkGet(b *testing.B, path, target string) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		n, err := conn.Read(answer)
		if err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200 OK\r\n")) || answer[n-1] != '\n' {
			b.Fatalf("Read = %q, %v, want a whole answer at once", answer[:n], err)
		}
	}
}
