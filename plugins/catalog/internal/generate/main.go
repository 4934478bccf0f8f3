// Command generate turns the YAML definitions of the built-in catalogue into the
// one JSON file that is embedded.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

func main() {
	from := flag.String("from", "definitions", "folder of the YAML `files`")
	to := flag.String("to", "catalog.json", "JSON `file` to write")
	flag.Parse()
	if err := run(*from, *to); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	text, err := generate(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// generate returns the JSON list of all definitions in a folder, in the order of
// their ids. Each has to be valid without any address allowed, and to be in the
// file of its name.
func generate(from string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(from, "*.yaml")) // sorted
	if err != nil {
		return nil, err
	}
	var definitions []broker.Definition
	var errs []error
	for _, file := range files {
		d, err := read(file)
		if err != nil {
			errs = append(errs, err)
		}
		definitions = append(definitions, d)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	err = encoder.Encode(definitions)
	return out.Bytes(), err
}

func read(file string) (broker.Definition, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return broker.Definition{}, err
	}
	d, err := plugins.Parse(file, data)
	if err != nil {
		return broker.Definition{}, err
	}
	if d.ID+".yaml" != filepath.Base(file) {
		return broker.Definition{}, fmt.Errorf("%s: holds the definition of %s", file, d.ID)
	}
	return d, d.Check(nil)
}
