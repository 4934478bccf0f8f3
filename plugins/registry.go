package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/invectd/invectd/broker"
)

// precedence orders the sources: a later one may replace what an earlier one
// says.
var precedence = []broker.Source{broker.SourceBuiltin, broker.SourceFile, broker.SourcePlugin, broker.SourceAPI}

// A Config is what a [Registry] is made of.
type Config struct {
	Builtin   []broker.Definition    // the catalogue; may be empty
	Store     broker.DefinitionStore // keeps the API's own
	Addresses broker.Addresses       // where providers may live besides the public internet
	Log       *slog.Logger           // warnings about definitions that are not in force
	// Dir is the folder whose files hold definitions; "" for none.
	Dir string
	// InUse reports whether a credential uses the definition of a provider, which
	// then outlives its file. Nil stands for no.
	InUse func(provider string) bool
}

// A Registry holds the definitions of all sources and tells which are in force:
// of those with the same id the earliest, unless a later one says override. It
// implements [broker.Definitions]. All methods may be called concurrently; reads
// take no lock.
type Registry struct {
	config Config

	changes  sync.Mutex                                     // held over the whole of a change, its write to the store included
	sources  map[broker.Source]map[string]broker.Definition // guarded by changes
	pluginOf map[string]string                              // which plugin a definition of that source came from; guarded by changes
	stored   map[string]bool                                // ids in the store, also of those that no longer pass; guarded by changes
	folder   folder
	states   map[string]state                 // of those in the source of files, by id; guarded by changes
	kept     map[string]broker.KeptDefinition // as they are in the store; guarded by changes
	keeping  problem                          // of writing those; guarded by changes

	inForce atomic.Pointer[view]
}

// A state says how the source of a definition fares.
type state struct {
	status broker.Status // "" while all is well
	reason string
	since  time.Time
}

// A view is what is in force. It is immutable.
type view struct {
	byID   map[string]*broker.SourcedDefinition // into sorted
	sorted []broker.SourcedDefinition
}

// New returns a registry of the built-in definitions, all of which have to be
// valid. [Registry.Load] and [Registry.Rescan] add the others, in this order.
func New(config Config) (*Registry, error) {
	if config.Store == nil || config.Log == nil {
		return nil, errors.New("a registry of definitions needs a store and a log")
	}
	r := &Registry{
		config: config, sources: map[broker.Source]map[string]broker.Definition{}, pluginOf: map[string]string{}, stored: map[string]bool{},
		folder: folder{dir: config.Dir, files: map[string]*file{}},
		states: map[string]state{}, kept: map[string]broker.KeptDefinition{},
	}
	for _, source := range precedence {
		r.sources[source] = map[string]broker.Definition{}
	}
	for _, d := range config.Builtin {
		if err := d.Check(config.Addresses); err != nil {
			return nil, fmt.Errorf("built-in %w", err)
		}
		r.sources[broker.SourceBuiltin][d.ID] = completed(d)
	}
	r.config.Builtin = nil // they are in sources now, and there are many
	r.publish()
	return r, nil
}

// Load reads the API's own definitions from the store, at start, and the last
// good ones of files. One that no
// longer passes, since --allow-addresses was narrowed for instance, is left out
// with a warning and stays in the store.
func (r *Registry) Load(ctx context.Context) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	definitions, err := r.config.Store.StoredDefinitions(ctx)
	if err != nil {
		return fmt.Errorf("reading the stored provider definitions: %w", err)
	}
	for _, d := range definitions {
		r.stored[d.ID] = true
		id := d.ID
		d, err := r.checked(d)
		if err != nil {
			r.config.Log.Warn("a stored provider definition is left out, since it is not valid any more", "provider", id, "error", err)
			continue
		}
		if earlier, ok := r.earlier(d.ID, broker.SourceAPI); ok && !d.Override {
			r.config.Log.Warn("a stored provider definition is not in force, since there is one of an earlier source; PUT it with ?override=true to replace that",
				"provider", d.ID, "source", earlier)
		}
		r.sources[broker.SourceAPI][d.ID] = d
	}
	if err := r.loadKept(ctx); err != nil {
		return err
	}
	r.publish()
	return nil
}

// loadKept takes over what the files held when they were good. r.changes is held.
func (r *Registry) loadKept(ctx context.Context) error {
	kept, err := r.config.Store.KeptDefinitions(ctx)
	if err != nil {
		return fmt.Errorf("reading the last good provider definitions: %w", err)
	}
	for _, k := range kept {
		d := completed(k.Definition)
		if err := d.Check(r.config.Addresses); err != nil {
			r.config.Log.Warn("the last good definition of a file is left out, since it is not valid any more", "provider", d.ID, "file", k.File, "error", err)
			continue
		}
		r.kept[d.ID] = k
		if k.Plugin != "" {
			r.pluginOf[d.ID] = k.Plugin
			r.sources[broker.SourcePlugin][d.ID] = d
			continue
		}
		r.folder.add(k.File, &d)
		r.sources[broker.SourceFile][d.ID] = d
	}
	return nil
}

// Definition implements [broker.Definitions]. What it returns is shared and must
// not be changed.
func (r *Registry) Definition(id string) (broker.SourcedDefinition, error) {
	d, ok := r.inForce.Load().byID[id]
	if !ok {
		return broker.SourcedDefinition{}, fmt.Errorf("no provider %q is known: %w", id, broker.ErrUnknownProvider)
	}
	return *d, nil
}

