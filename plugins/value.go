package plugins

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value returns the JSON value of a node that is to become a t. What is wrong is
// noted, and the value is then of no use.
func (p *parser) value(n *yaml.Node, t reflect.Type, path string) any {
	p.lines[path] = n.Line
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		p.bad(n.Line, "%s: write the value out, without & and *", where(path))
		return nil
	case n.Style&yaml.TaggedStyle != 0:
		p.bad(n.Line, "%s: write the value without the tag %s", where(path), n.Tag)
		return nil
	case reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return p.paths(n, t, path)
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return p.text(n, t, path)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return p.value(n, t.Elem(), path)
	case reflect.Struct:
		return p.object(n, path, func(key string) (reflect.Type, bool) {
			field, ok := fieldsOf(t)[key]
			return field, ok
		}, func() []string { return namesOf(t) })
	case reflect.Map:
		return p.object(n, path, func(string) (reflect.Type, bool) { return t.Elem(), true }, nil)
	case reflect.Slice:
		return p.list(n, t, path)
	}
	return p.scalar(n, t.Kind(), path)
}

// object returns a mapping whose keys typeOf knows. A key without a value is as
// good as absent, but where null has a meaning.
func (p *parser) object(n *yaml.Node, path string, typeOf func(string) (reflect.Type, bool), names func() []string) any {
	if n.Kind != yaml.MappingNode {
		p.bad(n.Line, "%s: write keys with values, like {name: value}", where(path))
		return nil
	}
	object := map[string]any{}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		t, known := typeOf(name)
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 || key.ShortTag() == "!!merge":
			p.bad(key.Line, "%s: a key has to be plain text", where(path))
		case seen[name]:
			p.bad(key.Line, "the key %q stands here a second time; remove one", join(path, name))
		case !known:
			p.bad(key.Line, "there is no key %q%s", join(path, name), hint(name, names()))
		case !isNull(value):
			object[name] = p.value(value, t, join(path, name))
		case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.String:
			object[name] = nil // a parameter to leave out
		}
		seen[name] = true
	}
	return object
}

func (p *parser) list(n *yaml.Node, t reflect.Type, path string) any {
	if n.Kind != yaml.SequenceNode {
		p.bad(n.Line, "%s: write a list, like [one, two]", where(path))
		return nil
	}
	list := make([]any, 0, len(n.Content))
	for _, item := range n.Content {
		list = append(list, p.value(item, t.Elem(), path))
	}
	return list
}

// paths returns what is one text or a list of texts.
func (p *parser) paths(n *yaml.Node, t reflect.Type, path string) any {
	if n.Kind == yaml.ScalarNode {
		return p.scalar(n, reflect.String, path)
	}
	return p.list(n, t, path)
}

// text returns what t reads from text, like a duration.
func (p *parser) text(n *yaml.Node, t reflect.Type, path string) any {
	text, ok := p.scalar(n, reflect.String, path).(string)
	if !ok {
		return nil
	}
	target := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	if err := target.UnmarshalText([]byte(text)); err != nil {
		p.bad(n.Line, "%s: %v", where(path), err)
	}
	return text
}

// scalar returns a single value. Where text is wanted it is taken as it is
// written, whatever else YAML would make of it.
func (p *parser) scalar(n *yaml.Node, kind reflect.Kind, path string) any {
	if n.Kind != yaml.ScalarNode || isNull(n) && kind != reflect.Interface {
		p.bad(n.Line, "%s: write one value", where(path))
		return nil
	}
	if kind == reflect.String {
		return n.Value
	}
	var value any
	if err := n.Decode(&value); err != nil {
		p.bad(n.Line, "%s: write a simpler value", where(path))
		return nil
	}
	switch value.(type) {
	case bool:
		if kind == reflect.Bool || kind == reflect.Interface {
			return value
		}
	case int, int64:
		if kind == reflect.Int64 || kind == reflect.Interface {
			return value
		}
	case string, nil:
		if kind == reflect.Interface {
			return value
		}
	}
	switch kind {
	case reflect.Bool:
		p.bad(n.Line, "%s: write true or false", where(path))
	case reflect.Int64:
		p.bad(n.Line, "%s: write a whole number", where(path))
	default:
		p.bad(n.Line, "%s: write a text in quotes, a whole number, true or false", where(path))
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func where(path string) string {
	if path == "" {
		return "the definition"
	}
	return path
}
