package socket

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// A document is what the server says of itself. Its values are validated as JSON
// Schema 2020-12 has it, all of whose keywords OpenAPI 3.1 has.
type document struct {
	*openapi3.T
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema // by the text of the schema
}

// loadDocument returns the document as it is served, and checks that it is valid
// OpenAPI 3.1, its examples and defaults included.
func loadDocument(t *testing.T) *document {
	t.Helper()
	model, err := openapi3.NewLoader().LoadFromData([]byte(openAPI))
	if err != nil {
		t.Fatalf("openapi.json cannot be read: %v", err)
	}
	if err := model.Validate(t.Context(), openapi3.EnableSchemaFormatValidation(), openapi3.EnableMultiError()); err != nil {
		t.Fatalf("openapi.json is not valid: %v", err)
	}
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{model, jsonschema.NewCompiler(), map[string]*jsonschema.Schema{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", whole); err != nil {
		t.Fatal(err)
	}
	return d
}

// visit validates a value.
func (d *document) visit(schema *openapi3.SchemaRef, value any) error {
	data, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	text := strings.ReplaceAll(string(data), `"#/components/`, `"openapi.json#/components/`)
	compiled, ok := d.compiled[text]
	if !ok {
		own, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		name := fmt.Sprintf("schema-%d.json", len(d.compiled))
		if err := d.compiler.AddResource(name, own); err != nil {
			return err
		}
		if compiled, err = d.compiler.Compile(name); err != nil {
			return err
		}
		d.compiled[text] = compiled
	}
	return compiled.Validate(value)
}

// visitText validates JSON text.
func (d *document) visitText(schema *openapi3.SchemaRef, text string) error {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return d.visit(schema, value)
}

// operations returns the operations by method and path, as in "GET /token".
func (d *document) operations() map[string]*openapi3.Operation {
	operations := map[string]*openapi3.Operation{}
	for path, item := range d.Paths.Map() {
		for method, operation := range item.Operations() {
			operations[method+" "+path] = operation
		}
	}
	return operations
}

func TestOpenAPIIsServed(t *testing.T) {
	f := newFixture(t)
	got := f.do(t, "GET", "/openapi.json", "")
	if got.status != http.StatusOK || got.body != openAPI || got.header.Get("Content-Length") != strconv.Itoa(len(openAPI)) {
		t.Errorf("GET /openapi.json = %d with %d bytes, want 200 with the %d embedded", got.status, len(got.body), len(openAPI))
	}
	if version := loadDocument(t).OpenAPI; !strings.HasPrefix(version, "3.1.") {
		t.Errorf("openapi = %s, want 3.1", version)
	}
}

func TestOpenAPIHasTheRoutes(t *testing.T) {
	var served []string
	for path, m := range new(Server).routes() {
		for method := range m {
			served = append(served, method+" "+path)
		}
	}
	documented := slices.Sorted(maps.Keys(loadDocument(t).operations()))
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented are\n%s\nwant what is served:\n%s", strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

// contract is the contract's table of errors, and what nobody foresaw. What
// nothing can answer yet is absent.
var contract = map[int][]string{
	400: {"invalid_request", "invalid_json", "invalid_state"},
	403: {"forbidden"}, // access_denied is told in a page and a redirect alone
	404: {"not_found", "unknown_provider"},
	405: {"method_not_allowed"},
	409: {"ambiguous_name", "ambiguous_provider", "conflict", "reauth_required", "authorization_pending", "no_token", "disabled"},
	413: {"too_large"},
	415: {"unsupported_media_type"},
	429: {"too_many_requests"},
	500: {"internal"},
	502: {"provider_error"},
	503: {"provider_unavailable", "shutting_down", "store_unavailable"},
	504: {"provider_timeout"},
}

func TestOpenAPIHasTheContractsErrors(t *testing.T) {
	document := loadDocument(t)
	responses := map[string]*openapi3.Responses{
		"MethodNotAllowed": openapi3.NewResponses(openapi3.WithStatus(405, document.Components.Responses["MethodNotAllowed"])),
	}
	for name, operation := range document.operations() {
		responses[name] = operation.Responses
	}
	seen := map[int]map[string]bool{}
	for name, all := range responses {
		for text, response := range all.Map() {
			status, _ := strconv.Atoi(text)
			for _, code := range codesOf(response.Value) {
				if code != "" && !slices.Contains(contract[status], code) {
					t.Errorf("%s: %s has the code %s, want one of %v", name, text, code, contract[status])
				}
				if seen[status] == nil {
					seen[status] = map[string]bool{}
				}
				seen[status][code] = true
			}
		}
	}
	for status, codes := range contract {
		for _, code := range codes {
			if !seen[status][code] {
				t.Errorf("no operation has %d %s", status, code)
			}
		}
	}
}

// codesOf returns the error codes that a response may have; "" stands for a body
// without one, and for none.
func codesOf(response *openapi3.Response) []string {
	if len(response.Content) == 0 {
		return []string{""}
	}
	var codes []string
	for _, media := range response.Content {
		own := codesOfSchema(media.Schema.Value)
		if len(own) == 0 {
			own = []string{""}
		}
		codes = append(codes, own...)
	}
	return codes
}

func codesOfSchema(schema *openapi3.Schema) (codes []string) {
	if code, ok := schema.Properties["code"]; ok {
		for _, value := range code.Value.Enum {
			codes = append(codes, value.(string))
		}
	}
	for _, part := range slices.Concat(schema.AllOf, schema.AnyOf) {
		codes = append(codes, codesOfSchema(part.Value)...)
	}
	return codes
}

// TestOpenAPIHasTheWireTypes compares the names and the required fields of the
// schemas with the Go types that are answered and decoded.
func TestOpenAPIHasTheWireTypes(t *testing.T) {
	schemas := loadDocument(t).Components.Schemas
	for name, answered := range map[string]reflect.Type{
		"Token": reflect.TypeFor[client.Token](), "Resolved": reflect.TypeFor[client.Resolved](),
		"Credential": reflect.TypeFor[client.Credential](), "Test": reflect.TypeFor[client.Test](),
		"Usage": reflect.TypeFor[client.Usage](), "TestResponse": reflect.TypeFor[client.TestResponse](),
		"Provider": reflect.TypeFor[client.Provider](), "App": reflect.TypeFor[client.App](),
		"Started": reflect.TypeFor[client.Started](), "Event": reflect.TypeFor[client.Event](),
		"Status": reflect.TypeFor[client.Status](), "Unready": reflect.TypeFor[client.Health](),
		"Keys": reflect.TypeFor[client.Keys](), "Version": reflect.TypeFor[client.Version](), "Error": reflect.TypeFor[client.ErrorBody](),
	} {
		wire{t, true}.compare(name, schemas[name].Value, answered)
	}
	for name, decoded := range map[string]reflect.Type{
		"CredentialInput": reflect.TypeFor[credentialBody](), "TestRequest": reflect.TypeFor[requestBody](),
		"ProviderInput": reflect.TypeFor[providerBody](),
		"AppInput": reflect.TypeFor[struct {
			client.App
			noFields
		}](),
		"StartRequest": reflect.TypeFor[struct {
			client.StartRequest
			noFields
		}](),
		"CallbackRequest": reflect.TypeFor[struct {
			client.CallbackRequest
			noFields
		}](),
	} {
		wire{t, false}.compare(name, schemas[name].Value, decoded)
	}
}

// A wire compares schemas with Go types. Of what is answered, a field that is
// never left out has to be required.
type wire struct {
	*testing.T
	answered bool
}

func (w wire) compare(path string, schema *openapi3.Schema, goType reflect.Type) {
	w.Helper()
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	switch goType.Kind() {
	case reflect.Slice:
		if goType.Elem().Kind() == reflect.Struct && schema.Items != nil {
			w.compare(path+"[]", schema.Items.Value, goType.Elem())
		}
	case reflect.Map:
		if goType.Elem().Kind() == reflect.Struct {
			w.compare(path+"{}", schema.AdditionalProperties.Schema.Value, goType.Elem())
		}
	case reflect.Struct:
		if path != "Error.connect.body" && !ownJSON(goType) { // that one is a request with a single field
			w.compareStruct(path, schema, goType)
		}
	}
}

func (w wire) compareStruct(path string, schema *openapi3.Schema, goType reflect.Type) {
	w.Helper()
	properties, required := map[string]*openapi3.Schema{}, []string(nil)
	for _, part := range append(schema.AllOf, schema.NewRef()) {
		for name, property := range part.Value.Properties {
			properties[name] = property.Value
		}
		required = append(required, part.Value.Required...)
	}
	var names []string
	for _, field := range reflect.VisibleFields(goType) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			continue // what is embedded, whose fields are visible themselves
		}
		names = append(names, name)
		if property, ok := properties[name]; ok {
			w.compare(path+"."+name, property, field.Type)
		}
		if w.answered && !strings.HasPrefix(options, "omit") && !slices.Contains(required, name) {
			w.Errorf("%s.%s is not required, but it is always answered", path, name)
		}
	}
	slices.Sort(names)
	if documented := slices.Sorted(maps.Keys(properties)); !slices.Equal(documented, names) {
		w.Errorf("%s has %v, want the fields of %v: %v", path, documented, goType, names)
	}
}

