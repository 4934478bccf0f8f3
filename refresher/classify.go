package refresher

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/invectd/invectd/broker"
)

// classify decides what an error of a refresh means.
func classify(err error) Outcome {
	p, answered := errors.AsType[*broker.ProviderError](err)
	_, invalid := errors.AsType[*broker.InvalidError](err)
	switch {
	case answered:
		return classifyAnswer(p)
	case errors.Is(err, broker.ErrStoreUnavailable):
		return OutcomeStoreUnavailable
	case invalid, errors.Is(err, broker.ErrUnknownProvider):
		return OutcomeConfiguration
	}
	return OutcomeTransient
}

// classifyAnswer judges an error of a provider. Only a code that is known to
// mean so costs a person's time; a status alone, which proxies and firewalls
// answer too, does not.
func classifyAnswer(p *broker.ProviderError) Outcome {
	switch {
	case p.Op == opDiscover: // the client or the grant was not even shown
		return OutcomeTransient
	case p.Reauth:
		return OutcomeGrantRefused
	case p.Status >= 500, p.Status == http.StatusRequestTimeout,
		p.Status == http.StatusTooEarly, p.Status == http.StatusTooManyRequests:
		return OutcomeTransient
	}
	if p.Client || p.Code == "invalid_grant" { // the latter is of grants without a person
		return OutcomeClientRefused
	}
	return OutcomeTransient
}

// opDiscover is the Op of errors from before the token endpoint was known.
const opDiscover = "discover"

// undecided reports whether a refresh that ended with err may have spent the
// refresh token all the same.
func undecided(err error) bool {
	p, ok := errors.AsType[*broker.ProviderError](err)
	switch {
	case !ok:
		return classify(err) == OutcomeTransient
	case p.Op == opDiscover, p.Sent == broker.SentNever:
		return false
	case p.Sent == broker.SentUnknown:
		return true
	}
	// A success that could not be read may have held the next token.
	return p.Status/100 == 2 && p.Code == ""
}

// maxRetryAfter bounds what a provider can ask for: credentials have to come
// back without an operator.
const maxRetryAfter = time.Hour

// A pace says how long to wait after a failure.
type pace struct{ first, longest time.Duration }

var paces = map[Outcome]pace{
	OutcomeTransient:        {time.Second, 5 * time.Minute},
	OutcomeStoreUnavailable: {time.Second, 5 * time.Second}, // asking the store costs nobody else
	OutcomeClientRefused:    {15 * time.Minute, 15 * time.Minute},
	OutcomeConfiguration:    {15 * time.Minute, 15 * time.Minute},
	OutcomeGrantRefused:     {15 * time.Minute, 15 * time.Minute}, // only where the refusal could not be stored
}

// pause returns how long to wait after so many failures in a row: anything from
// the pace's first to a longest that doubles each time, as spread says, which is
// random in [0,1). Full jitter is what parts a crowd that failed together.
func pause(outcome Outcome, failures int, retryAfter time.Duration, spread float64) time.Duration {
	return paces[outcome].pause(failures, retryAfter, spread)
}

func (p pace) pause(failures int, retryAfter time.Duration, spread float64) time.Duration {
	longest := min(p.longest, p.first<<min(failures, 16))
	wait := p.first + time.Duration(spread*float64(longest-p.first))
	if retryAfter > 0 {
		retryAfter = min(retryAfter, maxRetryAfter)
		wait = max(wait, retryAfter+time.Duration(spread*float64(retryAfter)/10))
	}
	return wait
}

// retryAfter returns what the provider asked for; zero if nothing.
func retryAfter(err error) time.Duration {
	if p, ok := errors.AsType[*broker.ProviderError](err); ok {
		return p.RetryAfter
	}
	return 0
}

// reason says to a person what became of a credential, and whether its refresh
// token is in doubt.
func reason(outcome Outcome, err error, doubt bool) string {
	switch {
	case outcome == OutcomeGrantRefused:
	case doubt:
		return err.Error() + "; a refresh was cut off, so the refresh token may be spent: the next answer of the provider tells"
	default:
		return err.Error()
	}
	code := "no code"
	if p, ok := errors.AsType[*broker.ProviderError](err); ok && p.Code != "" {
		code = p.Code
	}
	if doubt {
		return fmt.Sprintf("interrupted_rotation: an earlier refresh was cut off before its answer was stored, and most likely spent the refresh token, which the provider now refuses (%s)", code)
	}
	return fmt.Sprintf("the provider refused the refresh token (%s)", code)
}
