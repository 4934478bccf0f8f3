// Package catalog holds the provider definitions that are built in. They are
// written as YAML in definitions/ and embedded as JSON, since reading YAML at
// each start would cost tens of milliseconds and megabytes.
package catalog

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/invectd/invectd/broker"
)

//go:generate go run ./internal/generate

//go:embed catalog.json
var data []byte

// Definitions returns the built-in definitions, ordered by id. An error means
// that the program was built from a catalogue of another version.
func Definitions() ([]broker.Definition, error) {
	return decode(data)
}

// decode is strict: nothing of the catalogue is passed over.
func decode(data []byte) ([]broker.Definition, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var definitions []broker.Definition
	if err := decoder.Decode(&definitions); err != nil {
		return nil, fmt.Errorf("reading the built-in catalogue: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the built-in catalogue: there is more than one list")
	}
	return definitions, nil
}
