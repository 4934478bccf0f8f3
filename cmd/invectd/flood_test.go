package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

var flood = flag.Duration("flood", 0, "how long TestFlood floods the daemon in each way")

// An attack is what one process of another user does to the socket, over so many
// connections at once.
type attack struct {
	users, connections int
	// assault works on one connection until it fails, upon which there is another.
	assault    func(conn net.Conn) error
	fillsQueue bool
}

const (
	askToken = "GET /credentials/nobody/token HTTP/1.1\r\nHost: x\r\n\r\n"
	askMuch  = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
)

var attacks = map[string]attack{
	"nothing":                 {0, 0, nil, false},
	"ten thousand idle":       {3, 3400, hold(""), false},
	"ten thousand keep-alive": {3, 3400, hold("GET /version HTTP/1.1\r\nHost: x\r\n\r\n"), false},
	"slow headers":            {2, 1000, dribble("GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: "), false},
	"slow bodies":             {2, 450, dribble("POST /credentials HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"), false},
	"half-sent bodies":        {2, 2000, hold("POST /credentials HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"), false},
	"endless headers":         {1, 50, pour("GET /version HTTP/1.1\r\nHost: x\r\nX-Huge: ", strings.Repeat("x", 64<<10)), false},
	"answers never read":      {1, 500, pour(askMuch, strings.Repeat(askMuch, 100)), false},
	"pipelined reads":         {1, 1000, pipeline(strings.Repeat(askToken, 100)), false},
	"pipelined writes":        {1, 1000, pipeline(strings.Repeat("DELETE /credentials/nobody HTTP/1.1\r\nHost: x\r\n\r\n", 100)), false},
	"pipelined versions":      {1, 1000, pipeline(strings.Repeat("GET /version HTTP/1.1\r\nHost: x\r\n\r\n", 100)), false},
	"four thousand askers":    {1, 4000, pipeline(askToken), false},
	"connecting anew":         {1, 50, func(net.Conn) error { return io.EOF }, true},
	"connections too many":    {1, 4500, pipeline(askToken), false},
}

// hold says something and waits until the daemon hangs up.
func hold(text string) func(net.Conn) error {
	return func(conn net.Conn) error {
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, conn)
		return err
	}
}

// dribble says something and then a byte at a time.
func dribble(text string) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, text)
		for err == nil {
			time.Sleep(100 * time.Millisecond)
			_, err = conn.Write([]byte("x"))
		}
		return err
	}
}

// pour says something and then more, and reads nothing.
func pour(text, more string) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, text)
		for err == nil {
			_, err = io.WriteString(conn, more)
		}
		return err
	}
}

// pipeline asks again and again, and reads what comes as it comes.
func pipeline(text string) func(net.Conn) error {
	return func(conn net.Conn) error {
		go io.Copy(io.Discard, conn)
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return err
			}
		}
	}
}

// floodMain is the attacker: flood ATTACK SOCKET UID. It ends with its parent.
func floodMain() {
	uid, err := strconv.Atoi(os.Args[3])
	if err == nil && uid != os.Geteuid() {
		err = syscall.Setuid(uid)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	a := attacks[os.Args[1]]
	var started sync.WaitGroup
	for range a.connections {
		started.Add(1)
		first := sync.OnceFunc(started.Done)
		go func() {
			for {
				if conn, err := net.Dial("unix", os.Args[2]); err == nil {
					first()
					_ = a.assault(conn) // it ends when the daemon has enough
					conn.Close()
				}
			}
		}()
	}
	started.Wait()
	fmt.Println("started")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// TestFlood lets another user's processes do their worst, each in its way, and
// meanwhile reads tokens as an honest caller does: over a connection that it
// keeps, and over a new one each time. It prints what an honest caller notices.
func TestFlood(t *testing.T) {
	if *flood == 0 || os.Geteuid() != 0 {
		t.Skip("needs -flood 5s, and root, to be other users")
	}
	for _, name := range slices.Sorted(maps.Keys(attacks)) {
		t.Run(name, func(t *testing.T) {
			p := startChild(t)
			for path, mode := range map[string]os.FileMode{filepath.Dir(p.socket): 0o755, p.socket: 0o666} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.CreateCredential(t.Context(), client.CredentialInput{
				Name: new("c"), AuthType: new("bearer"), Config: map[string]any{"token": "t"},
			}); err != nil {
				t.Fatalf("CreateCredential = %v", err)
			}
			before := p.resident()
			a := attacks[name]
			for i := range a.users {
				startFlood(t, name, p.socket, 20000+i)
			}
			kept, fresh := p.measure(*flood)
			t.Logf("%-24s kept connection p50 %7v p99 %7v max %7v | new ones p50 %7v p99 %7v max %7v | %d + %d reads | %d MiB more, %.1f KiB a connection",
				name, at(kept, 50), at(kept, 99), at(kept, 100), at(fresh, 50), at(fresh, 99), at(fresh, 100), len(kept), len(fresh),
				(p.resident()-before)>>20, float64(p.resident()-before)/1024/float64(max(1, a.users*a.connections)))
			if a.fillsQueue { // the kernel's, in which a new connection waits for its turn
				fresh = kept
			}
			if slowest := max(at(kept, 99), at(fresh, 99)); slowest > 50*time.Millisecond {
				t.Errorf("p99 = %v, want less than 50ms", slowest)
			}
		})
	}
}

func startFlood(t *testing.T, name, socket string, uid int) {
	t.Helper()
	cmd := exec.Command("flood", name, socket, strconv.Itoa(uid))
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	cmd.Stderr = t.Output()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // it ends when its input does
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the attacker says %q, %v", line, err)
	}
}

// measure reads tokens for a while and returns how long each took.
func (p *childDaemon) measure(during time.Duration) (kept, fresh []time.Duration) {
	p.t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(time.Millisecond) {
		began := time.Now()
		if _, err := p.Token(p.t.Context(), "c", client.ReadOptions{}); err != nil {
			p.t.Fatalf("Token = %v", err)
		}
		kept = append(kept, time.Since(began))
		began = time.Now()
		if status, err := askOnce(p.socket, "GET /credentials/c/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil || status != http.StatusOK {
			p.t.Fatalf("a token over a new connection = %d, %v, want 200", status, err)
		}
		fresh = append(fresh, time.Since(began))
	}
	slices.Sort(kept)
	slices.Sort(fresh)
	return kept, fresh
}

// askOnce sends a request over a connection of its own.
func askOnce(socket, request string) (status int, err error) {
	conn, err := net.Dial("unix", socket)
	for errors.Is(err, syscall.EAGAIN) { // the queue before the socket is full
		time.Sleep(time.Millisecond)
		conn, err = net.Dial("unix", socket)
	}
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// at returns a percentile.
func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)-1)*percent/100].Round(10 * time.Microsecond)
}

// resident is how many bytes of memory the daemon has.
func (p *childDaemon) resident() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
