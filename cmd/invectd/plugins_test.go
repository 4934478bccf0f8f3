package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/socket/client"
)

// startWithPlugins runs a daemon with the hostile plugin in its folder, under each
// name of what it is to do. base is where its provider answers; "" for nowhere.
func startWithPlugins(t *testing.T, base string, names ...string) *childDaemon {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/invectd/invectd/plugins/host/testdata/hostile")
	if base != "" {
		build.Args = slices.Insert(build.Args, 2, "-ldflags=-X main.base="+base)
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the hostile plugin: %v\n%s", err, out)
	}
	for _, name := range names {
		if err := os.Link(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return startChild(t, "INVECT_PLUGINS_DIR="+dir)
}

// trust has plugins run.
func (p *childDaemon) trust(names ...string) {
	p.t.Helper()
	for _, name := range names {
		if _, err := p.TrustPlugin(p.t.Context(), name, client.PluginTrust{Hooks: []string{"token_request", "token_response"}}); err != nil {
			p.t.Fatalf("TrustPlugin(%s) = %v", name, err)
		}
	}
}

// children returns the process ids of what the daemon started, by the name that it
// runs under.
func (p *childDaemon) children() map[string]int {
	p.t.Helper()
	found := map[string]int{}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		p.t.Fatalf("the threads of the daemon: %v, %v", tasks, err)
	}
	for _, task := range tasks {
		list, _ := os.ReadFile(task) // a thread may have ended
		for child := range strings.FieldsSeq(string(list)) {
			line, _ := os.ReadFile("/proc/" + child + "/cmdline")
			name, _, _ := strings.Cut(string(line), "\x00")
			if found[name], err = strconv.Atoi(child); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	return found
}

// ending returns a function that waits until a process has ended.
func ending(t *testing.T, pid int) (wait func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("PidfdOpen(%d) = %v", pid, err)
	}
	return func() {
		defer unix.Close(fd)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n == 0 {
				t.Errorf("process %d is there 10 seconds later, %v", pid, err)
			}
			return
		}
	}
}

// TestNoOrphan: however the daemon ends, its plugins end with it: those that ignore
// signals, and those that are stopped. None of them has the key.
func TestNoOrphan(t *testing.T) {
	names := []string{"answers", "ignores", "stopped"}
	p := startWithPlugins(t, "", names...)
	p.trust(names...)
	for _, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		children := p.children()
		var waits []func()
		for _, name := range names {
			pid := children[name]
			if pid == 0 {
				t.Fatalf("plugin %s does not run among %v", name, children)
			}
			environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil && os.Geteuid() == 0 {
				t.Error(err)
			}
			if strings.Contains(string(environment), "INVECT_") {
				t.Errorf("plugin %s has variables of the daemon: %q", name, environment)
			}
			waits = append(waits, ending(t, pid))
		}
		if err := syscall.Kill(children["stopped"], syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := p.cmd.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		for _, wait := range waits {
			wait()
		}
		t.Logf("%d plugins ended within %s of %s", len(waits), time.Since(began).Round(time.Millisecond), end)
		if end == syscall.SIGKILL {
			p.kill() // to take note that it has ended
			p.start()
			p.awaitRunning(names...)
		}
	}
}

// awaitRunning waits until plugins that are trusted run.
func (p *childDaemon) awaitRunning(names ...string) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		list, err := p.Plugins(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		running := 0
		for _, plugin := range list {
			if slices.Contains(names, plugin.Name) && plugin.State == "running" {
				running++
			}
		}
		if running == len(names) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the plugins are %+v, want %v running", list, names)
		}
	}
}

// TestPluginKilledOverAnAnswer: the provider spent the only refresh token there was,
// and the plugin that has to read its answer is killed before it comes. The answer
// waits for the next process, and no token is lost.
func TestPluginKilledOverAnAnswer(t *testing.T) {
	server := brokertest.NewAuthServer(brokertest.AuthConfig{ClientAuthentication: "basic"})
	var kill atomic.Bool
	var p *childDaemon
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" && kill.CompareAndSwap(true, false) {
			if err := syscall.Kill(p.children()["answers"], syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		server.ServeHTTP(w, r)
	}))
	defer listening.Close()
	server.URL = listening.URL
	p = startWithPlugins(t, server.URL, "answers")
	p.trust("answers")
	app := client.App{ProviderID: "hostile", ClientID: server.Client().ID, ClientSecret: server.Client().Secret.Reveal()}
	if _, err := p.PutApp(t.Context(), app); err != nil {
		t.Fatalf("PutApp = %v", err)
	}
	name := "c"
	c, err := p.CreateCredential(t.Context(), client.CredentialInput{
		Name: &name, AuthType: new("oauth2"), Provider: new("hostile"), Config: grant(server, time.Now().Add(time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	rounds := 3
	if testing.Short() {
		rounds = 1 // the pauses before a start are real, and double
	}
	for round := range rounds {
		kill.Store(true)
		began := time.Now()
		after, err := p.RefreshCredential(t.Context(), c.ID)
		if err != nil || after.Generation != c.Generation+1 {
			t.Fatalf("RefreshCredential() over a killed plugin = generation %d, %v, want %d", after.Generation, err, c.Generation+1)
		}
		c = after
		t.Logf("round %d: refreshed in %s", round, time.Since(began).Round(time.Millisecond))
	}
	if stats := server.Stats(); stats.Refreshes != rounds || stats.Reuses > 0 || stats.FamiliesRevoked > 0 {
		t.Errorf("the provider saw %+v, want %d refreshes and no token twice", stats, rounds)
	}
}

// TestPluginsAreNoBurden reads a token while a plugin does its worst, and compares
// with none.
func TestPluginsAreNoBurden(t *testing.T) {
	names := []string{"nothing", "floods", "spins", "forks", "huge", "exits", "silent", "swells"}
	p := startWithPlugins(t, "", names[1:]...)
	c, err := p.CreateCredential(t.Context(), client.CredentialInput{
		Name: new("c"), AuthType: new("bearer"), Config: map[string]any{"token": "t"},
	})
	if err != nil {
		t.Fatal(err)
	}
	span := 3 * time.Second
	if testing.Short() {
		span = 300 * time.Millisecond
	}
	before := p.resident()
	for _, name := range names {
		if name != "nothing" {
			p.trust(name) // it waits until it runs, or does not
		}
		var took []time.Duration
		for end := time.Now().Add(span); time.Now().Before(end); {
			began := time.Now()
			if _, err := p.Token(t.Context(), c.ID, client.ReadOptions{}); err != nil {
				t.Fatalf("Token() beside %s = %v", name, err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		median, late, resident := at(took, 50), at(took, 99), p.resident()
		t.Logf("%-8s %6d reads, median %8s, p99 %8s, resident %d MB", name, len(took), median, late, resident>>20)
		// What the machine does besides is not the plugin's fault: these are no figures
		// but bounds that a daemon which is held up is far beyond.
		if late > time.Second {
			t.Errorf("beside %s the slowest hundredth of reads take %s", name, late)
		}
		if resident > before+(100<<20) {
			t.Errorf("beside %s the daemon has %d MB in memory, %d before", name, resident>>20, before>>20)
		}
		if name != "nothing" {
			if err := p.DistrustPlugin(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
