package socket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxBody is how many bytes the body of a request may have.
const maxBody = 64 << 10

// ignored is a field that is known and has no effect, whatever it holds.
type ignored struct{}

// UnmarshalJSON implements [json.Unmarshaler].
func (*ignored) UnmarshalJSON([]byte) error { return nil }

// noFields is the body of a request that needs none. Invect's clients put their
// userId everywhere.
type noFields struct {
	UserID ignored `json:"userId"`
}

// decode reads the JSON object that is a request's body into a struct. Unknown
// fields are an error; null leaves a field as it is.
func decode(r *http.Request, into any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return &refusal{http.StatusBadRequest, "invalid_json", "the body is empty: send a JSON object", nil}
	}
	return decodeObject(body, into)
}

// decodeOptional is decode for a body that may be absent.
func decodeOptional(r *http.Request, into any) error {
	body, err := readBody(r)
	if err != nil || len(body) == 0 {
		return err
	}
	return decodeObject(body, into)
}

// decodeNothing reads a body that has nothing to say, or none.
func decodeNothing(r *http.Request) error {
	return decodeOptional(r, new(noFields))
}

// readBody returns the body of a request, empty if there is none.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, codeInvalidRequest, "the body did not come as announced", nil}
	case len(body) == 0:
		return nil, nil
	case len(body) > maxBody:
		return nil, &refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body has more than %d bytes", maxBody), nil}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "unsupported_media_type", "send the body with Content-Type: application/json", nil}
	}
	return body, nil
}

// decodeObject reads one JSON object. Its errors quote no value: it could be a
// secret.
func decodeObject(body []byte, into any) error {
	if !utf8.Valid(body) {
		return &refusal{http.StatusBadRequest, "invalid_json", "the body is not UTF-8", nil}
	}
	if !json.Valid(body) {
		return &refusal{http.StatusBadRequest, "invalid_json", "the body is not one JSON object", nil}
	}
	if body = bytes.TrimLeft(body, " \t\r\n"); body[0] != '{' {
		return &refusal{http.StatusBadRequest, codeInvalidRequest, "the body has to be a JSON object", nil}
	}
	if err := checkNames(body, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return misfit(body, err)
	}
	return nil
}

// misfit explains why valid JSON does not fit a struct.
func misfit(body []byte, err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongType(body, e)
	}
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if name, err := strconv.Unquote(quoted); err == nil {
			return invalidRequest(name, "there is no such field")
		}
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok { // nested too deep
		return &refusal{http.StatusBadRequest, "invalid_json", "the body cannot be read as JSON", nil}
	}
	// What is left are the domain's own words about a field of a definition.
	return &refusal{http.StatusBadRequest, codeInvalidRequest, "the body does not fit: " + err.Error(), nil}
}

// wrongType says which field of body has the wrong type.
func wrongType(body []byte, e *json.UnmarshalTypeError) error {
	path := strings.Split(e.Field, ".")
	if name := path[0]; name != "" && unicode.IsUpper(rune(name[0])) {
		path = path[1:] // the name of an embedded struct, which is none of the contract's
	}
	var value any
	_ = json.Unmarshal(body, &value) // it was valid before
	for _, step := range path {
		object, _ := value.(map[string]any)
		value = object[step]
	}
	_, isObject := value.(map[string]any)
	_, isList := value.([]any)
	if isObject && e.Value != "object" || isList && e.Value != "array" {
		// The path ends at what holds the value.
		return invalidRequest(strings.Join(path, "."), "each value in it has to be %s", wanted(e.Type))
	}
	return invalidRequest(strings.Join(path, "."), "has to be %s", wanted(e.Type))
}

// wanted names a type in the words of JSON.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Slice:
		return "a list"
	}
	return "a whole number"
}

// nullable reads a string that null empties. It returns nil where the field is
// absent.
func nullable(name string, raw json.RawMessage) (*string, error) {
	if raw == nil {
		return nil, nil
	}
	value := new(string)
	if err := json.Unmarshal(raw, value); err != nil {
		return nil, invalidRequest(name, "has to be a string")
	}
	return value, nil
}

// duration reads a query parameter that is a Go duration or whole seconds.
func duration(r *http.Request, name string, otherwise time.Duration) (time.Duration, error) {
	text := parameter(r, name)
	if text == "" {
		return otherwise, nil
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, invalidRequest(name, "give a duration like 90s or 5m, or whole seconds")
	}
	return d, nil
}

// flag reads a query parameter that is true or false; nil where it is absent.
func flag(r *http.Request, name string) (*bool, error) {
	switch parameter(r, name) {
	case "":
		return nil, nil
	case "true":
		return new(true), nil
	case "false":
		return new(false), nil
	}
	return nil, invalidRequest(name, "give true or false")
}

// parameter returns a query parameter, "" if it is absent.
func parameter(r *http.Request, name string) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return r.URL.Query().Get(name)
}

// sameID reports a body whose id contradicts the path.
func sameID(name, inBody, inPath string) error {
	if inBody != "" && inBody != inPath {
		return invalidRequest(name, "is not the one of the path")
	}
	return nil
}
