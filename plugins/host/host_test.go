package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

// TestMain lets the test's own program become a plugin, as the daemon's does.
func TestMain(m *testing.M) {
	Launch()
	if os.Getenv(oldKernel) != "" {
		if err := forgetCalls(); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// builtPrograms is the variable that names the folder of programs, for tests that
// run as somebody who cannot build them.
const builtPrograms = "BUILT_PROGRAMS"

// builtName is what the program of a package is called there.
func builtName(pkg string) string { return path.Base(pkg) }

// built builds a program of the module once and returns its path.
var built = func() func(t *testing.T, pkg string) string {
	var mu sync.Mutex
	paths := map[string]string{}
	return func(t *testing.T, pkg string) string {
		t.Helper()
		if dir := os.Getenv(builtPrograms); dir != "" {
			return filepath.Join(dir, builtName(pkg))
		}
		mu.Lock()
		defer mu.Unlock()
		if paths[pkg] == "" {
			dir, err := os.MkdirTemp("", "invectd-plugins-")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "plugin")
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
				t.Fatalf("building %s: %v\n%s", pkg, err, out)
			}
			paths[pkg] = path
		}
		return paths[pkg]
	}
}()

const (
	examplePackage = "github.com/invectd/invectd/plugins/example"
	hostilePackage = "./testdata/hostile"
)

// A fixture is a host over a folder, with a registry and a store as the daemon
// has them.
type fixture struct {
	*Host
	dir      string
	registry *plugins.Registry
	store    *memStore
	log      *lockedBuffer
	events   *broker.Events
	last     uint64 // the id of the last event that was looked at
}

