package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumentIsCurrent fails where somebody changed the source and did not run
// go generate.
func TestDocumentIsCurrent(t *testing.T) {
	dir := t.TempDir()
	document, schema := filepath.Join(dir, "openapi.json"), filepath.Join(dir, "provider.schema.json")
	if err := run("../../openapi.yaml", document, schema); err != nil {
		t.Fatalf("run() = %v", err)
	}
	for file, want := range map[string]string{
		"../../openapi.json": document, "../../provider.schema.json": schema, "../../../deploy/provider.schema.json": schema,
	} {
		if !bytes.Equal(contents(t, file), contents(t, want)) {
			t.Errorf("%s is not what openapi.yaml says; run: go generate ./socket", file)
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

func TestProviderSchemaErrors(t *testing.T) {
	for document, want := range map[string]string{
		`{}`: "there is no schema ProviderFields",
		`{"components":{"schemas":{"ProviderFields":{"properties":{"a":{"$ref":"#/components/schemas/Gone"}}}}}}`: "Gone refers to nothing",
		`[`: "unexpected end",
	} {
		if got, err := providerSchema([]byte(document)); err == nil || got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("providerSchema(%s) = %s, %v, want an error alone: %s", document, got, err, want)
		}
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
