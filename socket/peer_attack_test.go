package socket

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// A watchedAudit keeps the last decision.
type watchedAudit struct {
	brokertest.Unaudited
	mu   sync.Mutex
	last broker.AuditEntry
}

func (a *watchedAudit) Denied(e broker.AuditEntry) { a.note(e) }

func (a *watchedAudit) Read(e broker.AuditEntry, _ broker.Handout) { a.note(e) }

func (a *watchedAudit) note(e broker.AuditEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = e
}

func (a *watchedAudit) caller() broker.Caller {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last.Caller
}

// over sends GET path over an open connection.
func over(t *testing.T, conn net.Conn, reader *bufio.Reader, path string) (status int, body string) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

// TestHandedOver: a connection is worth nothing any more once the process that
// opened it has ended, whoever holds it then, even if somebody else has its pid.
func TestHandedOver(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "mail", time.Hour)
	audit := new(watchedAudit)
	f.broker.Auditor = audit
	path := "/credentials/" + c.ID + "/token"
	connector := startConnector(t, f.path, nil)
	reader := bufio.NewReader(connector.conn)
	if status, body := over(t, connector.conn, reader, path); status != http.StatusOK {
		t.Fatalf("while the connector lives, GET %s = %d %s, want 200", path, status, body)
	}
	if got := audit.caller(); got.PID != int32(connector.Process.Pid) || !got.Attested {
		t.Errorf("the caller = %+v, want the connector %d", got, connector.Process.Pid)
	}
	connector.end()
	refused := func(when string) {
		t.Helper()
		status, body := over(t, connector.conn, reader, path)
		if want := `{"error":"credential \"` + c.ID + `\": not found","code":"not_found"}` + "\n"; status != http.StatusNotFound || body != want {
			t.Errorf("%s, GET %s = %d %s, want 404 %s", when, path, status, body, want)
		}
		if got := audit.caller(); got.Attested || got.Unattested != reasonEnded {
			t.Errorf("%s, the caller = %+v, want unattested, since it has ended", when, got)
		}
	}
	refused("once the connector has ended")
	if os.Geteuid() != 0 {
		t.Log("not root, so no other process can be given its pid")
		return
	}
	if !reusePID(t, connector.Process.Pid) {
		t.Log("no other process got its pid")
		return
	}
	refused("once another process has its pid")
}

// reusePID has another process be given a pid.
func reusePID(t *testing.T, pid int) bool {
	t.Helper()
	for range 50 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return false
		}
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			return true
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	return false
}

// TestEndedBeforeAccept: a process that ended while its connection waited to be
// accepted is nobody.
func TestEndedBeforeAccept(t *testing.T) {
	ln := listenAt(t, filepath.Join(socketDir(t), "s"), 0o600)
	connector := startConnector(t, ln.Addr().String(), nil)
	pid := connector.Process.Pid
	connector.end()
	if os.Geteuid() == 0 {
		reusePID(t, pid)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := identified(conn, false).(*peerConn).peer.current(); got.Attested || got.Unattested != reasonEnded {
		t.Errorf("the caller = %+v, want unattested, since it has ended", got)
	}
}

// TestHolderGainsNothing: while the process lives that opened it, a connection
// is worth what that process is, and not who holds it.
func TestHolderGainsNothing(t *testing.T) {
	needsRoot(t, "to connect as another user")
	f := newFixture(t)
	c := f.oauth(t, "mail", time.Hour)
	f.open(t)
	connector := startConnector(t, f.path, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}})
	if status, body := over(t, connector.conn, bufio.NewReader(connector.conn), "/credentials/"+c.ID+"/token"); status != http.StatusNotFound {
		t.Errorf("root asks over a connection of uid 12345: %d %s, want 404", status, body)
	}
}
