package plugins_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

var _ broker.Definitions = (*plugins.Registry)(nil)

// memory is a store of definitions that can be made to fail.
type memory struct {
	mu   sync.Mutex
	kept map[string]broker.Definition     // guarded by mu
	good map[string]broker.KeptDefinition // guarded by mu
	fail error                            // guarded by mu
}

func (m *memory) StoredDefinitions(context.Context) ([]broker.Definition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []broker.Definition
	for _, d := range m.kept {
		all = append(all, d)
	}
	return all, m.fail
}

func (m *memory) PutDefinition(_ context.Context, d broker.Definition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.kept[d.ID] = d
	}
	return m.fail
}

func (m *memory) DeleteDefinition(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.kept[id]; !ok {
		return fmt.Errorf("definition %q: %w", id, broker.ErrNotFound)
	}
	if m.fail == nil {
		delete(m.kept, id)
	}
	return m.fail
}

func (m *memory) KeptDefinitions(context.Context) ([]broker.KeptDefinition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.good)), m.fail
}

func (m *memory) KeepDefinition(_ context.Context, k broker.KeptDefinition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.good[k.Definition.ID] = k
	}
	return m.fail
}

func (m *memory) DropDefinition(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		delete(m.good, id)
	}
	return m.fail
}

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) get(id string) (broker.Definition, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.kept[id]
	return d, ok
}

// named returns a valid definition that can be told from others by its name.
func named(id, name string) broker.Definition {
	return broker.Definition{ID: id, Name: name, Issuer: "https://" + name + ".example"}
}

func overriding(d broker.Definition) broker.Definition {
	d.Override = true
	return d
}

// open returns a registry on store with "builtin" and "both" built in, and what
// it logged.
func open(t *testing.T, store *memory, allowed broker.Addresses) (*plugins.Registry, *bytes.Buffer) {
	t.Helper()
	return openFolder(t, plugins.Config{Store: store, Addresses: allowed})
}

// openFolder is open with more of a configuration.
func openFolder(t *testing.T, config plugins.Config) (*plugins.Registry, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	config.Builtin = []broker.Definition{named("builtin", "one"), named("both", "two")}
	config.Log = slog.New(slog.NewTextHandler(&log, nil))
	r, err := plugins.New(config)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	if err := r.Load(t.Context()); err != nil {
		t.Fatalf("Load() = %v", err)
	}
	return r, &log
}

func newMemory() *memory {
	return &memory{kept: map[string]broker.Definition{}, good: map[string]broker.KeptDefinition{}}
}

// expect checks the name and the source of the definition in force.
func expect(t *testing.T, r *plugins.Registry, id, name string, source broker.Source) {
	t.Helper()
	d, err := r.Definition(id)
	if err != nil || d.Name != name || d.Source != source {
		t.Errorf("Definition(%s) = %q from %q, %v, want %q from %q", id, d.Name, d.Source, err, name, source)
	}
}

