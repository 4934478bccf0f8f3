// Package host runs the programs in the plugins folder: those that the operator
// trusts, as long as the daemon runs, and nothing else.
//
// What is in the folder is read again every minute and whenever fsnotify hints at
// a change. A file counts by its digest: the one that was trusted is copied into
// sealed memory and that copy is run, confined, see [Launch]. Its definitions go
// to the registry, where they stay when the plugin dies. A plugin that ends is
// started again after a pause, and quarantined where it ends too often.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/invectd/invectd/broker"
)

const (
	rescanInterval = time.Minute
	// settleTime is how long a folder has to be quiet before it is read: files are
	// copied in pieces.
	settleTime = 300 * time.Millisecond
)

// A Config is what a [Host] is made of. All fields but Trace are needed.
type Config struct {
	Dir      string // the plugins folder; need not exist
	Scratch  string // a folder of the daemon's own for sockets; made when it is needed, and removed
	Store    broker.PluginTrustStore
	Registry Registry
	Changed  func(broker.ProviderChange) // is told what became of a definition
	Events   *broker.Events
	Version  string // the daemon's, which plugins are told
	Log      *slog.Logger
	Trace    Trace
}

// A Registry takes the definitions that plugins bring.
type Registry interface {
	// SetPlugin replaces the definitions of a plugin, and returns the ids of those
	// that are its own now, and what changed; the error tells which are not in force.
	SetPlugin(ctx context.Context, name string, definitions []broker.Definition) (own []string, changes []broker.ProviderChange, err error)
}

// A Trace holds functions that are called as things happen; each may be nil.
type Trace struct {
	// Ended tells that a plugin ended by itself.
	Ended func(plugin string)
	// Called tells how long a call took and how it ended.
	Called func(plugin string, took time.Duration, err error)
}

// A Host runs plugins. It implements [broker.Plugins] and [broker.Hooks]. All
// methods may be called concurrently.
type Host struct {
	config Config
	wake   chan struct{} // has the folder read again

	// offers is held while what a plugin offers is put into force, so that nothing
	// of one is that was ended meanwhile. It is taken before mu.
	offers sync.Mutex

	mu        sync.Mutex
	trusts    map[string]broker.PluginTrust // guarded by mu, as all below
	plugins   map[string]*supervised        // by name: those in the folder, and those that run
	providers map[string]*supervised        // by the id of a provider that one brought
	folder    string                        // why nothing of the folder is run; "" if that is not so
	running   sync.WaitGroup
	weak      [2]sync.Once    // of what tellWeak tells
	ctx       context.Context // of Run; nil before it
}

var (
	_ broker.Plugins = (*Host)(nil)
	_ broker.Hooks   = (*Host)(nil)
)

// New returns a host that knows whom the operator trusts. It starts nothing.
func New(ctx context.Context, config Config) (*Host, error) {
	trusts, err := config.Store.PluginTrusts(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which plugins are trusted: %w", err)
	}
	h := &Host{
		config: config, wake: make(chan struct{}, 1),
		trusts: map[string]broker.PluginTrust{}, plugins: map[string]*supervised{}, providers: map[string]*supervised{},
	}
	for _, t := range trusts {
		h.trusts[t.Name] = t
	}
	return h, nil
}

// Run starts what is trusted, watches the folder until ctx ends, and then ends
// every plugin.
func (h *Host) Run(ctx context.Context) error {
	if err := os.RemoveAll(h.config.Scratch); err != nil { // a daemon that was killed left its sockets there
		return fmt.Errorf("emptying the folder of plugins' sockets: %w", err)
	}
	h.mu.Lock()
	h.ctx = ctx
	h.mu.Unlock()
	defer os.RemoveAll(h.config.Scratch)
	defer h.running.Wait()
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		// inotify's instances are few, and the clock is enough.
		h.config.Log.Warn("the plugins folder is not watched, but read every minute", "error", err)
		watcher = &fsnotify.Watcher{}
	} else {
		defer watcher.Close()
	}
	ticker := time.NewTicker(rescanInterval)
	defer ticker.Stop()
	for {
		// The folder may have been made or replaced since. A watch that is there
		// already is no error.
		if err == nil {
			_ = watcher.Add(h.config.Dir)
		}
		h.scan()
		if !h.hint(ctx, watcher, ticker.C) {
			return nil
		}
	}
}

// hint waits until the folder is worth reading, and reports false once ctx ends.
func (h *Host) hint(ctx context.Context, watcher *fsnotify.Watcher, tick <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-tick:
		return true
	case <-h.wake:
		return true
	case <-watcher.Events:
	case <-watcher.Errors: // an overflow: something was missed
	}
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	latest := time.After(10 * settleTime) // somebody may write all the time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-settled.C:
			return true
		case <-latest:
			return true
		case <-watcher.Events:
			settled.Reset(settleTime)
		case <-watcher.Errors:
		}
	}
}

