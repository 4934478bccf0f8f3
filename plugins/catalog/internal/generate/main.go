// Command generate turns the YAML definitions of the built-in catalogue into the
// one JSON file that is embedded, and into a page that lists them for people.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins"
)

func main() {
	from := flag.String("from", "definitions", "folder of the YAML `files`, with a folder experimental in it")
	code := flag.String("code", "needs_code.yaml", "YAML `file` of the providers that a definition cannot express")
	to := flag.String("to", "catalog.json", "JSON `file` to write")
	page := flag.String("page", "PROVIDERS.md", "Markdown `file` to write")
	flag.Parse()
	if err := run(*from, *code, *to, *page); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(from, code, to, page string) error {
	entries, err := readAll(from)
	if err != nil {
		return err
	}
	needs, err := readNeeds(code)
	if err != nil {
		return err
	}
	text, err := catalog(entries)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, text, 0o644), os.WriteFile(page, pageOf(entries, needs), 0o644))
}

// An entry is a definition of the catalogue and how sure its facts are.
type entry struct {
	broker.Definition
	confidence string // "A", "B" or "C": as many as three sources agree, two, or there is one alone
}

// readAll returns all definitions in a folder, in the order of their ids. Each
// has to be valid without any address allowed, to be in the file of its name, and
// to say how sure its facts are.
func readAll(from string) ([]entry, error) {
	files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil {
		return nil, err
	}
	experimental, err := filepath.Glob(filepath.Join(from, "experimental", "*.yaml"))
	if err != nil {
		return nil, err
	}
	var errs []error
	byID := map[string]entry{}
	for _, file := range append(files, experimental...) {
		e, err := read(file)
		if _, twice := byID[e.ID]; twice && err == nil {
			err = fmt.Errorf("%s: there is another definition of %s", file, e.ID)
		}
		errs = append(errs, err)
		byID[e.ID] = e
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var entries []entry
	for id, e := range byID {
		e.Definition, err = resolve(byID, e.Definition)
		if err == nil {
			err = e.Check(nil)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.ID, b.ID) })
	return entries, errors.Join(errs...)
}

// resolve gives a definition what it takes from the one that it extends, which
// cannot extend another.
func resolve(byID map[string]entry, d broker.Definition) (broker.Definition, error) {
	if d.Extends == "" {
		return d, nil
	}
	base, ok := byID[d.Extends]
	if !ok || base.Extends != "" {
		return d, fmt.Errorf("there is no %s that it could extend", d.Extends)
	}
	return plugins.Extend(base.Definition, d)
}

var confidence = regexp.MustCompile(`(?m)^# Confidence ([ABC]): `)

func read(file string) (entry, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return entry{}, err
	}
	d, err := plugins.Parse(file, data)
	if err != nil {
		return entry{}, err
	}
	e := entry{Definition: d}
	if d.ID+".yaml" != filepath.Base(file) {
		return e, fmt.Errorf("%s: holds the definition of %s", file, d.ID)
	}
	said := confidence.FindSubmatch(data)
	if said == nil {
		return e, fmt.Errorf("%s: has no comment that says how sure it is, like \"# Confidence A: 4 sources agree.\"", file)
	}
	e.confidence = string(said[1])
	inFolder := filepath.Base(filepath.Dir(file)) == "experimental"
	if alone := e.confidence == "C"; alone != d.Experimental || alone != inFolder {
		return e, fmt.Errorf("%s: what has confidence C, and nothing else, says experimental: true and is in the folder experimental", file)
	}
	return e, nil
}

// catalog returns the JSON list of the definitions, each in a line.
func catalog(entries []entry) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	out.WriteString("[\n")
	for i, e := range entries {
		if i > 0 {
			out.Truncate(out.Len() - 1) // the line end that Encode adds
			out.WriteString(",\n")
		}
		if err := encoder.Encode(e.Definition); err != nil {
			return nil, err
		}
	}
	out.WriteString("]\n")
	return out.Bytes(), nil
}