func TestPutAndDelete(t *testing.T) {
	ctx := t.Context()
	store := newMemory()
	r, _ := open(t, store, nil)

	if _, err := r.Put(ctx, named("own", "a"), true, false); err != nil {
		t.Fatalf("Put(own, create) = %v", err)
	}
	expect(t, r, "own", "a", broker.SourceAPI)
	_, err := r.Put(ctx, named("own", "b"), true, true)
	if !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "PUT /credentials/oauth2/providers/own") {
		t.Errorf("Put(own, create again) = %v, want ErrConflict that names PUT", err)
	}
	expect(t, r, "own", "a", broker.SourceAPI)
	if _, err := r.Put(ctx, named("own", "b"), false, false); err != nil {
		t.Errorf("Put(own) = %v", err)
	}
	expect(t, r, "own", "b", broker.SourceAPI)
	if _, err := r.Put(ctx, named("new", "c"), false, false); err != nil {
		t.Errorf("Put(new) = %v, want it created", err)
	}

	for _, create := range []bool{true, false} {
		_, err := r.Put(ctx, named("builtin", "d"), create, false)
		if !errors.Is(err, broker.ErrConflict) || !strings.Contains(err.Error(), "?override=true") {
			t.Errorf("Put(builtin, create %v) = %v, want ErrConflict that names ?override=true", create, err)
		}
	}
	expect(t, r, "builtin", "one", broker.SourceBuiltin)
	got, err := r.Put(ctx, named("builtin", "d"), true, true)
	if err != nil || got.Name != "d" || got.Source != broker.SourceAPI || !got.Override {
		t.Errorf("Put(builtin, override) = %+v, %v, want it in force", got, err)
	}
	// It replaces the built-in one already, so it need not be said again.
	if _, err := r.Put(ctx, named("builtin", "e"), false, false); err != nil {
		t.Errorf("Put(builtin again) = %v", err)
	}
	if _, err := r.Put(ctx, overriding(named("both", "f")), true, false); err != nil {
		t.Errorf("Put(both, with override of its own) = %v", err)
	}

	again, log := open(t, store, nil)
	for _, r := range []*plugins.Registry{r, again} {
		expect(t, r, "own", "b", broker.SourceAPI)
		expect(t, r, "builtin", "e", broker.SourceAPI)
		expect(t, r, "both", "f", broker.SourceAPI)
		var ids []string
		for _, d := range r.Definitions() {
			ids = append(ids, d.ID)
		}
		if want := []string{"both", "builtin", "new", "own"}; !slices.Equal(ids, want) {
			t.Errorf("Definitions() has %q, want %q", ids, want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("opened again it logged %s", log)
	}

	if err := r.Delete(ctx, "builtin"); err != nil {
		t.Errorf("Delete(builtin) = %v", err)
	}
	expect(t, r, "builtin", "one", broker.SourceBuiltin)
	if err := r.Delete(ctx, "builtin"); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("Delete(builtin again) = %v, want ErrConflict", err)
	}
	if err := r.Delete(ctx, "own"); err != nil {
		t.Errorf("Delete(own) = %v", err)
	}
	for _, err := range []error{r.Delete(ctx, "own"), lookup(r, "own"), lookup(r, "")} {
		if !errors.Is(err, broker.ErrUnknownProvider) {
			t.Errorf("after Delete(own): %v, want ErrUnknownProvider", err)
		}
	}
}

func lookup(r *plugins.Registry, id string) error {
	_, err := r.Definition(id)
	return err
}

func TestPutChecks(t *testing.T) {
	store := newMemory()
	r, _ := open(t, store, nil)
	bad := named("own", "a")
	bad.Issuer = "http://169.254.169.254/"
	_, err := r.Put(t.Context(), bad, true, false)
	if _, ok := errors.AsType[*broker.InvalidError](err); !ok {
		t.Errorf("Put(%s) = %v, want an *InvalidError", bad.Issuer, err)
	}
	if _, ok := store.get("own"); ok || lookup(r, "own") == nil {
		t.Errorf("Put(%s) kept it", bad.Issuer)
	}
}

// TestStoreFails makes sure that nothing is visible that is not durable, and
// that nothing vanishes that still is.
func TestStoreFails(t *testing.T) {
	ctx := t.Context()
	store := newMemory()
	r, _ := open(t, store, nil)
	if _, err := r.Put(ctx, named("own", "a"), true, false); err != nil {
		t.Fatal(err)
	}
	store.setFail(fmt.Errorf("disk full: %w", broker.ErrStoreUnavailable))
	_, err := r.Put(ctx, named("new", "b"), true, false)
	if !errors.Is(err, broker.ErrStoreUnavailable) || lookup(r, "new") == nil {
		t.Errorf("Put(new) = %v and it is known: %v, want ErrStoreUnavailable and not", err, lookup(r, "new") == nil)
	}
	if _, err := r.Put(ctx, named("own", "b"), false, false); !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("Put(own) = %v, want ErrStoreUnavailable", err)
	}
	if err := r.Delete(ctx, "own"); !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("Delete(own) = %v, want ErrStoreUnavailable", err)
	}
	expect(t, r, "own", "a", broker.SourceAPI)
	if err := r.Load(ctx); !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("Load() = %v, want ErrStoreUnavailable", err)
	}
	store.setFail(nil)
	if _, err := r.Put(ctx, named("new", "c"), true, false); err != nil {
		t.Errorf("Put(new) = %v after the store came back", err)
	}
}

