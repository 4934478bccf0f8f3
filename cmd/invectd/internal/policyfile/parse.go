package policyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/invectd/invectd/broker"
)

// maxSize bounds a policy file, in bytes.
const maxSize = 1 << 20

// A SyntaxError reports the first thing to mend in a policy file.
type SyntaxError struct {
	Name    string // of the file
	Line    int    // counted from 1
	Message string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Message) }

// Parse returns the rules that a policy file has, with the users and groups that
// names finds; name is what errors call the file. The error is a [*SyntaxError].
func Parse(name string, data []byte, names Names) ([]broker.Rule, error) {
	p := &parser{names: names, seen: map[string]bool{}}
	if err := p.document(data); err != nil {
		if e, ok := errors.AsType[*SyntaxError](err); ok {
			e.Name, e.Line = name, max(e.Line, 1)
			return nil, e
		}
		// yaml says "yaml: line 3: …" itself.
		return nil, &SyntaxError{name, yamlLine(err), strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	return p.rules, nil
}

// yamlLine reads where an error of the YAML library is from its text.
func yamlLine(err error) int {
	line := 1
	_, _ = fmt.Sscanf(err.Error(), "yaml: line %d:", &line)
	return line
}

// A parser gathers the rules of one file. It ends with the first mistake.
type parser struct {
	names Names
	rules []broker.Rule
	seen  map[string]bool // names of rules
}

// A visit takes the value of one key.
type visit func(*yaml.Node) error

func bad(n *yaml.Node, format string, args ...any) error {
	return &SyntaxError{Line: n.Line, Message: fmt.Sprintf(format, args...)}
}

func (p *parser) document(data []byte) error {
	const empty = "has no rules; one that gives nobody anything is: rules: []"
	if len(data) > maxSize {
		return &SyntaxError{Message: fmt.Sprintf("is larger than %d KiB", maxSize>>10)}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return &SyntaxError{Message: empty}
	case err != nil:
		return err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return bad(&second, "has a second document, which would not count; remove the line ---")
	}
	found := false
	err := mapping(document.Content[0], "the policy", map[string]visit{"rules": func(n *yaml.Node) error {
		found = true
		return list(n, "rules", p.rule)
	}})
	if err == nil && !found {
		return bad(document.Content[0], empty)
	}
	return err
}

func (p *parser) rule(n *yaml.Node) error {
	r := broker.Rule{Name: fmt.Sprintf("rule %d", len(p.rules)+1)}
	may := []string{}
	err := mapping(n, "a rule", map[string]visit{
		"name": func(n *yaml.Node) (err error) {
			r.Name, err = ruleName(n)
			return err
		},
		"effect": func(n *yaml.Node) error {
			switch n.Value {
			case "allow", "deny":
				r.Deny = n.Value == "deny"
				return plain(n, "effect")
			}
			return bad(n, "effect: write allow or deny")
		},
		"who": func(n *yaml.Node) error { return p.who(n, &r.Who) },
		"may": func(n *yaml.Node) error {
			return texts(n, "may", func(n *yaml.Node) error {
				if _, err := broker.ParseVerbs(n.Value); err != nil {
					return bad(n, "may: %v", err)
				}
				may = append(may, n.Value)
				return nil
			})
		},
		"on": func(n *yaml.Node) error { return on(n, &r.On) },
	})
	if err != nil {
		return err
	}
	if r.May, _ = broker.ParseVerbs(may...); len(may) == 0 {
		r.May = broker.AllVerbs
	}
	if p.seen[r.Name] {
		return bad(n, "another rule is named %q already; the name says in the audit which one decided", r.Name)
	}
	p.seen[r.Name] = true
	p.rules = append(p.rules, r)
	return nil
}

// ruleName returns the name of a rule, which has to be told from what decides
// where no rule does.
func ruleName(n *yaml.Node) (string, error) {
	switch {
	case n.Value == "" || len(n.Value) > 100:
		return "", bad(n, "name: give 1 to 100 characters")
	case slices.Contains(broker.ReservedRules, n.Value) || strings.HasPrefix(n.Value, "grant "):
		return "", bad(n, "name: %q has a meaning of its own in the audit; choose another", n.Value)
	}
	return n.Value, plain(n, "name")
}

func (p *parser) who(n *yaml.Node, w *broker.Who) error {
	return mapping(n, "who", map[string]visit{
		"users":   principals("users", p.names.user, &w.Users),
		"groups":  principals("groups", p.names.group, &w.Groups),
		"uids":    each("uids", parseUID, &w.UIDs),
		"units":   each("units", broker.ParsePattern, &w.Units),
		"cgroups": each("cgroups", broker.ParsePattern, &w.Cgroups),
		"grants":  each("grants", anyText, &w.Grants),
	})
}

func on(n *yaml.Node, o *broker.On) error {
	return mapping(n, "on", map[string]visit{
		"ids":        each("ids", func(text string) (broker.ID, error) { return broker.ID(text), nil }, &o.IDs),
		"names":      each("names", broker.ParsePattern, &o.Names),
		"providers":  each("providers", anyText, &o.Providers),
		"workspaces": each("workspaces", anyText, &o.Workspaces),
		"metadata":   func(n *yaml.Node) error { return metadata(n, o) },
	})
}

// metadata takes, for each key, one value or a list of them.
func metadata(n *yaml.Node, o *broker.On) error {
	return keys(n, "metadata", func(key, value *yaml.Node) error {
		if value.Kind == yaml.ScalarNode {
			value = &yaml.Node{Kind: yaml.SequenceNode, Line: value.Line, Content: []*yaml.Node{value}}
		}
		var allowed []string
		if err := each("metadata."+key.Value, anyText, &allowed)(value); err != nil || len(allowed) == 0 {
			return err
		}
		if o.Metadata == nil {
			o.Metadata = map[string][]string{}
		}
		o.Metadata[key.Value] = allowed
		return nil
	})
}

// each takes a list of texts, of which parse makes the values.
func each[T any](what string, parse func(string) (T, error), into *[]T) visit {
	return func(n *yaml.Node) error {
		return texts(n, what, func(n *yaml.Node) error {
			value, err := parse(n.Value)
			if err != nil {
				return bad(n, "%s: %v", what, err)
			}
			*into = append(*into, value)
			return nil
		})
	}
}

func anyText(text string) (string, error) { return text, nil }

func principals(what string, find func(string) (uint32, error), into *[]broker.Principal) visit {
	return each(what, func(name string) (broker.Principal, error) {
		id, err := find(name)
		return broker.Principal{Name: name, ID: id}, err
	}, into)
}

// mapping takes an object whose keys are known. A key without a value is as good
// as absent.
func mapping(n *yaml.Node, what string, known map[string]visit) error {
	return keys(n, what, func(key, value *yaml.Node) error {
		take, ok := known[key.Value]
		switch {
		case !ok:
			return bad(key, "there is no key %q in %s; the keys are %s", key.Value, what, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case isNull(value):
			return nil
		}
		return take(value)
	})
}

func keys(n *yaml.Node, what string, take func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return bad(n, "%s: write keys with values, like {name: value}", what)
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if err := plain(key, what); err != nil {
			return err
		}
		if seen[key.Value] {
			return bad(key, "the key %q stands in %s a second time; remove one", key.Value, what)
		}
		seen[key.Value] = true
		if err := take(key, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func list(n *yaml.Node, what string, take visit) error {
	if n.Kind != yaml.SequenceNode {
		return bad(n, "%s: write a list, like [one, two]", what)
	}
	for _, item := range n.Content {
		if err := take(item); err != nil {
			return err
		}
	}
	return nil
}

// texts takes a list of texts. An empty one among them is a mistake: it would
// match what has no such thing.
func texts(n *yaml.Node, what string, take visit) error {
	return list(n, what, func(n *yaml.Node) error {
		if err := plain(n, what); err != nil {
			return err
		}
		if n.Value == "" || isNull(n) {
			return bad(n, "%s: one of the list is empty", what)
		}
		return take(n)
	})
}

// plain refuses what is no text as it stands there.
func plain(n *yaml.Node, what string) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return bad(n, "%s: write the value out, without & and *", what)
	case n.Kind != yaml.ScalarNode:
		return bad(n, "%s: write one text", what)
	case n.Style&yaml.TaggedStyle != 0 || n.ShortTag() == "!!merge":
		return bad(n, "%s: write the value without a tag", what)
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
