package socket

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// A refusal is a fault of a request that the domain never hears of.
type refusal struct {
	status  int
	code    string
	message string
	details []client.Detail
}

func (e *refusal) Error() string { return e.message }

var errFromBrowser = &refusal{http.StatusForbidden, codeForbidden, "requests with Origin or Referer are refused: this socket is not for web pages, and a bridge has to strip both", nil}

// invalidRequest makes a refusal about one field or parameter.
func invalidRequest(path, format string, args ...any) *refusal {
	message := fmt.Sprintf(format, args...)
	return &refusal{http.StatusBadRequest, codeInvalidRequest, path + ": " + message, []client.Detail{{Path: path, Message: message}}}
}

// The codes that are named more than once.
const (
	codeInvalidRequest      = "invalid_request"
	codeInvalidState        = "invalid_state"
	codeForbidden           = "forbidden"
	codeAccessDenied        = "access_denied"
	codeProviderUnavailable = "provider_unavailable"
	codeProviderError       = "provider_error"
	codeTooMany             = "too_many_requests"
)

// table shows the errors of the domain as a status and a code.
var table = []struct {
	err    error
	status int
	code   string
}{
	{broker.ErrInvalidState, http.StatusBadRequest, codeInvalidState},
	{broker.ErrForbidden, http.StatusForbidden, codeForbidden},
	{broker.ErrAccessDenied, http.StatusForbidden, codeAccessDenied},
	{broker.ErrNotFound, http.StatusNotFound, "not_found"},
	{broker.ErrUnknownProvider, http.StatusNotFound, "unknown_provider"},
	{broker.ErrAmbiguousName, http.StatusConflict, "ambiguous_name"},
	{broker.ErrAmbiguousProvider, http.StatusConflict, "ambiguous_provider"},
	{broker.ErrConflict, http.StatusConflict, "conflict"},
	{broker.ErrReauthorize, http.StatusConflict, "reauth_required"},
	{broker.ErrAuthorizationPending, http.StatusConflict, "authorization_pending"},
	{broker.ErrNoToken, http.StatusConflict, "no_token"},
	{broker.ErrDisabled, http.StatusConflict, "disabled"},
	{broker.ErrShuttingDown, http.StatusServiceUnavailable, "shutting_down"},
	{broker.ErrStoreUnavailable, http.StatusServiceUnavailable, "store_unavailable"},
	{broker.ErrNotConfigured, http.StatusBadGateway, codeProviderError},
	{broker.ErrWaitEnded, http.StatusServiceUnavailable, codeProviderUnavailable},
}

// internalError is what is shown of an error that nobody foresaw.
var internalError = client.ErrorBody{Error: "invectd failed at this; its log says more", Code: "internal"}

// show returns what an error looks like from outside.
func show(err error) (status int, body client.ErrorBody) {
	body.Error = err.Error()
	if e, ok := errors.AsType[*refusal](err); ok {
		body.Code, body.Details = e.code, e.details
		return e.status, body
	}
	if e, ok := errors.AsType[*broker.InvalidError](err); ok {
		for _, field := range e.Fields {
			body.Details = append(body.Details, client.Detail{Path: field.Path, Message: field.Message})
		}
		body.Code = codeInvalidRequest
		return http.StatusBadRequest, body
	}
	if e, ok := errors.AsType[*broker.ReauthorizeError](err); ok && e.Provider != "" {
		body.Connect = howToConnect(e)
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			body.Code = row.code
			return row.status, body
		}
	}
	if e, ok := errors.AsType[*broker.ProviderError](err); ok {
		status, body.Code = showProvider(e)
		return status, body
	}
	return http.StatusInternalServerError, internalError
}

// showProvider tells a provider that is away from one that refuses.
func showProvider(e *broker.ProviderError) (status int, code string) {
	switch {
	case e.Timeout:
		return http.StatusGatewayTimeout, "provider_timeout"
	case e.Status >= 500, e.Status == http.StatusTooManyRequests, e.Status == http.StatusRequestTimeout, e.Sent != broker.SentAnswered:
		return http.StatusServiceUnavailable, codeProviderUnavailable
	}
	return http.StatusBadGateway, codeProviderError
}

func howToConnect(e *broker.ReauthorizeError) *client.Connect {
	path, how := "/credentials/oauth2/start", ""
	if e.Device {
		path, how = devicePath, " --device"
	}
	return &client.Connect{
		Method: http.MethodPost, Path: path,
		Body:    client.StartRequest{ExistingCredentialID: string(e.ID)},
		Command: fmt.Sprintf("invectd connect %s --existing %s%s", e.Provider, e.ID, how),
	}
}

// retryAfter returns when it is worth asking again, in whole seconds; 0 where an
// error does not say and its status does not ask for it.
func retryAfter(err error, status int) int64 {
	var after time.Duration
	if e, ok := errors.AsType[*broker.RetryError](err); ok {
		after = max(e.After, 1)
	} else if e, ok := errors.AsType[*broker.ProviderError](err); ok {
		after = e.RetryAfter
	}
	if after == 0 && (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) {
		after = time.Second
	}
	return int64(math.Ceil(after.Seconds()))
}

// fail answers with an error. Only one that nobody foresaw is logged: of the
// others the caller hears all.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, body := show(err)
	if denied(status) && !pay(r, denialCost) {
		err = errTooOften
		status, body = show(err)
	}
	switch {
	case errors.Is(err, errTooManyInFlight):
		s.Refused(refusedInFlight)
	case errors.Is(err, errTooOften):
		s.Refused(refusedRate)
	}
	if status == http.StatusInternalServerError {
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return // the caller went away
		}
		s.Log.Error("a request failed", "method", r.Method, "route", r.Pattern, "error", err)
	}
	if after := retryAfter(err, status); after > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(after, 10))
	}
	writeError(w, status, body)
}

func writeError(w http.ResponseWriter, status int, body client.ErrorBody) {
	// An ErrorBody holds nothing that could not be written as JSON.
	_ = answer(w, status, body)
}