// TestLoadLeavesOut narrows the addresses between two starts.
func TestLoadLeavesOut(t *testing.T) {
	ctx := t.Context()
	store := newMemory()
	r, _ := open(t, store, broker.Addresses{netip.MustParsePrefix("127.0.0.0/8")})
	local := named("local", "a")
	local.Issuer = "http://127.0.0.1:8080"
	if _, err := r.Put(ctx, local, true, false); err != nil {
		t.Fatalf("Put(local) = %v", err)
	}

	r, log := open(t, store, nil)
	if lookup(r, "local") == nil {
		t.Error("Definition(local) is in force although its address is not allowed any more")
	}
	for _, want := range []string{"provider=local", "level=WARN", "issuer"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("logged %q, want it to have %s", log, want)
		}
	}
	if _, ok := store.get("local"); !ok {
		t.Error("the store has lost what was left out")
	}
	if _, err := r.Put(ctx, named("local", "b"), true, false); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("Put(local, create) = %v, want ErrConflict", err)
	}
	if err := r.Delete(ctx, "local"); err != nil {
		t.Errorf("Delete(local) = %v, want it gone", err)
	}
}

// TestLoadShadowed has a stored definition meet one of the catalogue that came
// with a newer version.
func TestLoadShadowed(t *testing.T) {
	store := newMemory()
	store.kept["builtin"] = named("builtin", "mine")
	r, log := open(t, store, nil)
	expect(t, r, "builtin", "one", broker.SourceBuiltin)
	if !strings.Contains(log.String(), "provider=builtin") || !strings.Contains(log.String(), "override=true") {
		t.Errorf("logged %q, want it to name the provider and what to do", log)
	}
	if _, err := r.Put(t.Context(), named("builtin", "mine"), false, true); err != nil {
		t.Errorf("Put(builtin, override) = %v", err)
	}
	expect(t, r, "builtin", "mine", broker.SourceAPI)
}

func TestAlwaysAnswered(t *testing.T) {
	r, _ := open(t, newMemory(), nil)
	if _, err := r.Put(t.Context(), named("own", "a"), true, false); err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Definitions() {
		text := string(marshal(t, d.Definition))
		for _, want := range []string{`"description":""`, `"category":"other"`, `"defaultScopes":[]`, `"supportsRefresh":true`} {
			if !strings.Contains(text, want) {
				t.Errorf("definition %s is answered as %s, want it to have %s", d.ID, text, want)
			}
		}
	}
}

func TestNewChecks(t *testing.T) {
	bad := named("bad", "a")
	bad.Issuer = "ftp://a.example"
	log := slog.New(slog.DiscardHandler)
	for name, config := range map[string]plugins.Config{
		"no store":    {Log: log},
		"no log":      {Store: newMemory()},
		"bad builtin": {Store: newMemory(), Log: log, Builtin: []broker.Definition{bad}},
	} {
		if _, err := plugins.New(config); err == nil {
			t.Errorf("New(%s) = nil error", name)
		}
	}
}

// TestConcurrentCreate lets many create the same id, of whom one may, while
// others read.
func TestConcurrentCreate(t *testing.T) {
	ctx := t.Context()
	store := newMemory()
	r, _ := open(t, store, nil)
	const callers = 50
	won := make(chan string, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			name := fmt.Sprintf("n%d", i)
			_, err := r.Put(ctx, named("own", name), true, false)
			if err == nil {
				won <- name
			} else if !errors.Is(err, broker.ErrConflict) {
				t.Errorf("Put(own, create) = %v, want ErrConflict", err)
			}
			if d, err := r.Definition("own"); err != nil || d.ID != "own" {
				t.Errorf("Definition(own) = %q, %v after somebody created it", d.ID, err)
			}
			r.Definitions()
		})
	}
	wg.Wait()
	close(won)
	if len(won) != 1 {
		t.Fatalf("%d callers created the same definition, want 1", len(won))
	}
	name := <-won
	expect(t, r, "own", name, broker.SourceAPI)
	if d, _ := store.get("own"); d.Name != name {
		t.Errorf("the store has %q, want %q", d.Name, name)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
