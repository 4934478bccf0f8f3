package socket

import (
	_ "embed" // for the document
	"io"
	"net/http"
	"strconv"
)

//go:generate go run ./internal/generate -from openapi.yaml -to openapi.json

// openAPI describes the API in OpenAPI 3.1. It is written straight out of the
// binary, and takes no memory of its own.
//
//go:embed openapi.json
var openAPI string

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Content-Length"] = []string{strconv.Itoa(len(openAPI))}
	_, _ = io.WriteString(w, openAPI) // where it fails, nobody is there to read it
	return nil
}
