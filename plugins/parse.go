package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/invectd/invectd/broker"
)

// maxSize bounds a definition, in bytes, as the API bounds a request.
const maxSize = 64 << 10

// A SyntaxError reports one thing to mend in a definition that was read.
type SyntaxError struct {
	Name    string // of the file or another source
	Line    int    // counted from 1
	Message string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Message) }

// Parse reads one definition from YAML, or from JSON, which is YAML too. Keys
// have to be those of the contract, each at most once; name is what errors call
// the source. Every error is a [*SyntaxError] or several, joined. Parse does not
// check what the definition says: that is [broker.Definition.Check].
func Parse(name string, data []byte) (broker.Definition, error) {
	d, _, err := parse(name, data)
	return d, err
}

// lines tells where the value of a field stands, by its path with dots.
type lines map[string]int

// of returns the line of a field, or where it is absent of what would hold it.
func (l lines) of(path string) int {
	for ; path != ""; path, _ = cutLast(path) {
		if line, ok := l[path]; ok {
			return line
		}
	}
	return 1
}

func cutLast(path string) (before string, found bool) {
	at := strings.LastIndexByte(path, '.')
	return path[:max(at, 0)], at >= 0
}

// parse also tells where each field stands.
func parse(name string, data []byte) (broker.Definition, lines, error) {
	p := &parser{name: name, lines: lines{}}
	root, ok := p.document(data)
	if !ok {
		return broker.Definition{}, nil, errors.Join(p.errs...)
	}
	value := p.value(root, reflect.TypeFor[broker.Definition](), "")
	if len(p.errs) > 0 {
		return broker.Definition{}, nil, errors.Join(p.errs...)
	}
	d, err := decode(value)
	if err != nil {
		p.bad(1, "%v", err)
		return broker.Definition{}, nil, errors.Join(p.errs...)
	}
	return d, p.lines, nil
}

// decode turns JSON values into a definition, so that the JSON names are the one
// truth about what it is called.
func decode(value any) (broker.Definition, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return broker.Definition{}, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var d broker.Definition
	if err := decoder.Decode(&d); err != nil {
		return broker.Definition{}, err
	}
	return d, nil
}

// A parser turns YAML nodes into JSON values. It is led by the Go type that the
// value is for, so that "2022-06-28" and true stay the text that they are where
// text is wanted, and every mistake is found with its line.
type parser struct {
	name  string
	lines lines
	errs  []error
}

func (p *parser) bad(line int, format string, args ...any) {
	p.errs = append(p.errs, &SyntaxError{p.name, max(line, 1), fmt.Sprintf(format, args...)})
}

// document returns the root of the only document in data.
func (p *parser) document(data []byte) (*yaml.Node, bool) {
	if len(data) > maxSize {
		p.bad(1, "is larger than %d KiB", maxSize>>10)
		return nil, false
	}
	decoder := yaml.NewDecoder(bytes.NewReader(readable(data)))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		p.bad(1, "is empty; write a provider definition, which begins with id: and name:")
		return nil, false
	case err != nil:
		p.yamlError(err)
		return nil, false
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		p.bad(second.Line, "begins a second document; write one definition to a file")
		return nil, false
	case !errors.Is(err, io.EOF):
		p.yamlError(err)
		return nil, false
	}
	return document.Content[0], true
}

// yamlError takes over what the YAML decoder says, "yaml: line 3: …".
func (p *parser) yamlError(err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		number, text, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, message = n, text
		}
	}
	p.bad(line, "is no YAML: %s", message)
}
