package socket

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// everywhere are the headers that info speaks of, or HTTP itself.
var everywhere = []string{
	"Cache-Control", "X-Content-Type-Options", "Content-Type", "Content-Length", "Connection", "Date", "Transfer-Encoding",
}

// checkAnswer returns what is wrong with an answer by what is documented of its
// status: headers, content type or body.
func (d *document) checkAnswer(response *openapi3.Response, got exchange) (wrong []string) {
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Content-Type-Options") != "nosniff" {
		wrong = append(wrong, "it lacks no-store or nosniff")
	}
	for name, header := range response.Headers {
		switch value := got.header.Get(name); {
		case value != "":
			if err := d.checkHeader(header.Value, value); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: %s: %v", name, value, err))
			}
		case header.Value.Required:
			wrong = append(wrong, "it lacks the header "+name)
		}
	}
	for name := range got.header {
		documented := slices.ContainsFunc(slices.Concat(everywhere, headerNames(response)), func(known string) bool {
			return http.CanonicalHeaderKey(known) == name
		})
		if !documented {
			wrong = append(wrong, "the header "+name+" is not documented")
		}
	}
	return append(wrong, d.checkBody(response, got)...)
}

func headerNames(response *openapi3.Response) (names []string) {
	for name := range response.Headers {
		names = append(names, name)
	}
	return names
}

func (d *document) checkHeader(header *openapi3.Header, text string) error {
	var value any = text
	if header.Schema.Value.Type.Is("integer") {
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		value = number
	}
	return d.visit(header.Schema, value)
}

func (d *document) checkBody(response *openapi3.Response, got exchange) []string {
	if len(response.Content) == 0 {
		if got.body != "" {
			return []string{"it has a body, and none is documented"}
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	media, ok := response.Content[kind]
	switch {
	case err != nil || !ok:
		return []string{fmt.Sprintf("its content type is %q, which is not documented", got.header.Get("Content-Type"))}
	case got.body == "":
		return []string{"it has no body"}
	case kind != "application/json":
		return nil
	}
	if err := d.visitText(media.Schema, got.body); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// codeOf returns the code of an answer that is an error, else "".
func codeOf(got exchange) string {
	var body struct{ Code string }
	if json.Unmarshal([]byte(got.body), &body) != nil {
		return ""
	}
	return body.Code
}

// TestCheckAnswerNotices changes good answers for the worse.
func TestCheckAnswerNotices(t *testing.T) {
	document := loadDocument(t)
	token := document.Components.Responses["Token"].Value
	good := func() exchange {
		return exchange{http.StatusOK, http.Header{
			"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}, "Content-Type": {"application/json"}, "Etag": {`"1"`},
		}, `{"credentialId":"i","accessToken":"a","tokenType":"Bearer","generation":1,"expiresAt":"2026-11-23T15:04:05Z","expiresIn":1}`}
	}
	if wrong := document.checkAnswer(token, good()); len(wrong) > 0 {
		t.Fatalf("checkAnswer(%+v) = %v, want nothing", good(), wrong)
	}
	for name, worsen := range map[string]func(*exchange){
		"no ETag":           func(e *exchange) { e.header.Del("ETag") },
		"bare ETag":         func(e *exchange) { e.header.Set("ETag", "1") },
		"cached":            func(e *exchange) { e.header.Del("Cache-Control") },
		"unknown header":    func(e *exchange) { e.header.Set("X-Token", "a") },
		"other type":        func(e *exchange) { e.header.Set("Content-Type", "text/plain") },
		"no body":           func(e *exchange) { e.body = "" },
		"no JSON":           func(e *exchange) { e.body = "{" },
		"another field":     func(e *exchange) { e.body = strings.Replace(e.body, "{", `{"refreshToken":"r",`, 1) },
		"a missing field":   func(e *exchange) { e.body = strings.Replace(e.body, `,"generation":1`, "", 1) },
		"another kind":      func(e *exchange) { e.body = strings.Replace(e.body, `:1,`, `:"1",`, 1) },
		"null":              func(e *exchange) { e.body = strings.Replace(e.body, `"Bearer"`, "null", 1) },
		"a value not known": func(e *exchange) { e.body = strings.Replace(e.body, "Bearer", "bearer", 1) },
		"no time":           func(e *exchange) { e.body = strings.Replace(e.body, "2026-11-23T", "2026-11-23 ", 1) },
		"half an expiry":    func(e *exchange) { e.body = strings.Replace(e.body, `,"expiresIn":1`, "", 1) },
	} {
		got := good()
		worsen(&got)
		if wrong := document.checkAnswer(token, got); len(wrong) == 0 {
			t.Errorf("%s: checkAnswer(%+v) = nothing, want that it notices", name, got)
		}
	}
}
