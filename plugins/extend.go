package plugins

import (
	"encoding/json"
	"fmt"

	"github.com/invectd/invectd/broker"
)

// Extend returns d with what it leaves out taken from base: fields that are
// absent or empty, and of objects the entries that are. Whatever is a list
// replaces the list. The id, the name, and whether it is experimental or may override
// another, is always its own.
func Extend(base, d broker.Definition) (broker.Definition, error) {
	base.ID, base.Name, base.Extends, base.Override, base.Experimental = "", "", "", false, false
	under, err := fieldsIn(base)
	if err != nil {
		return broker.Definition{}, err
	}
	over, err := fieldsIn(d)
	if err != nil {
		return broker.Definition{}, err
	}
	return decode(overlaid(under, over))
}

// checked is how a definition from outside can be in force: complete, and valid.
func (r *Registry) checked(d broker.Definition) (broker.Definition, error) {
	if len(d.Hooks) > 0 {
		return d, &broker.InvalidError{
			Message: fmt.Sprintf("provider definition %q: hooks: %s", d.ID, onlyPlugins),
			Fields:  []broker.FieldError{{Path: "hooks", Message: onlyPlugins}},
		}
	}
	d, err := r.extended(d)
	if err == nil {
		err = d.Check(r.config.Addresses)
	}
	return completed(d), err
}

// extended resolves the extends of a definition. It names a built-in one, since
// those never change while the daemon runs, and neither do then those that were
// made of them. The built-in ones themselves are resolved when they are generated.
func (r *Registry) extended(d broker.Definition) (broker.Definition, error) {
	if d.Extends == "" {
		return d, nil
	}
	base, ok := r.sources[broker.SourceBuiltin][d.Extends]
	if !ok {
		message := fmt.Sprintf("there is no built-in provider %q; `invectd providers --source builtin` lists them", d.Extends)
		return broker.Definition{}, &broker.InvalidError{
			Message: fmt.Sprintf("provider definition %q: extends: %s", d.ID, message),
			Fields:  []broker.FieldError{{Path: "extends", Message: message}},
		}
	}
	return Extend(base, d)
}

// fieldsIn returns the JSON fields of a definition that are there.
func fieldsIn(d broker.Definition) (map[string]any, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	for name, value := range fields {
		if value == nil || value == "" {
			delete(fields, name) // description, category and defaultScopes, which are always written
		}
	}
	return fields, nil
}

// overlaid returns base with the entries of over put over it. A null stays, as
// it removes a parameter.
func overlaid(base, over map[string]any) map[string]any {
	for name, value := range over {
		inner, isObject := value.(map[string]any)
		under, wasObject := base[name].(map[string]any)
		if isObject && wasObject {
			value = overlaid(under, inner)
		}
		base[name] = value
	}
	return base
}
