package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestDocumentIsCurrent fails where somebody changed the source and did not run
// go generate.
func TestDocumentIsCurrent(t *testing.T) {
	to := filepath.Join(t.TempDir(), "openapi.json")
	if err := run("../../openapi.yaml", to); err != nil {
		t.Fatalf("run() = %v", err)
	}
	want, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("socket/openapi.json is not what openapi.yaml says; run: go generate ./socket")
	}
}

func TestGenerate(t *testing.T) {
	source := "z: &z {b: [1, 2.5, true, null, \"1\"], a: <é>}\na: *z\n"
	want := `{"z":{"b":[1,2.5,true,null,"1"],"a":"<é>"},"a":{"b":[1,2.5,true,null,"1"],"a":"<é>"}}` + "\n"
	if got, err := generate([]byte(source)); err != nil || string(got) != want {
		t.Errorf("generate() = %s, %v, want %s", got, err, want)
	}
}

func TestGenerateErrors(t *testing.T) {
	for source, want := range map[string]string{
		"":                 "EOF",
		"a: 1\n---\nb: 2":  "there is more than one document",
		"200: ok":          "line 1: the key 200 has to be a string: quote it",
		"a: 1\nb: 2\na: 3": "line 3: the key a is there twice",
		"a: 2026-11-23":    "line 1: 2026-11-23 has no counterpart in JSON: quote it",
		"a: .nan":          "line 1: json: unsupported value: NaN",
	} {
		if got, err := generate([]byte(source)); err == nil || err.Error() != want || got != nil {
			t.Errorf("generate(%q) = %s, %v, want %s", source, got, err, want)
		}
	}
}
