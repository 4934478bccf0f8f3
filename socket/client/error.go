package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The codes of [Error] that programs act on most; the contract has them all.
const (
	CodeNotFound       = "not_found"
	CodeForbidden      = "forbidden"
	CodeReauthRequired = "reauth_required"
)

// An Error is an answer of the daemon that is not 2xx.
type Error struct {
	Status     int           // of HTTP
	Code       string        // for programs; "" where what answered is not invectd
	Message    string        // for a person
	Details    []Detail      // what is wrong with which field
	RetryAfter time.Duration // when to ask again; zero if the answer does not say
	Connect    *Connect      // how to reconnect, beside "reauth_required"
}

func (e *Error) Error() string { return e.Message }

// A Detail says what is wrong with one field of a request.
type Detail struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// A Connect says how a person makes a credential work again.
type Connect struct {
	Method  string       `json:"method"`
	Path    string       `json:"path"`
	Body    StartRequest `json:"body"`
	Command string       `json:"command"` // the same in a terminal
}

// An ErrorBody is an error as the daemon answers it.
type ErrorBody struct {
	Error   string   `json:"error"`
	Code    string   `json:"code"`
	Details []Detail `json:"details,omitempty"`
	Connect *Connect `json:"connect,omitempty"`
}

// errorOf reads an answer that is not 2xx.
func errorOf(response *http.Response, body []byte) *Error {
	e := &Error{Status: response.StatusCode}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	var wire ErrorBody
	if json.Unmarshal(body, &wire) != nil || wire.Error == "" {
		e.Message = fmt.Sprintf("the socket answered %s, and not as invectd does", response.Status)
		return e
	}
	e.Code, e.Message, e.Details, e.Connect = wire.Code, wire.Error, wire.Details, wire.Connect
	return e
}
