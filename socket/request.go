package socket

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// A requestBody asks for one request to be sent from here. Its body is a string,
// sent as it is, or JSON.
type requestBody struct {
	URL          string            `json:"url"`
	Method       string            `json:"method"`
	Headers      map[string]string `json:"headers"`
	Body         json.RawMessage   `json:"body"`
	CredentialID string            `json:"credentialId"`
	UserID       ignored           `json:"userId"`
}

// requestMethods are the methods that may be sent, and whether with a body.
var requestMethods = map[string]bool{
	"GET": false, "HEAD": false, "OPTIONS": false, "POST": true, "PUT": true, "PATCH": true, "DELETE": true,
}

func (s *Server) testRequest(w http.ResponseWriter, r *http.Request) error {
	var body requestBody
	if err := decode(r, &body); err != nil {
		return err
	}
	request := broker.APIRequest{Method: strings.ToUpper(body.Method), URL: body.URL, Headers: map[string]string{}}
	if request.Method == "" {
		request.Method = http.MethodGet
	}
	takesBody, ok := requestMethods[request.Method]
	if !ok {
		return invalidRequest("method", "give GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE")
	}
	for name, value := range body.Headers {
		if name != "" && !validHeader(name, value) {
			return invalidRequest("headers", "one of them has characters that no header can have")
		}
		request.Headers[name] = value
	}
	if takesBody {
		request.Body = requestText(body.Body, request.Headers)
	}
	got, err := s.Broker.SendRequest(r.Context(), callerOf(r.Context()), body.CredentialID, request)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, client.TestResponse{
		Status: got.Status, StatusText: http.StatusText(got.Status), OK: got.Status/100 == 2, Body: responseBody(got.Body),
	})
}

// requestText returns the bytes to send. JSON says so, unless the caller does.
func requestText(body json.RawMessage, headers map[string]string) []byte {
	var text string
	if len(body) == 0 || bytes.Equal(body, []byte("null")) {
		return nil
	}
	if json.Unmarshal(body, &text) == nil {
		return []byte(text)
	}
	for name := range headers {
		if strings.EqualFold(name, "Content-Type") {
			return body
		}
	}
	headers["Content-Type"] = "application/json"
	return body
}

// responseBody is what an API answered: JSON if it is, else a string.
func responseBody(body []byte) any {
	if json.Valid(body) {
		return json.RawMessage(body)
	}
	return strings.ToValidUTF8(string(body), "\ufffd")
}

func validHeader(name, value string) bool {
	token := func(r rune) bool {
		return r > ' ' && r < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}
	return strings.IndexFunc(name, func(r rune) bool { return !token(r) }) < 0 &&
		strings.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}
