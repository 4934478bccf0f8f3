package socket

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/invectd/invectd/broker"
)

// accept returns the accepted end of a connection on a socket at path.
func accept(t *testing.T, ln net.Listener, connect func()) *peerConn {
	t.Helper()
	go connect()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return identified(conn, false).(*peerConn)
}

func TestPeerOf(t *testing.T) {
	ln := listenAt(t, filepath.Join(socketDir(t), "s"), 0o600)
	dialled := make(chan net.Conn, 1)
	conn := accept(t, ln, func() {
		c, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			t.Error(err)
		}
		dialled <- c
	})
	defer (<-dialled).Close()
	got := callerOf(withCaller(t.Context(), conn))
	if got.UID != uint32(os.Geteuid()) || got.GID != uint32(os.Getegid()) || got.PID != int32(os.Getpid()) || !got.Attested || got.Runner {
		t.Errorf("callerOf(conn) = %+v, want this process, attested", got)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, gid := range groups {
		if !slices.Contains(got.Groups, uint32(gid)) {
			t.Errorf("groups of the caller = %v, want %d among them", got.Groups, gid)
		}
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := parseCgroup(string(own)); got.Cgroup != want {
		t.Errorf("cgroup of the caller = %q, want %q", got.Cgroup, want)
	}
	conn.Close()
	if got := peerOf(conn.UnixConn).current(); got.Attested || got.Unattested == "" {
		t.Errorf("peerOf(closed) = %+v, want nobody and why", got)
	}
	if got := conn.peer.current(); got.Attested {
		t.Errorf("the caller of a closed connection = %+v, want unattested", got)
	}
	if got := callerOf(t.Context()); got.Attested || got.Unattested != reasonNoPeer {
		t.Errorf("callerOf without a peer = %+v, want unattested", got)
	}
}

func TestUnattested(t *testing.T) {
	for _, test := range []struct {
		caller   broker.Caller
		uid, gid int64 // that stand for unmapped ones
		want     string
	}{
		{broker.Caller{UID: 1000, GID: 1000, PID: 7}, -1, -1, ""},
		{broker.Caller{UID: 0, GID: 0, PID: 7}, 65534, 65534, ""},
		{broker.Caller{UID: 65534, GID: 65534, PID: 7}, -1, -1, ""}, // nobody, a user as others
		{broker.Caller{UID: 65534, GID: 0, PID: 7}, 65534, 65534, reasonUID},
		{broker.Caller{UID: 0, GID: 65534, PID: 7}, 65534, 65534, reasonGID},
		{broker.Caller{UID: 1000, GID: 1000, PID: 0}, -1, -1, reasonPID},
	} {
		if got := unattested(&test.caller, test.uid, test.gid); got != test.want {
			t.Errorf("unattested(%+v, %d, %d) = %q, want %q", test.caller, test.uid, test.gid, got, test.want)
		}
	}
}

// TestForeignUser lets another user in by the socket's mode: it sees nothing.
func TestForeignUser(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root, to become another user, and curl")
	}
	f := newFixture(t)
	c := f.oauth(t, "mail", 0)
	for path, mode := range map[string]os.FileMode{filepath.Dir(f.path): 0o755, f.path: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/credentials":                    "403 forbidden",
		"/credentials/" + c.ID + "/token": "404 not_found",
		"/credentials/mail/token":         "404 not_found",
		"/credentials/none/token":         "404 not_found",
		"/token?provider=acme":            "404 not_found",
		"/credentials/oauth2/apps":        "403 forbidden",
	} {
		cmd := exec.CommandContext(t.Context(), curl, "-sS", "--unix-socket", f.path, "-w", " %{http_code}", "http://localhost"+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("curl %s: %v: %s", path, err, out)
		}
		status, code, _ := strings.Cut(want, " ")
		if got := string(out); !strings.HasSuffix(got, " "+status) || !strings.Contains(got, `"code":"`+code+`"`) {
			t.Errorf("as uid 12345, GET %s = %s, want %s", path, got, want)
		}
	}
}
