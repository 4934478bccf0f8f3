package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/invectd/invectd/socket/client"
)

// TestDescriptorsRunOut takes the descriptors away from a daemon that runs, which
// is as if something else had used them up. Connections that lie idle make room
// for new ones, what has a connection is served and can write, and once there are
// descriptors again all is as before.
func TestDescriptorsRunOut(t *testing.T) {
	p := startChild(t)
	create := func(name string) {
		t.Helper()
		if _, err := p.CreateCredential(t.Context(), client.CredentialInput{
			Name: &name, AuthType: new("bearer"), Config: map[string]any{"token": "t"},
		}); err != nil {
			t.Fatalf("CreateCredential(%s) = %v", name, err)
		}
	}
	create("before")
	before := p.descriptors()
	old := p.limitDescriptors(unix.Rlimit{Cur: uint64(before) + 20})

	const crowd = 100
	for range crowd {
		conn, err := net.Dial("unix", p.socket)
		if err != nil {
			t.Fatalf("Dial = %v", err)
		}
		defer conn.Close()
	}
	for i := range 20 {
		create(fmt.Sprint("meanwhile", i))
		status, err := askOnce(p.socket, "GET /credentials/before/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if err != nil || status != http.StatusOK {
			t.Fatalf("a token over a new connection = %d, %v, want 200", status, err)
		}
	}
	if got := p.descriptors(); got > before+20 {
		t.Errorf("the daemon has %d descriptors, want at most %d", got, before+20)
	}
	p.limitDescriptors(old)
	for range 2 * crowd {
		conn, err := net.Dial("unix", p.socket)
		if err != nil {
			t.Fatalf("Dial = %v", err)
		}
		defer conn.Close()
	}
	// Connections are accepted in order: once a new one is answered, all others are in.
	if status, err := askOnce(p.socket, "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil || status != http.StatusOK {
		t.Fatalf("GET /version over a new connection = %d, %v, want 200", status, err)
	}
	create("after")
	if got := p.descriptors(); got < before+2*crowd {
		t.Errorf("the daemon has %d descriptors with %d connections, want that it took them all", got, 2*crowd)
	}
}

// TestDescriptorsAreKept fills a daemon that may have few descriptors: it never
// uses all of them for connections, so that the store can open files.
func TestDescriptorsAreKept(t *testing.T) {
	const limit = 300
	p := newChild(t)
	p.command = []string{"sh", "-c", fmt.Sprint("ulimit -n ", limit, " && exec invectd serve")}
	p.start()
	t.Cleanup(p.kill)
	for range limit {
		conn, err := net.Dial("unix", p.socket)
		if err != nil {
			t.Fatalf("Dial = %v", err)
		}
		defer conn.Close()
	}
	status, err := askOnce(p.socket, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
	if err != nil || status != http.StatusTooManyRequests {
		t.Fatalf("a connection beside very many = %d, %v, want 429", status, err)
	}
	if got := p.descriptors(); got > limit*3/4 {
		t.Errorf("the daemon uses %d descriptors of %d, want that it keeps a quarter", got, limit)
	}
}

// limitDescriptors changes how many descriptors the daemon may have.
func (p *childDaemon) limitDescriptors(limit unix.Rlimit) (old unix.Rlimit) {
	p.t.Helper()
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		p.t.Fatalf("Prlimit = %v", err)
	}
	limit.Max = old.Max
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		p.t.Fatalf("Prlimit(%+v) = %v", limit, err)
	}
	return old
}

// descriptors is how many descriptors the daemon has open.
func (p *childDaemon) descriptors() int {
	p.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if os.IsPermission(err) {
		p.t.Skip("needs root, to look at a process that cannot be traced")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return len(list)
}
