package socket

import (
	_ "embed" // for the document
	"io"
	"net/http"
	"strconv"
)

//go:generate go run ./internal/generate -from openapi.yaml -to openapi.json -schema provider.schema.json,../deploy/provider.schema.json

// openAPI describes the API in OpenAPI 3.1. It is written straight out of the
// binary, and takes no memory of its own.
//
//go:embed openapi.json
var openAPI string

// ProviderSchema is the JSON Schema (2020-12) of a provider definition. It is cut
// out of the document above, which is compared with the Go type by a test.
//
//go:embed provider.schema.json
var ProviderSchema string

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	writeText(w, jsonType, openAPI)
	return nil
}

func (s *Server) providerSchema(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Broker.Providers(r.Context(), callerOf(r.Context())); err != nil {
		return err
	}
	writeText(w, []string{"application/schema+json"}, ProviderSchema)
	return nil
}

func writeText(w http.ResponseWriter, contentType []string, text string) {
	header := w.Header()
	header["Content-Type"] = contentType
	header["Content-Length"] = []string{strconv.Itoa(len(text))}
	_, _ = io.WriteString(w, text) // where it fails, nobody is there to read it
}
