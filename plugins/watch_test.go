package plugins

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// watch runs the watch of a folder until the test ends, and returns what it tells.
func watch(t *testing.T, dir string) <-chan broker.ProviderChange {
	t.Helper()
	r, err := New(Config{Store: new(brokertest.MemStore), Log: slog.New(slog.DiscardHandler), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	told, ended := make(chan broker.ProviderChange, 64), make(chan error)
	go func() { ended <- r.Watch(ctx, func(c broker.ProviderChange) { told <- c }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Watch = %v, want nil", err)
		}
	})
	return told
}

func await(t *testing.T, told <-chan broker.ProviderChange, status broker.Status, id string) {
	t.Helper()
	select {
	case c := <-told:
		if c.Status != status || c.ID != id {
			t.Fatalf("told that %s is %s (%s), want that %s is %s", c.ID, c.Status, c.Reason, id, status)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("told nothing, want that %s is %s", id, status)
	}
}

func drop(t *testing.T, dir, name, text string) {
	t.Helper()
	next := filepath.Join(dir, ".next")
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, filepath.Join(dir, name))); err != nil {
		t.Fatal(err)
	}
}

const definitionA, definitionB = "id: a\nname: A\nissuer: https://a.example\n", "id: b\nname: B\nissuer: https://b.example\n"

func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	told := watch(t, dir)
	drop(t, dir, "a.yaml", definitionA)
	await(t, told, broker.ProviderAdded, "a")
	drop(t, dir, "b.json", `{"id":"b","name":"B","issuer":"https://b.example"}`)
	await(t, told, broker.ProviderAdded, "b")
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(definitionA+"pkce: no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, told, broker.ProviderStale, "a")
	if err := os.Remove(filepath.Join(dir, "b.json")); err != nil {
		t.Fatal(err)
	}
	await(t, told, broker.ProviderRemoved, "b")
}

// TestWatchFolder: the folder is made, replaced by another and turned around as a
// link, and what is in it is found each time.
func TestWatchFolder(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := filepath.Join(base, "providers")
	told := watch(t, dir)
	fill := func(name, file, text string) string {
		path := filepath.Join(base, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		drop(t, path, file, text)
		return path
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(os.Rename(fill("one", "a.yaml", definitionA), dir))
	await(t, told, broker.ProviderAdded, "a")
	do(os.RemoveAll(dir))
	await(t, told, broker.ProviderRemoved, "a")
	do(os.Symlink(fill("two", "b.yaml", definitionB), dir))
	await(t, told, broker.ProviderAdded, "b")
	link := filepath.Join(base, "link")
	do(os.Symlink(fill("three", "a.yaml", definitionA), link))
	do(os.Rename(link, dir))
	await(t, told, broker.ProviderAdded, "a")
	await(t, told, broker.ProviderRemoved, "b")
	drop(t, dir, "b.yaml", definitionB) // the new one is watched, too
	await(t, told, broker.ProviderAdded, "b")
}

// queueLength is how many events the system keeps for a watcher.
func queueLength(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip("the system does not say how many events it keeps: ", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n > 100_000 {
		t.Skipf("the system keeps too many events to overflow: %s", text)
	}
	return n
}

// TestWatchOverflow: more events than the system keeps are as good as one.
func TestWatchOverflow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, release := make(chan bool), make(chan bool)
	r, err := New(Config{Store: new(brokertest.MemStore), Log: slog.New(slog.DiscardHandler), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w := r.newWatcher()
	defer w.close()
	w.follow(dir)
	overflow := make(chan error, 1)
	go func() { // nobody takes the events until there are too many
		held <- true
		<-release
		for {
			select {
			case <-w.events:
			case err := <-w.errors:
				overflow <- err
				return
			}
		}
	}()
	<-held
	for range queueLength(t) {
		path := filepath.Join(dir, "x")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if err := <-overflow; !errors.Is(err, fsnotify.ErrEventOverflow) {
		t.Fatalf("the watch says %v, want ErrEventOverflow", err)
	}

	// What happened in the flood is found, whatever got lost of it.
	told := watch(t, dir)
	for n := range queueLength(t) {
		path := filepath.Join(dir, "x")
		if n == 1000 {
			drop(t, dir, "a.yaml", definitionA)
		}
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, told, broker.ProviderAdded, "a")
}
