package socket

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/invectd/invectd/broker"
)

func TestPeerOf(t *testing.T) {
	ln := listenAt(t, filepath.Join(socketDir(t), "s"), 0o600)
	dialled, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := callerOf(withCaller(t.Context(), conn))
	want := broker.Caller{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: int32(os.Getpid()), Attested: true}
	if got != want {
		t.Errorf("callerOf(conn) = %+v, want %+v", got, want)
	}
	conn.Close()
	if got := peerOf(conn.(*net.UnixConn)); got != (broker.Caller{}) {
		t.Errorf("peerOf(closed) = %+v, want nobody", got)
	}
	if got := callerOf(t.Context()); got.Attested {
		t.Errorf("callerOf without a peer = %+v, want unattested", got)
	}
}

func TestAttested(t *testing.T) {
	for _, test := range []struct {
		caller   broker.Caller
		unmapped int64
		want     bool
	}{
		{broker.Caller{UID: 1000, PID: 7}, -1, true},
		{broker.Caller{UID: 0, PID: 7}, 65534, true},
		{broker.Caller{UID: 65534, PID: 7}, -1, true}, // nobody, a user as others
		{broker.Caller{UID: 65534, PID: 7}, 65534, false},
		{broker.Caller{UID: 1000, PID: 0}, -1, false},
	} {
		if got := attested(test.caller, test.unmapped); got != test.want {
			t.Errorf("attested(%+v, %d) = %v, want %v", test.caller, test.unmapped, got, test.want)
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
