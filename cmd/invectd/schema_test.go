package main

import (
	"encoding"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket"
)

// TestProviderSchemaIsTheType compares the JSON Schema of a definition with the
// Go type, in both directions: each has the other's names, and of the same kind.
func TestProviderSchemaIsTheType(t *testing.T) {
	var whole map[string]any
	if err := json.Unmarshal([]byte(socket.ProviderSchema), &whole); err != nil {
		t.Fatal(err)
	}
	c := schemaComparison{t, whole["$defs"].(map[string]any)}
	c.compare("definition", whole, reflect.TypeFor[broker.Definition]())
}

type schemaComparison struct {
	*testing.T
	definitions map[string]any
}

func (c schemaComparison) compare(path string, schema map[string]any, goType reflect.Type) {
	c.Helper()
	if to, ok := schema["$ref"].(string); ok {
		schema = c.definitions[strings.TrimPrefix(to, "#/$defs/")].(map[string]any)
	}
	pointer := reflect.PointerTo(goType)
	text := pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	want := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int64: "integer",
		reflect.Slice: "array", reflect.Map: "object", reflect.Struct: "object",
	}[goType.Kind()]
	switch {
	case goType.Kind() == reflect.Pointer:
		c.compare(path, schema, goType.Elem())
		return
	case goType.Kind() == reflect.Interface:
		return // any JSON value
	case goType == reflect.TypeFor[broker.Paths]():
		if len(schema["oneOf"].([]any)) != 2 {
			c.Errorf("%s is %v, want a path or a list of paths", path, schema)
		}
		return
	case text:
		want = "string"
	}
	kinds := kindsOf(schema)
	if !slices.Contains(kinds, want) {
		c.Errorf("%s is %v in the schema, want %s", path, kinds, want)
	}
	switch goType.Kind() {
	case reflect.Slice:
		c.compare(path+"[]", schema["items"].(map[string]any), goType.Elem())
	case reflect.Map:
		if values, ok := schema["additionalProperties"].(map[string]any); ok {
			c.compare(path+"{}", values, goType.Elem())
		}
	case reflect.Struct:
		c.compareStruct(path, schema, goType)
	}
}

// kindsOf returns what a value may be.
func kindsOf(schema map[string]any) (kinds []string) {
	switch kind := schema["type"].(type) {
	case string:
		return []string{kind}
	case []any:
		for _, one := range kind {
			kinds = append(kinds, one.(string))
		}
	}
	if _, ok := schema["enum"]; ok {
		return append(kinds, "string")
	}
	return kinds
}

func (c schemaComparison) compareStruct(path string, schema map[string]any, goType reflect.Type) {
	c.Helper()
	properties := schema["properties"].(map[string]any)
	if schema["additionalProperties"] != false {
		c.Errorf("%s takes keys that nobody knows", path)
	}
	left := make(map[string]bool, len(properties))
	for name := range properties {
		left[name] = true
	}
	for field := range goType.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		property, ok := properties[name].(map[string]any)
		if !ok {
			c.Errorf("%s.%s of %v is not in the schema", path, name, goType)
			continue
		}
		delete(left, name)
		c.compare(path+"."+name, property, field.Type)
	}
	for name := range left {
		c.Errorf("%s.%s of the schema is not in %v", path, name, goType)
	}
}

// TestProviderSchemaTakesTheCatalogue validates what people wrote: the built-in
// definitions and the example of the contract; and what it has to refuse.
func TestProviderSchemaTakesTheCatalogue(t *testing.T) {
	schema := compileProviderSchema(t)
	files := []string{"../../plugins/testdata/my_service.yaml"}
	for _, pattern := range []string{"*.yaml", "experimental/*.yaml"} {
		found, err := filepath.Glob("../../plugins/catalog/definitions/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 400 {
		t.Fatalf("there are %d definitions, want the whole catalogue", len(files))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(jsonOf(t, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, text := range map[string]string{
		"unknown key":       "id: a\nname: A\ntoken_url: https://a.example\n",
		"unknown below":     "id: a\nname: A\ntokenRequest: {formats: json}\n",
		"unknown value":     "id: a\nname: A\npkce: maybe\n",
		"no URL":            "id: a\nname: A\ntokenUrl: a.example\n",
		"no id":             "name: A\n",
		"bad id":            "id: a/b\nname: A\n",
		"list for a text":   "id: a\nname: [A]\n",
		"text for a list":   "id: a\nname: A\ndefaultScopes: read\n",
		"lookup for naught": "id: a\nname: A\nlookup: {url: \"https://a.example\"}\n",
	} {
		if err := schema.Validate(jsonOf(t, []byte(text))); err == nil {
			t.Errorf("the schema takes %s: %s", name, text)
		}
	}
}

func compileProviderSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(socket.ProviderSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("provider.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("provider.schema.json")
	if err != nil {
		t.Fatalf("the schema is no JSON Schema: %v", err)
	}
	return schema
}

// jsonOf turns YAML into the values that a validator takes.
func jsonOf(t *testing.T, data []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
