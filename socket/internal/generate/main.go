// Command generate turns the description of the API, which is kept as YAML, into
// the JSON that is embedded, without a space too much and in the same order; and
// what it says of provider definitions into a JSON Schema of its own.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	from := flag.String("from", "openapi.yaml", "YAML `file` to read")
	to := flag.String("to", "openapi.json", "JSON `file` to write")
	schemas := flag.String("schema", "", "JSON `files` to write the schema of provider definitions to, separated by commas")
	flag.Parse()
	if err := run(*from, *to, *schemas); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(from, to, schemas string) error {
	source, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	text, err := generate(source)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := os.WriteFile(to, text, 0o644); err != nil || schemas == "" {
		return err
	}
	schema, err := providerSchema(text)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	for file := range strings.SplitSeq(schemas, ",") {
		if err := os.WriteFile(file, schema, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the one document of a YAML source as JSON.
func generate(source []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document")
	}
	var out bytes.Buffer
	if err := write(&out, document.Content[0]); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// write appends a node, its aliases replaced by what they stand for.
func write(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.AliasNode:
		return write(out, n.Alias)
	case yaml.MappingNode:
		return writeMapping(out, n)
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := write(out, item); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return err
	}
	return writeValue(out, n, value)
}

func writeMapping(out *bytes.Buffer, n *yaml.Node) error {
	seen := map[string]bool{}
	out.WriteByte('{')
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Tag != "!!str" {
			return fmt.Errorf("line %d: the key %s has to be a string: quote it", key.Line, key.Value)
		}
		if seen[key.Value] {
			return fmt.Errorf("line %d: the key %s is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if i > 0 {
			out.WriteByte(',')
		}
		if err := writeValue(out, key, key.Value); err != nil {
			return err
		}
		out.WriteByte(':')
		if err := write(out, n.Content[i+1]); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

func writeValue(out *bytes.Buffer, n *yaml.Node, value any) error {
	switch value.(type) {
	case nil, string, bool, int, float64:
	default:
		return fmt.Errorf("line %d: %s has no counterpart in JSON: quote it", n.Line, n.Value)
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	out.Truncate(out.Len() - 1) // the line end that Encode adds
	return nil
}
