package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/invectd/invectd/plugins"
)

// A need is a provider that a definition cannot express.
type need struct {
	ID    string `yaml:"id"`
	Name  string `yaml:"name"`
	Needs string `yaml:"needs"`
}

func readNeeds(file string) ([]need, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var needs []need
	if err := decoder.Decode(&needs); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return needs, nil
}

const pageHead = `<!-- Written by go generate ./plugins/catalog. Change the definitions instead. -->

# Providers

What invectd can connect to without a plugin, as ` + "`invectd providers`" + ` shows it too. Each is a YAML file in
[definitions](definitions) that anybody can read, correct, and copy for a provider of their own.

`

// pageOf returns the page of numbers and of all providers, in Markdown.
func pageOf(entries []entry, needs []need) []byte {
	var out bytes.Buffer
	out.WriteString(pageHead)
	writeNumbers(&out, entries, needs)
	writeQuirks(&out, entries)
	writeProviders(&out, "Confirmed", "Two or more independent sources agree on their facts.", entries, false)
	writeProviders(&out, "Experimental", "One source alone has their facts. Try before you rely on one, and tell us how it went.", entries, true)
	out.WriteString("## Those that need code\n\nA definition cannot express them, so each is the work of a plugin.\n\n| id | name | what it takes |\n|---|---|---|\n")
	for _, n := range needs {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", n.ID, cell(n.Name), cell(n.Needs))
	}
	return out.Bytes()
}

func writeNumbers(out *bytes.Buffer, entries []entry, needs []need) {
	by := map[string]int{}
	plain := 0
	for _, e := range entries {
		by[e.confidence]++
		if len(plugins.Quirks(e.Definition)) == 0 {
			plain++
		}
	}
	fmt.Fprintf(out, "## In numbers\n\n| providers | |\n|---|--:|\n")
	for _, row := range []struct {
		what string
		n    int
	}{
		{"definitions", len(entries)},
		{"confidence A: three or more sources agree", by["A"]},
		{"confidence B: two sources agree", by["B"]},
		{"confidence C: one source alone, `experimental`", by["C"]},
		{"of them without any quirk", plain},
		{"that need code", len(needs)},
	} {
		fmt.Fprintf(out, "| %s | %d |\n", row.what, row.n)
	}
	out.WriteByte('\n')
}

// writeQuirks counts what vendors do otherwise, each said by a field.
func writeQuirks(out *bytes.Buffer, entries []entry) {
	with := map[string][]string{}
	for _, e := range entries {
		for _, quirk := range plugins.Quirks(e.Definition) {
			with[quirk.Kind] = append(with[quirk.Kind], e.ID)
		}
	}
	kinds := slices.SortedFunc(maps.Keys(with), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(with[b]), len(with[a])), cmp.Compare(a, b))
	})
	fmt.Fprintf(out, "## Quirks that are data\n\n%d ways to differ from RFC 6749, none of which takes code.\n\n| quirk | providers | such as |\n|---|--:|---|\n", len(kinds))
	for _, kind := range kinds {
		ids := with[kind]
		fmt.Fprintf(out, "| %s | %d | %s |\n", kind, len(ids), strings.Join(ids[:min(len(ids), 3)], ", "))
	}
	out.WriteByte('\n')
}

func writeProviders(out *bytes.Buffer, title, text string, entries []entry, experimental bool) {
	fmt.Fprintf(out, "## %s\n\n%s\n\n| id | name | category | facts | quirks |\n|---|---|---|---|---|\n", title, text)
	for _, e := range entries {
		if e.Experimental != experimental {
			continue
		}
		var quirks []string
		for _, quirk := range plugins.Quirks(e.Definition) {
			quirks = append(quirks, quirk.String())
		}
		name := cell(e.Name)
		if e.DocsURL != "" {
			name = "[" + name + "](" + e.DocsURL + ")"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", e.ID, name, cell(e.Category), e.confidence, cell(strings.Join(quirks, "; ")))
	}
	out.WriteByte('\n')
}

// cell keeps text from ending a cell of a table, or from being markup.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "\n", " ").Replace(text)
}