// Definitions implements [broker.Definitions]. What it returns is shared, but
// for the list itself, and must not be changed.
func (r *Registry) Definitions() []broker.SourcedDefinition {
	return slices.Clone(r.inForce.Load().sorted)
}

// Put implements [broker.Definitions]. The registry keeps d, which must not be
// changed afterwards.
func (r *Registry) Put(ctx context.Context, d broker.Definition, create, override bool) (broker.SourcedDefinition, error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	written := d
	d, err := r.checked(d)
	if err != nil {
		return broker.SourcedDefinition{}, err
	}
	if create && r.stored[d.ID] {
		return broker.SourcedDefinition{}, fmt.Errorf("provider %q exists; change it with PUT /credentials/oauth2/providers/%s: %w", d.ID, d.ID, broker.ErrConflict)
	}
	if earlier, ok := r.earlier(d.ID, broker.SourceAPI); ok {
		// It is kept in the definition, so that it holds after a restart too, and
		// need not be said again to change one that replaces another already.
		d.Override = d.Override || override || r.sources[broker.SourceAPI][d.ID].Override
		if !d.Override {
			return broker.SourcedDefinition{}, fmt.Errorf("provider %q comes from %s; replace it with ?override=true, or choose another id: %w", d.ID, told[earlier], broker.ErrConflict)
		}
	}
	written.Override = d.Override
	if err := r.config.Store.PutDefinition(ctx, written); err != nil {
		return broker.SourcedDefinition{}, fmt.Errorf("keeping the definition of provider %q: %w", d.ID, err)
	}
	r.stored[d.ID] = true
	r.sources[broker.SourceAPI][d.ID] = d
	r.publish()
	return *r.inForce.Load().byID[d.ID], nil
}

// Delete implements [broker.Definitions]. What the definition replaced is in
// force again.
func (r *Registry) Delete(ctx context.Context, id string) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	if !r.stored[id] {
		if r.states[id].status == broker.ProviderGone {
			return r.forget(ctx, id)
		}
		if earlier, ok := r.earlier(id, broker.SourceAPI); ok {
			return fmt.Errorf("provider %q comes from %s and cannot be deleted here: %w", id, told[earlier], broker.ErrConflict)
		}
		return fmt.Errorf("no provider %q is known: %w", id, broker.ErrUnknownProvider)
	}
	if err := r.config.Store.DeleteDefinition(ctx, id); err != nil && !errors.Is(err, broker.ErrNotFound) {
		return fmt.Errorf("deleting the definition of provider %q: %w", id, err)
	}
	delete(r.stored, id)
	delete(r.sources[broker.SourceAPI], id)
	r.publish()
	return nil
}

// forget lets go of a definition whose file vanished. r.changes is held.
func (r *Registry) forget(ctx context.Context, id string) error {
	if err := r.config.Store.DropDefinition(ctx, id); err != nil && !errors.Is(err, broker.ErrNotFound) {
		return fmt.Errorf("deleting the last good definition of provider %q: %w", id, err)
	}
	for path, f := range r.folder.files {
		if f.good != nil && f.good.ID == id {
			delete(r.folder.files, path)
		}
	}
	delete(r.kept, id)
	delete(r.states, id)
	delete(r.sources[broker.SourceFile], id)
	r.publish()
	return nil
}

// onlyPlugins is what a definition of another source is told that names hooks.
const onlyPlugins = "only the definition of a plugin has hooks; leave them out"

// told is how people are told where a definition comes from.
var told = map[broker.Source]string{
	broker.SourceBuiltin: "the built-in catalogue",
	broker.SourceFile:    "a file of the operator's",
	broker.SourcePlugin:  "a plugin",
	broker.SourceAPI:     "the API",
}

// earlier returns the source before the given one that has the id in force.
// r.changes is held.
func (r *Registry) earlier(id string, source broker.Source) (broker.Source, bool) {
	_, found, ok := r.resolve(id, precedence[:slices.Index(precedence, source)])
	return found, ok
}

// resolve returns the definition in force among the sources. r.changes is held.
func (r *Registry) resolve(id string, sources []broker.Source) (d broker.Definition, from broker.Source, ok bool) {
	for _, source := range sources {
		if own, has := r.sources[source][id]; has && (!ok || own.Override) {
			d, from, ok = own, source, true
		}
	}
	return d, from, ok
}

// publish makes a new view of the sources. r.changes is held.
func (r *Registry) publish() {
	ids := map[string]bool{}
	for _, definitions := range r.sources {
		for id := range definitions {
			ids[id] = true
		}
	}
	next := &view{byID: make(map[string]*broker.SourcedDefinition, len(ids)), sorted: make([]broker.SourcedDefinition, len(ids))}
	for i, id := range slices.Sorted(maps.Keys(ids)) {
		d, from, _ := r.resolve(id, precedence)
		next.sorted[i] = broker.SourcedDefinition{Definition: d, Source: from}
		if from == broker.SourceFile {
			next.sorted[i].State, next.sorted[i].Reason = r.states[id].status, r.states[id].reason
		}
		next.byID[id] = &next.sorted[i]
	}
	r.inForce.Store(next)
}

// completed fills in what is always answered: category, defaultScopes and
// supportsRefresh.
func completed(d broker.Definition) broker.Definition {
	if d.Category == "" {
		d.Category = "other"
	}
	if d.DefaultScopes == nil {
		d.DefaultScopes = []string{}
	}
	if d.SupportsRefresh == nil {
		d.SupportsRefresh = new(d.Refreshes())
	}
	return d
}