// ownJSON reports whether a type writes or reads itself.
func ownJSON(goType reflect.Type) bool {
	pointer := reflect.PointerTo(goType)
	return pointer.Implements(reflect.TypeFor[json.Unmarshaler]()) || pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// TestOpenAPIParameters shows that the server knows each query parameter that is
// documented: none passes where it cannot be taken, or matches where nothing does.
func TestOpenAPIParameters(t *testing.T) {
	document, f := loadDocument(t), newWorld(t)
	for name, operation := range document.operations() {
		if name == "GET "+callbackPath {
			continue // each of its parameters has an answer of its own among the exercises
		}
		method, path, _ := strings.Cut(name, " ")
		parameters := append(operation.Parameters, document.Paths.Value(path).Parameters...)
		for _, parameter := range parameters {
			if parameter.Value.In != openapi3.ParameterInQuery {
				continue
			}
			good := exercises[name].good
			query, err := url.ParseQuery(strings.TrimPrefix(good.query, "?"))
			if err != nil {
				t.Fatal(err)
			}
			query.Set(parameter.Value.Name, "nonsense")
			good.query = "?" + query.Encode()
			got := f.do(t, method, good.path(name), good.body)
			refused := got.status == http.StatusBadRequest && strings.Contains(got.body, `"path":"`+parameter.Value.Name+`"`)
			unmatched := got.status == http.StatusOK && got.body == "[]\n" || got.status == http.StatusNotFound
			if !refused && !unmatched {
				t.Errorf("%s%s = %d %s, want that it matters", name, good.query, got.status, got.body)
			}
		}
	}
	for name, want := range map[string]time.Duration{"minValidity": broker.DefaultValidity, "wait": broker.DefaultWait} {
		text, _ := document.Components.Parameters[name].Value.Schema.Value.Default.(string)
		if got, err := time.ParseDuration(text); err != nil || got != want {
			t.Errorf("the default of %s = %q, want %v", name, text, want)
		}
	}
}
