package socket

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/invectd/invectd/broker"
)

// selfCounted is the size from which net/http does not find out the length of an
// answer by itself, for less than we could.
const selfCounted = 2048

// jsonType is shared by all answers.
var jsonType = []string{"application/json"}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // URLs read better, and no browser takes this for HTML
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	write(w, status, body.Bytes())
	return nil
}

// answerCredential writes a credential, its secrets masked; or passes err on.
func answerCredential(w http.ResponseWriter, status int, view broker.View, err error) error {
	if err != nil {
		return err
	}
	return answer(w, status, credentialOf(view))
}

// answerNothing says that it is done; or passes err on.
func answerNothing(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// write sends a whole JSON answer at once. Where it fails the caller has gone
// away, and there is nobody to tell.
func write(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = jsonType
	if len(body) >= selfCounted {
		header["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// answerToken writes a token; or passes err on. This is what runners ask all the
// time, so it does without reflection.
func answerToken(w http.ResponseWriter, reading broker.Reading, err error) error {
	if err != nil {
		return err
	}
	tag := `"` + strconv.FormatUint(reading.Generation, 10) + `"`
	w.Header()["Etag"] = []string{tag}
	size := 256 + len(reading.Access.Reveal()) + len(reading.Scope) // enough, unless a name has to be escaped
	write(w, http.StatusOK, appendToken(make([]byte, 0, size), reading, time.Now()))
	return nil
}

// appendToken appends what [client.Token] is in JSON.
func appendToken(b []byte, reading broker.Reading, now time.Time) []byte {
	b = appendText(append(b, `{"credentialId":`...), string(reading.CredentialID))
	if reading.Provider != "" {
		b = appendText(append(b, `,"provider":`...), reading.Provider)
	}
	b = appendText(append(b, `,"accessToken":`...), reading.Access.Reveal())
	b = appendText(append(b, `,"tokenType":`...), reading.Type)
	if reading.Scope != "" {
		b = appendText(append(b, `,"scope":`...), reading.Scope)
	}
	if !reading.ExpiresAt.IsZero() {
		b = reading.ExpiresAt.UTC().AppendFormat(append(b, `,"expiresAt":"`...), time.RFC3339)
		b = strconv.AppendInt(append(b, `","expiresIn":`...), int64(reading.ValidFor(now)/time.Second), 10)
	}
	b = strconv.AppendUint(append(b, `,"generation":`...), reading.Generation, 10)
	if reading.Degraded {
		b = append(b, `,"degraded":true`...)
	}
	return append(b, "}\n"...)
}

// appendText appends s as a JSON string.
func appendText(b []byte, s string) []byte {
	if !plain(s) {
		quoted, _ := json.Marshal(s) // a string can always be written
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// plain reports whether s stands for itself in JSON (RFC 8259, section 7), as
// tokens do: printable ASCII without quotation mark and backslash.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