// scan reads the folder and starts, ends and replaces what that asks for.
func (h *Host) scan() {
	found, err := list(h.config.Dir)
	h.mu.Lock()
	defer h.mu.Unlock()
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if fault != h.folder && fault != "" {
		h.config.Log.Error("no plugin of the folder is started", "error", err)
	}
	h.folder = fault
	for name := range h.trusts { // its file may be gone
		if h.plugins[name] == nil {
			h.plugins[name] = newSupervised(h, name, filepath.Join(h.config.Dir, name))
		}
	}
	for name, path := range found {
		if h.plugins[name] == nil {
			h.plugins[name] = newSupervised(h, name, path)
		}
	}
	for name, p := range h.plugins {
		_, there := found[name]
		trust, trusted := h.trusts[name]
		h.settle(p, there, trust, trusted)
		if !there && !trusted {
			delete(h.plugins, name)
		}
	}
}

// list returns what a folder has that could be a plugin, by name, and an error
// where others could have put it there.
func list(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	found := map[string]string{}
	for _, entry := range entries {
		// Hidden files are those that copying and editing leave.
		if name := entry.Name(); name[0] != '.' && !entry.IsDir() {
			found[name] = filepath.Join(dir, name)
		}
	}
	if err == nil {
		err = checkFolder(dir)
	}
	if err != nil {
		return found, fmt.Errorf("the plugins folder: %w", err)
	}
	return found, nil
}

// Plugins implements [broker.Plugins].
func (h *Host) Plugins() []broker.Plugin {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]broker.Plugin, 0, len(h.plugins))
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		all = append(all, h.plugins[name].info())
	}
	return all
}

// Problems are what the operator has to see to: plugins that do not run, and what
// of those that do is not in force.
func (h *Host) Problems() (problems []broker.Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		p := h.plugins[name]
		if info := p.info(); info.Error != "" {
			problems = append(problems, broker.Problem{
				What: fmt.Sprintf("plugin %s: %s", name, info.Error), Since: p.since, Todo: "see invectd plugins",
			})
		}
	}
	return problems
}

// Trust implements [broker.Plugins].
func (h *Host) Trust(ctx context.Context, name, digest string, hooks []broker.Hook) (broker.Plugin, error) {
	for _, hook := range hooks {
		if !slices.Contains(broker.AllHooks, hook) {
			message := fmt.Sprintf("there is no hook %q; there are %v", hook, broker.AllHooks)
			return broker.Plugin{}, &broker.InvalidError{Message: "hooks: " + message, Fields: []broker.FieldError{{Path: "hooks", Message: message}}}
		}
	}
	h.scan() // the file may have come just now
	p, err := h.trust(ctx, name, digest, hooks)
	if err != nil {
		return broker.Plugin{}, err
	}
	p.settled(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	return p.info(), nil
}

func (h *Host) trust(ctx context.Context, name, digest string, hooks []broker.Hook) (*supervised, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.plugins[name]
	if p == nil {
		return nil, fmt.Errorf("there is no plugin %q in %s: %w", name, h.config.Dir, broker.ErrNotFound)
	}
	if h.folder != "" {
		return nil, &broker.InvalidError{Message: h.folder}
	}
	current, err := p.look()
	switch {
	case err != nil:
		return nil, &broker.InvalidError{Message: err.Error()}
	case digest != "" && digest != current:
		return nil, fmt.Errorf("the file of plugin %q changed: its digest is %s now and not %s; look at it again, then trust that: %w", name, current, digest, broker.ErrConflict)
	}
	trust := broker.PluginTrust{Name: name, Digest: current, Hooks: slices.Clone(hooks)}
	if err := h.config.Store.PutPluginTrust(ctx, trust); err != nil {
		return nil, fmt.Errorf("keeping that plugin %q is trusted: %w", name, err)
	}
	h.trusts[name] = trust
	p.forgive()
	h.settle(p, true, trust, true)
	return p, nil
}

// Distrust implements [broker.Plugins].
func (h *Host) Distrust(ctx context.Context, name string) error {
	if err := h.distrust(ctx, name); err != nil {
		return err
	}
	h.offers.Lock()
	_, _ = h.setDefinitions(ctx, name, nil) // there are none that could be wrong
	h.offers.Unlock()
	h.rescan()
	return nil
}

// rescan has the folder read again.
func (h *Host) rescan() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *Host) distrust(ctx context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.config.Store.DeletePluginTrust(ctx, name); err != nil {
		return fmt.Errorf("plugin %q is not trusted: %w", name, err)
	}
	delete(h.trusts, name)
	if p := h.plugins[name]; p != nil {
		_, err := os.Lstat(p.path)
		h.settle(p, err == nil, broker.PluginTrust{}, false)
	}
	return nil
}

// setDefinitions puts the definitions of a plugin into force, tells of it, and
// returns the ids of those that are its own now and which are not in force.
// h.offers is held.
func (h *Host) setDefinitions(ctx context.Context, name string, definitions []broker.Definition) ([]string, error) {
	own, changes, err := h.config.Registry.SetPlugin(ctx, name, definitions)
	for _, change := range changes {
		h.config.Changed(change)
	}
	return own, err
}
