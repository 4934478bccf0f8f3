package socket

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/invectd/invectd/broker"
)

// TestMain makes this test binary be the other processes that tests need.
func TestMain(m *testing.M) {
	if do, ok := processes[os.Getenv("INVECTD_TEST_PROCESS")]; ok {
		if err := do(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var processes = map[string]func(path string) error{"connector": connectAndHandOver, "doorkeeper": acceptAndTell}

// connectAndHandOver connects to a socket, hands the connection to whoever is at
// the other end of descriptor 3, and ends when its standard input does.
func connectAndHandOver(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	file, err := conn.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(3, []byte("x"), unix.UnixRights(int(file.Fd())), nil, 0); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// acceptAndTell accepts one connection and prints who opened it.
func acceptAndTell(path string) error {
	ln, err := Listen(path, 0o666, NoGroup)
	if err != nil {
		return err
	}
	defer ln.Close()
	fmt.Println("listening")
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	return json.NewEncoder(os.Stdout).Encode(identified(conn, false).(*peerConn).peer.current())
}

// program returns the path of this test binary where every user can run it.
func program(t *testing.T) string {
	t.Helper()
	dir := socketDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "test")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A connector is a process that opened a connection and gave it away.
type connector struct {
	*exec.Cmd
	stdin io.Closer
	conn  net.Conn
}

// startConnector starts one; attributes may be nil.
func startConnector(t *testing.T, path string, attributes *syscall.SysProcAttr) *connector {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "theirs")
	defer unix.Close(pair[0])
	c := &connector{Cmd: exec.CommandContext(t.Context(), program(t), path)}
	c.Env = append(os.Environ(), "INVECTD_TEST_PROCESS=connector")
	c.ExtraFiles, c.Stderr, c.SysProcAttr = []*os.File{theirs}, t.Output(), attributes
	if c.stdin, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	err = c.Start()
	theirs.Close()
	if err != nil {
		t.Fatalf("starting a connector: %v", err)
	}
	t.Cleanup(func() { c.end() })
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		t.Fatalf("the connector handed nothing over: %v", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[0]), "handed over")
	defer file.Close()
	if c.conn, err = net.FileConn(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// end has the connector end, and waits until it has.
func (c *connector) end() {
	c.stdin.Close()
	_ = c.Wait() // the second time says that it was waited for
}

// doorkeeper runs a process that accepts one connection, and returns who it says
// opened it.
func doorkeeper(t *testing.T, path string, attributes *syscall.SysProcAttr, connect func()) broker.Caller {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), path)
	cmd.Env = append(os.Environ(), "INVECTD_TEST_PROCESS=doorkeeper")
	cmd.Stderr, cmd.SysProcAttr = t.Output(), attributes
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("namespaces are not permitted here: %v", err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("listening\n"))); err != nil {
		t.Fatalf("the doorkeeper does not listen: %v", err)
	}
	connect()
	var caller broker.Caller
	if err := json.NewDecoder(out).Decode(&caller); err != nil {
		t.Fatalf("the doorkeeper does not say who it was: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return caller
}

func needsRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, " + why)
	}
}

// asUser returns what curl prints of GET path as another user: the body, a space
// and the status.
func (f *fixture) asUser(t *testing.T, credential *syscall.Credential, path string, before ...string) string {
	t.Helper()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl")
	}
	args := append(before, curl, "-sS", "--unix-socket", f.path, "-w", " %{http_code}", "http://localhost"+path)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "unshare:") {
		t.Skipf("namespaces are not permitted here: %s", out)
	}
	if err != nil {
		t.Fatalf("curl %s: %v: %s", path, err, out)
	}
	return string(out)
}
