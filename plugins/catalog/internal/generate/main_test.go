package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedIsCurrent fails where somebody changed a definition and did not
// run go generate.
func TestGeneratedIsCurrent(t *testing.T) {
	dir := t.TempDir()
	catalog, page := filepath.Join(dir, "catalog.json"), filepath.Join(dir, "PROVIDERS.md")
	if err := run("../../definitions", "../../needs_code.yaml", catalog, page); err != nil {
		t.Fatalf("run() = %v", err)
	}
	for _, file := range []string{catalog, page} {
		if !bytes.Equal(contents(t, file), contents(t, filepath.Join("../..", filepath.Base(file)))) {
			t.Errorf("plugins/catalog/%s is not what definitions/ says; run: go generate ./plugins/catalog", filepath.Base(file))
		}
	}
}

func contents(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	const sure, alone = "# Confidence A: 4 sources agree.\n", "# Confidence C: one source alone.\n"
	if err := os.Mkdir(filepath.Join(dir, "experimental"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a.yaml":              sure + "id: b\nname: B\nissuer: https://b.example\n",
		"d.yaml":              sure + "id: d\ntokenUri: https://d.example\n",
		"e.yaml":              "id: e\nname: E\nissuer: https://e.example\n",
		"f.yaml":              alone + "id: f\nname: F\nissuer: https://f.example\n",
		"experimental/g.yaml": alone + "id: g\nname: G\nissuer: https://g.example\n",
		"h.yaml":              sure + "id: h\nname: H\nexperimental: true\nissuer: https://h.example\n",
		"i.yaml":              sure + "id: i\nname: I\nissuer: https://i.example\n",
		"experimental/i.yaml": alone + "id: i\nname: I\nexperimental: true\nissuer: https://i.example\n",
	} {
		put(t, dir, name, text)
	}
	refused(t, dir, "a.yaml: holds the definition of b", "d.yaml:3: there is no key", "e.yaml: has no comment that says how sure it is",
		"f.yaml: what has confidence C", "g.yaml: what has confidence C", "h.yaml: what has confidence C", "i.yaml: there is another definition of i")

	dir = t.TempDir()
	put(t, dir, "c.yaml", sure+"id: c\nname: C\nissuer: http://127.0.0.1\n")
	put(t, dir, "j.yaml", sure+"id: j\nname: J\nextends: nobody\n")
	put(t, dir, "k.yaml", sure+"id: k\nname: K\nextends: l\n")
	put(t, dir, "l.yaml", sure+"id: l\nname: L\nextends: c\n")
	refused(t, dir, `"c": issuer: must be https:`, "j: there is no nobody that it could extend", "k: there is no l that it could extend")
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, dir string, want ...string) {
	t.Helper()
	_, err := readAll(dir)
	if err == nil {
		t.Fatal("readAll() = nil, want an error")
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("readAll() = %v, want it to say %s", err, text)
		}
	}
}