// newFixture starts a host that ends with the test. files are put into the folder
// before: names to the packages that they are built from.
func newFixture(t *testing.T, files map[string]string) *fixture {
	t.Helper()
	base := t.TempDir()
	if err := os.Chmod(base, 0o700); err != nil {
		t.Fatal(err)
	}
	f := &fixture{dir: filepath.Join(base, "plugins"), store: &memStore{}, log: &lockedBuffer{}, events: broker.NewEvents()}
	f.last = f.events.Last()
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, pkg := range files {
		f.put(t, name, pkg)
	}
	log := slog.New(slog.NewTextHandler(f.log, nil))
	var err error
	f.registry, err = plugins.New(plugins.Config{
		Store: f.store, Log: log, InUse: func(string) bool { return true }, Builtin: []broker.Definition{{ID: "google", Name: "Google", TokenURL: "https://google.example/t", AuthorizationURL: "https://google.example/a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Host, err = New(t.Context(), Config{
		Dir: f.dir, Scratch: filepath.Join(base, "run"), Store: f.store, Registry: f.registry, Events: f.events, Version: "test", Log: log,
		Changed: func(broker.ProviderChange) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	return f
}

// put copies a program into the folder as people do: under a hidden name first.
func (f *fixture) put(t *testing.T, name, pkg string) {
	t.Helper()
	program, err := os.ReadFile(built(t, pkg))
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, "."+name), program, 0o755)
	}
	if err == nil {
		err = os.Rename(filepath.Join(f.dir, "."+name), filepath.Join(f.dir, name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until the plugin is in a state, and returns it.
func (f *fixture) waitFor(t *testing.T, name string, state broker.PluginState) broker.Plugin {
	t.Helper()
	for {
		for _, p := range f.Plugins() {
			if p.Name == name && p.State == state {
				return p
			}
		}
		list, err := f.events.After(t.Context(), f.last)
		if err != nil {
			t.Fatalf("plugin %s is %+v, want it %s; the log:\n%s", name, f.Plugins(), state, f.log)
		}
		f.last = list[len(list)-1].ID
	}
}

// trust trusts a plugin and fails the test if that is refused.
func (f *fixture) trust(t *testing.T, name string, hooks ...broker.Hook) broker.Plugin {
	t.Helper()
	f.waitKnown(t, name)
	p, err := f.Trust(t.Context(), name, "", hooks)
	if err != nil {
		t.Fatalf("Trust(%s) = %v", name, err)
	}
	return p
}

// upgrade puts another file in the place of a plugin's, with the same program in
// it: what stands behind it is not read. Then it trusts that.
func (f *fixture) upgrade(t *testing.T, name string, hooks ...broker.Hook) broker.Plugin {
	t.Helper()
	path, next := filepath.Join(f.dir, name), filepath.Join(f.dir, "."+name)
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(next, append(program, 0), 0o755), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
	f.scan()
	return f.trust(t, name, hooks...)
}

// waitKnown waits until the host has seen a file.
func (f *fixture) waitKnown(t *testing.T, name string) {
	t.Helper()
	for !slices.ContainsFunc(f.Plugins(), func(p broker.Plugin) bool { return p.Name == name && p.State != "" }) {
		list, err := f.events.After(t.Context(), f.last)
		if err != nil {
			t.Fatal(err)
		}
		f.last = list[len(list)-1].ID
	}
}

func TestTrust(t *testing.T) {
	f := newFixture(t, map[string]string{"my_service": examplePackage})
	p := f.waitFor(t, "my_service", broker.PluginUntrusted)
	if len(p.Providers) > 0 || p.Version != "" || !strings.Contains(p.Error, "invectd plugins trust my_service") {
		t.Errorf("before it is trusted = %+v, want nothing of it known and what to do", p)
	}
	if _, err := f.Trust(t.Context(), "my_service", "sha256:00", nil); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("Trust with another digest = %v, want ErrConflict", err)
	}
	if _, err := f.Trust(t.Context(), "absent", "", nil); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Trust of an absent plugin = %v, want ErrNotFound", err)
	}
	if _, err := f.Trust(t.Context(), "my_service", p.Digest, []broker.Hook{"everything"}); err == nil {
		t.Error("Trust with an unknown hook = nil, want an error")
	}
	if trusts, _ := f.store.PluginTrusts(t.Context()); len(trusts) > 0 {
		t.Fatalf("refused words were kept: %v", trusts)
	}
	p, err := f.Trust(t.Context(), "my_service", p.Digest, nil)
	if err != nil || p.State != broker.PluginRunning || p.Version != "1.0.0" || !slices.Equal(p.Providers, []string{"my_service"}) || p.Error != "" {
		t.Fatalf("Trust() = %+v, %v, want it running with my_service", p, err)
	}
	d, err := f.registry.Definition("my_service")
	if err != nil || d.Source != broker.SourcePlugin {
		t.Errorf("Definition(my_service) = source %q, %v, want the plugin's", d.Source, err)
	}
	if err := f.Distrust(t.Context(), "my_service"); err != nil {
		t.Fatalf("Distrust() = %v", err)
	}
	f.waitFor(t, "my_service", broker.PluginUntrusted)
	if _, err := f.registry.Definition("my_service"); err != nil {
		t.Errorf("after its plugin has ended Definition(my_service) = %v, want the last good one", err)
	}
	if err := f.Distrust(t.Context(), "my_service"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Distrust twice = %v, want ErrNotFound", err)
	}
}

// TestDroppedIn: fsnotify tells of a file that comes while the daemon runs, and of
// its replacement, which does not run before it is trusted too.
func TestDroppedIn(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, "my_service", examplePackage)
	f.waitFor(t, "my_service", broker.PluginUntrusted)
	first := f.trust(t, "my_service")
	f.put(t, "my_service", hostilePackage)
	f.scan()
	p := f.Plugins()[0]
	if p.State != broker.PluginRunning || p.Version != first.Version || p.Digest == first.Digest || !strings.Contains(p.Error, "changed") {
		t.Errorf("after the file changed = %+v, want what was trusted to run on, and to be told", p)
	}
	p = f.trust(t, "my_service")
	if p.State != broker.PluginRunning || p.Version != "1" || !slices.Equal(p.Providers, []string{"hostile"}) {
		t.Errorf("after trusting the new file = %+v, want it running", p)
	}
	if err := os.Remove(filepath.Join(f.dir, "my_service")); err != nil {
		t.Fatal(err)
	}
	f.waitFor(t, "my_service", broker.PluginStopped)
}

// TestChangedAndKilled: where the file changed meanwhile, what was trusted cannot be
// started again, and that is no fault of a plugin's.
func TestChangedAndKilled(t *testing.T) {
	f := newFixture(t, map[string]string{"my_service": examplePackage})
	f.trust(t, "my_service")
	f.put(t, "my_service", hostilePackage)
	f.scan()
	_ = f.process("my_service").command.Kill(t.Context())
	p := f.waitFor(t, "my_service", broker.PluginUntrusted)
	if p.Restarts != 1 || !strings.Contains(p.Error, "invectd plugins trust my_service") {
		t.Errorf("killed after its file changed = %+v, want what to do after one end", p)
	}
}

// TestRestart: a plugin that was killed is started again, and left alone once it
// ended too often; to trust it again is to try again.
func TestRestart(t *testing.T) {
	f := newFixture(t, map[string]string{"my_service": examplePackage, "exits": hostilePackage})
	f.trust(t, "my_service")
	before := f.process("my_service")
	_ = before.command.Kill(t.Context())
	<-before.command.exited
	f.waitFor(t, "my_service", broker.PluginStopped)
	if p := f.waitFor(t, "my_service", broker.PluginRunning); p.Restarts != 1 {
		t.Errorf("after it was killed restarts = %d, want 1", p.Restarts)
	}
	p := f.trust(t, "exits")
	if p.State != broker.PluginStopped || !strings.Contains(p.Error, "exit status 3") {
		t.Errorf("a plugin that exits = %+v, want it stopped and how it ended", p)
	}
	if testing.Short() {
		return // the pauses between are real
	}
	p = f.waitFor(t, "exits", broker.PluginQuarantined)
	if p.Restarts != quarantineCount || !strings.Contains(p.Error, "invectd plugins trust exits") {
		t.Errorf("quarantined = %+v, want %d restarts and what to do", p, quarantineCount)
	}
	if p = f.trust(t, "exits"); p.State != broker.PluginStopped {
		t.Errorf("trusted again = %+v, want it tried again", p)
	}
}

func (f *fixture) process(name string) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plugins[name].process
}

// TestNoPlugin: what is no plugin is told apart, within the time for a start.
func TestNoPlugin(t *testing.T) {
	f := newFixture(t, map[string]string{"garbage": hostilePackage, "huge": hostilePackage, "takes": hostilePackage, "plain": hostilePackage})
	for name, want := range map[string]string{
		"garbage": "no plugin",
		"huge":    "longer than 1048576 bytes",
	} {
		if p := f.trust(t, name); p.State != broker.PluginStopped || !strings.Contains(p.Error, want) {
			t.Errorf("%s = %s: %s, want it stopped: %s", name, p.State, p.Error, want)
		}
	}
	for name, want := range map[string]string{
		"takes": `provider "google" comes from the built-in catalogue`,
		"plain": "https",
	} {
		if p := f.trust(t, name); p.State != broker.PluginRunning || !strings.Contains(p.Error, want) {
			t.Errorf("%s = %s: %s, want it running without the definition: %s", name, p.State, p.Error, want)
		}
	}
	if d, err := f.registry.Definition("google"); err != nil || d.Source != broker.SourceBuiltin {
		t.Errorf("Definition(google) = %v, %v, want the built-in one", d.Source, err)
	}
	if _, err := f.registry.Definition("hostile"); !errors.Is(err, broker.ErrUnknownProvider) {
		t.Errorf("Definition of an invalid one = %v, want ErrUnknownProvider", err)
	}
}

// TestConfined: a plugin can do nothing of what it needs not.
func TestConfined(t *testing.T) {
	t.Setenv("INVECT_ENCRYPTION_KEY", "canary")
	t.Setenv("CANARY", "canary")
	f := newFixture(t, map[string]string{"probe": hostilePackage})
	p := f.trust(t, "probe")
	if p.State != broker.PluginRunning || p.Version != "" {
		t.Errorf("a confined plugin = %s: %s could: %s, want nothing", p.State, p.Error, p.Version)
	}
}

// TestFlood: what a plugin prints holds nobody up, and little of it is logged.
func TestFlood(t *testing.T) {
	f := newFixture(t, map[string]string{"floods": hostilePackage})
	if p := f.trust(t, "floods"); p.State != broker.PluginRunning {
		t.Fatalf("floods = %s: %s, want it running", p.State, p.Error)
	}
	for range 50 {
		if err := f.process("floods").alive(t.Context()); err != nil {
			t.Fatalf("alive() = %v", err)
		}
	}
	if !strings.Contains(f.log.String(), "yyyy") {
		t.Error("the log has nothing of what it printed")
	}
	if size := f.log.len(); size > 2*linesPerMinute*(maxLine+200) {
		t.Errorf("the log has %d bytes, want it bounded", size)
	}
}

var quietLog = slog.New(slog.DiscardHandler)

// A memStore keeps trusts and definitions in memory.
type memStore struct {
	mu     sync.Mutex
	trusts map[string]broker.PluginTrust
}

func (m *memStore) PluginTrusts(context.Context) ([]broker.PluginTrust, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.trusts)), nil
}

