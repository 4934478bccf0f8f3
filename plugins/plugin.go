package plugins

import (
	"errors"
	"fmt"
	"maps"

	"github.com/invectd/invectd/broker"
)

// SetPlugin has the definitions of one plugin in force instead of those that it
// brought before. Those that are good are, even if others are not: the error,
// several joined, names these. Nobody calls it for a plugin that has ended, so
// that the last good ones stay in force.
func (r *Registry) SetPlugin(name string, definitions []broker.Definition) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	own := r.sources[broker.SourcePlugin]
	maps.DeleteFunc(own, func(id string, _ broker.Definition) bool { return r.pluginOf[id] == name })
	var errs []error
	for _, d := range definitions {
		if err := r.checkPlugin(name, d); err != nil {
			errs = append(errs, err)
			continue
		}
		r.pluginOf[d.ID] = name
		own[d.ID] = completed(d)
	}
	r.publish()
	return errors.Join(errs...)
}

// checkPlugin returns why a definition of a plugin is not in force. r.changes is
// held.
func (r *Registry) checkPlugin(name string, d broker.Definition) error {
	if err := d.Check(r.config.Addresses); err != nil {
		return err
	}
	// To replace what others rely on is the operator's to say, not a plugin's.
	for _, source := range precedence {
		if _, taken := r.sources[source][d.ID]; taken {
			return fmt.Errorf("provider %q comes from %s, which no plugin replaces", d.ID, told[source])
		}
	}
	return nil
}
