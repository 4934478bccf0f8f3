package policyfile

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// A journal is a log that can be waited on.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.more)
	j.more = make(chan struct{})
	return j.text.Write(p)
}

// await waits until the log has a line with all that, and forgets all before it.
func (j *journal) await(t *testing.T, want string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		j.mu.Lock()
		_, after, found := strings.Cut(j.text.String(), want)
		more := j.more
		if found {
			j.text.Reset()
			j.text.WriteString(after)
		}
		j.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("the log does not say %q: %s", want, j.text.String())
		}
	}
}

// follow runs a watcher until the test ends.
func follow(t *testing.T, file string) (*broker.Policy, *journal, chan<- os.Signal) {
	t.Helper()
	log := &journal{more: make(chan struct{})}
	policy := broker.NewPolicy(0)
	w, err := Start(file, policy, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	reload, ended := make(chan os.Signal), make(chan error, 1)
	go func() { ended <- w.Run(ctx, reload) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	log.await(t, "in force")
	return policy, log, reload
}

func nameOf(p *broker.Policy) string { return p.State().Rules[0].Name }

func ruleText(name string) string { return "rules: [{name: " + name + ", who: {uids: [1]}}]\n" }

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	write(t, file, ruleText("one"))
	policy, log, reload := follow(t, file)

	// It is written in place.
	write(t, file, ruleText("two"))
	log.await(t, "in force")
	if got := nameOf(policy); got != "two" {
		t.Errorf("the rule in force = %s, want two", got)
	}

	// What is broken changes nothing, and says so once.
	write(t, file, "rules: [{nmae: x}]\n")
	log.await(t, "there is no key")
	if got := policy.State(); got.Rules[0].Name != "two" || !strings.Contains(got.Fault, "policy.yaml:1:") {
		t.Errorf("with a broken file in force = %s with the fault %q, want two and where", got.Rules[0].Name, got.Fault)
	}

	// It is mended, by a rename as editors do.
	write(t, filepath.Join(dir, "new"), ruleText("two"))
	if err := os.Rename(filepath.Join(dir, "new"), file); err != nil {
		t.Fatal(err)
	}
	log.await(t, "in force")
	if got := policy.State(); got.Rules[0].Name != "two" || got.Fault != "" {
		t.Errorf("mended = %s with the fault %q, want two without", got.Rules[0].Name, got.Fault)
	}

	// It vanishes, and comes back.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	log.await(t, "no such file")
	if got := nameOf(policy); got != "two" {
		t.Errorf("without a file the rule in force = %s, want two", got)
	}
	write(t, file, ruleText("three"))
	log.await(t, "in force")

	// Others may write it from now on.
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	log.await(t, "others can write")

	// It is read again when somebody asks, and the answer is told each time.
	reload <- syscall.SIGHUP
	log.await(t, "others can write")
}

// TestWatchConfigMap swaps a link as the kubelet does: the file itself is a link
// that never changes.
func TestWatchConfigMap(t *testing.T) {
	dir := t.TempDir()
	publish := func(version, name string) {
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "policy.yaml"), ruleText(name))
		if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..2026_1", "one")
	file := filepath.Join(dir, "policy.yaml")
	if err := os.Symlink("..data/policy.yaml", file); err != nil {
		t.Fatal(err)
	}
	policy, log, _ := follow(t, file)
	for i, name := range []string{"two", "three"} {
		publish("..2026_"+string(rune('2'+i)), name)
		if err := os.RemoveAll(filepath.Join(dir, "..2026_"+string(rune('1'+i)))); err != nil {
			t.Fatal(err)
		}
		log.await(t, "in force")
		if got := nameOf(policy); got != name {
			t.Errorf("the rule in force = %s, want %s", got, name)
		}
	}
}

// TestStartBroken: there is nothing older to keep.
func TestStartBroken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, file, "rules: [")
	policy := broker.NewPolicy(0)
	if _, err := Start(file, policy, slog.New(slog.DiscardHandler)); err == nil || policy.State().File != "" {
		t.Errorf("Start(broken) = %v, want an error and no policy", err)
	}
}
