package audit

import (
	"errors"

	"github.com/invectd/invectd/broker"
)

// done is the outcome of a change that was made.
const done = "done"

// outcomes are the other ones, by the names that the API has for the errors.
var outcomes = []struct {
	err  error
	name string
}{
	{broker.ErrReauthorize, "reauth_required"},
	{broker.ErrInvalidState, "invalid_state"},
	{broker.ErrAccessDenied, "access_denied"},
	{broker.ErrForbidden, "forbidden"},
	{broker.ErrNotFound, "not_found"},
	{broker.ErrUnknownProvider, "unknown_provider"},
	{broker.ErrConflict, "conflict"},
	{broker.ErrAuthorizationPending, "authorization_pending"},
	{broker.ErrDisabled, "disabled"},
	{broker.ErrNoToken, "no_token"},
	{broker.ErrShuttingDown, "shutting_down"},
	{broker.ErrStoreUnavailable, "store_unavailable"},
	{broker.ErrWaitEnded, "provider_unavailable"},
}

// outcome names how a change ended. The text of an error is not written: nobody
// knows all that may be in it.
func outcome(err error) string {
	if err == nil {
		return done
	}
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	if _, ok := errors.AsType[*broker.InvalidError](err); ok {
		return "invalid_request"
	}
	if _, ok := errors.AsType[*broker.ProviderError](err); ok {
		return "provider_error"
	}
	return "error"
}
