package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

const (
	inDocument = "#/components/schemas/"
	inSchema   = "#/$defs/"
)

// providerSchema cuts the schema of a provider definition as people write it out
// of the JSON document, with those that it refers to. OpenAPI 3.1 speaks JSON
// Schema 2020-12, so nothing changes but where they stand.
func providerSchema(document []byte) ([]byte, error) {
	var parts struct {
		Components struct{ Schemas map[string]map[string]any }
	}
	if err := json.Unmarshal(document, &parts); err != nil {
		return nil, err
	}
	schema := parts.Components.Schemas["ProviderFields"]
	if schema == nil {
		return nil, fmt.Errorf("there is no schema ProviderFields")
	}
	definitions := map[string]any{}
	if err := moveReferences(schema, parts.Components.Schemas, definitions); err != nil {
		return nil, err
	}
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "A provider definition of invectd"
	schema["required"] = []string{"id", "name"}
	schema["additionalProperties"] = false
	schema["$defs"] = definitions
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// moveReferences turns the references in a value into those of a schema by
// itself, and adds what they refer to to definitions.
func moveReferences(value any, schemas map[string]map[string]any, definitions map[string]any) error {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			if err := moveReferences(item, schemas, definitions); err != nil {
				return err
			}
		}
	case map[string]any:
		if to, ok := value["$ref"].(string); ok {
			name, ok := strings.CutPrefix(to, inDocument)
			if !ok || schemas[name] == nil {
				return fmt.Errorf("%s refers to nothing", to)
			}
			value["$ref"] = inSchema + name
			if definitions[name] == nil {
				definitions[name] = schemas[name]
				if err := moveReferences(schemas[name], schemas, definitions); err != nil {
					return err
				}
			}
		}
		for _, inner := range value {
			if err := moveReferences(inner, schemas, definitions); err != nil {
				return err
			}
		}
	}
	return nil
}
