package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCatalogIsCurrent fails where somebody changed a definition and did not run
// go generate.
func TestCatalogIsCurrent(t *testing.T) {
	to := filepath.Join(t.TempDir(), "catalog.json")
	if err := run("../../definitions", to); err != nil {
		t.Fatalf("run() = %v", err)
	}
	want, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../catalog.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("plugins/catalog/catalog.json is not what definitions/ says; run: go generate ./plugins/catalog")
	}
}

func TestGenerateErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": "id: b\nname: B\nissuer: https://b.example\n",
		"c.yaml": "id: c\nname: C\nissuer: http://127.0.0.1\n",
		"d.yaml": "id: d\ntokenUri: https://d.example\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := generate(dir)
	if err == nil || text != nil {
		t.Fatalf("generate() = %s, %v, want an error alone", text, err)
	}
	for _, want := range []string{"a.yaml: holds the definition of b", `"c": issuer: must be https:`, "d.yaml:2: there is no key"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("generate() = %v, want it to say %s", err, want)
		}
	}
}
