package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/invectd/invectd/broker"
)

// SetPlugin has the definitions of one plugin in force instead of those that it
// brought before, and returns the ids of those that are its own now, and what
// changed. Those that are good are in force, even if others are not: the error,
// several joined, names these. What it does not
// bring any more stays for the credentials that use it; so does all of a plugin
// that ends, for which nobody calls SetPlugin. Both hold over a restart.
func (r *Registry) SetPlugin(ctx context.Context, name string, definitions []broker.Definition) (own []string, changes []broker.ProviderChange, err error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	before := r.inForce.Load()
	all := r.sources[broker.SourcePlugin]
	var errs []error
	for _, d := range definitions {
		if err := r.checkPlugin(name, d); err != nil {
			errs = append(errs, err)
			continue
		}
		r.pluginOf[d.ID] = name
		all[d.ID] = completed(d)
		own = append(own, d.ID)
	}
	for id := range all {
		brought := slices.ContainsFunc(definitions, func(d broker.Definition) bool { return d.ID == id })
		if r.pluginOf[id] == name && !brought && (r.config.InUse == nil || !r.config.InUse(id)) {
			delete(all, id)
			delete(r.pluginOf, id)
		}
	}
	r.publish()
	r.keep(ctx) // where that fails, each rescan tries it again
	return own, compare(before, r.inForce.Load()), errors.Join(errs...)
}

// checkPlugin returns why a definition of a plugin is not in force. r.changes is
// held.
func (r *Registry) checkPlugin(name string, d broker.Definition) error {
	if err := d.Check(r.config.Addresses); err != nil {
		return err
	}
	if d.Extends != "" {
		return fmt.Errorf("provider %q: a plugin's definition extends no other", d.ID)
	}
	// To replace what others rely on is the operator's to say, not a plugin's.
	for _, source := range precedence {
		if _, taken := r.sources[source][d.ID]; taken && (source != broker.SourcePlugin || r.pluginOf[d.ID] != name) {
			return fmt.Errorf("provider %q comes from %s, which no plugin replaces", d.ID, told[source])
		}
	}
	return nil
}