func (m *memStore) PutPluginTrust(_ context.Context, t broker.PluginTrust) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trusts == nil {
		m.trusts = map[string]broker.PluginTrust{}
	}
	m.trusts[t.Name] = t
	return nil
}

func (m *memStore) DeletePluginTrust(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.trusts[name]; !ok {
		return broker.ErrNotFound
	}
	delete(m.trusts, name)
	return nil
}

func (*memStore) KeptDefinitions(context.Context) ([]broker.KeptDefinition, error) { return nil, nil }
func (*memStore) KeepDefinition(context.Context, broker.KeptDefinition) error      { return nil }
func (*memStore) DropDefinition(context.Context, string) error                     { return nil }
func (*memStore) StoredDefinitions(context.Context) ([]broker.Definition, error)   { return nil, nil }
func (*memStore) PutDefinition(context.Context, broker.Definition) error           { return nil }
func (*memStore) DeleteDefinition(context.Context, string) error                   { return nil }

// A lockedBuffer takes a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}

// TestReloads: a plugin that is replaced again and again leaves nothing behind.
func TestReloads(t *testing.T) {
	f := newFixture(t, map[string]string{"my_service": examplePackage})
	f.trust(t, "my_service")
	count := 100
	if testing.Short() {
		count = 5
	}
	var descriptors, routines int
	for n := range count {
		before := f.process("my_service")
		if p := f.upgrade(t, "my_service"); p.State != broker.PluginRunning || p.Error != "" {
			t.Fatalf("reload %d = %s: %s, want it running", n, p.State, p.Error)
		}
		<-before.command.exited
		if n == 1 {
			descriptors, routines = openDescriptors(t), runtime.NumGoroutine()
		}
	}
	if now := openDescriptors(t); now > descriptors+5 { // what is being closed counts yet
		t.Errorf("after %d reloads %d descriptors are open, %d after the first", count, now, descriptors)
	}
	if now := runtime.NumGoroutine(); now > routines+15 {
		t.Errorf("after %d reloads there are %d goroutines, %d after the first", count, now, routines)
	}
	if left, err := os.ReadDir(f.config.Scratch); err != nil || len(left) > 2 {
		t.Errorf("after %d reloads there are the folders %v, %v, want that of the one that runs", count, left, err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// TestUpgradeUnderLoad: while one file takes the place of another, no call of a hook
// goes without an answer, and nothing is left of the former.
func TestUpgradeUnderLoad(t *testing.T) {
	f := newFixture(t, map[string]string{"moves": hostilePackage})
	f.trust(t, "moves", broker.HookTokenRequest)
	stop := make(chan struct{})
	var calls, failed atomic.Int64
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				if _, err := tokenRequest(t, f); err != nil {
					failed.Add(1)
					t.Errorf("TokenRequest() during an upgrade = %v, want nil", err)
					return
				}
			}
		})
	}
	for n := range 5 {
		before := f.process("moves")
		if p := f.upgrade(t, "moves", broker.HookTokenRequest); p.State != broker.PluginRunning || p.Error != "" {
			t.Fatalf("upgrade %d = %s: %s, want it running", n, p.State, p.Error)
		}
		if f.process("moves") == before {
			t.Errorf("upgrade %d: the former process still answers", n)
		}
		<-before.command.exited
	}
	close(stop)
	callers.Wait()
	t.Logf("%d calls during 5 upgrades, %d failed", calls.Load(), failed.Load())
}
