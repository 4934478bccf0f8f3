package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/socket/client"
)

// A childDaemon is the daemon as a process of its own, which can be killed.
type childDaemon struct {
	*client.Client
	t       *testing.T
	socket  string
	command []string
	env     []string
	cmd     *exec.Cmd
	log     chan string // what the process said, once it has ended
}

// startChild runs the daemon until the test ends.
func startChild(t *testing.T) *childDaemon {
	t.Helper()
	p := newChild(t)
	p.start()
	t.Cleanup(p.kill)
	return p
}

// newChild returns a daemon that is still to be started.
func newChild(t *testing.T) *childDaemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "invectd-") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &childDaemon{t: t, socket: filepath.Join(dir, "s"), command: []string{"invectd", "serve"}}
	p.env = append(os.Environ(), "INVECT_ENCRYPTION_KEY="+newKeyText(), "INVECT_SOCKET="+p.socket,
		"INVECT_DATA_DIR="+filepath.Join(dir, "store"), "INVECT_ALLOW_ADDRESSES=127.0.0.0/8",
		"INVECT_METRICS=off", "INVECT_CALLBACK=off", "GORACE=atexit_sleep_ms=0")
	return p
}

// start returns once the daemon is ready.
func (p *childDaemon) start() {
	p.t.Helper()
	p.Client = client.New(p.socket)
	p.cmd = exec.Command(p.command[0], p.command[1:]...)
	p.cmd.Env = p.env
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	ready, said := make(chan struct{}), make(chan string, 1)
	go func() {
		var all strings.Builder
		isReady := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" && !isReady {
				isReady = true
				close(ready)
			}
			all.WriteString(lines.Text() + "\n")
		}
		said <- all.String()
	}()
	p.log = said
	select {
	case <-ready:
	case log := <-said:
		p.t.Fatalf("the daemon ended before it was ready: %s", log)
	}
}

// kill ends the daemon as `kill -9` does.
func (p *childDaemon) kill() {
	p.Close()
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.log
	_ = p.cmd.Wait() // says that it was killed
}

// A crowdedServer is an authorization server that knows how many requests are at
// its token endpoint at once.
type crowdedServer struct {
	*brokertest.AuthServer
	latency time.Duration
	now     atomic.Int64
	peak    atomic.Int64
	left    atomic.Int64
	served  chan struct{} // closed when as many were answered as were expected
}

func startCrowdedServer(t *testing.T, expected int, latency time.Duration) *crowdedServer {
	t.Helper()
	s := &crowdedServer{AuthServer: brokertest.NewAuthServer(brokertest.AuthConfig{}), latency: latency, served: make(chan struct{})}
	s.left.Store(int64(expected))
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	s.URL = listening.URL
	return s
}

// ServeHTTP implements [http.Handler].
func (s *crowdedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.now.Add(1)
	defer s.now.Add(-1)
	for peak := s.peak.Load(); now > peak && !s.peak.CompareAndSwap(peak, now); peak = s.peak.Load() {
	}
	<-time.After(s.latency)
	s.AuthServer.ServeHTTP(w, r)
	if s.left.Add(-1) == 0 {
		close(s.served)
	}
}

// know makes the daemon know a server as provider p.
func (p *childDaemon) know(s *brokertest.AuthServer) {
	p.t.Helper()
	if _, err := p.CreateProvider(p.t.Context(), s.Definition("p"), false); err != nil {
		p.t.Fatalf("CreateProvider = %v", err)
	}
	app := client.App{ProviderID: "p", ClientID: s.Client().ID, ClientSecret: s.Client().Secret.Reveal()}
	if _, err := p.PutApp(p.t.Context(), app); err != nil {
		p.t.Fatalf("PutApp = %v", err)
	}
}

// grant is the config of a credential whose person has just consented.
func grant(s *brokertest.AuthServer, ends time.Time) map[string]any {
	access, refresh := s.Grant("read")
	return map[string]any{"accessToken": access, "refreshToken": refresh, "expiresAt": ends.UTC().Format(time.RFC3339)}
}

func (p *childDaemon) create(name string, config, metadata map[string]any) string {
	p.t.Helper()
	c, err := p.CreateCredential(p.t.Context(), client.CredentialInput{
		Name: &name, AuthType: new("oauth2"), Provider: new("p"), Config: config, Metadata: metadata,
	})
	if err != nil {
		p.t.Fatalf("CreateCredential(%s) = %v", name, err)
	}
	return c.ID
}
