package broker

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Facts that callers tell apart with [errors.Is]. The errors that wrap them say
// which credential, provider or field it was and what to do.
var (
	ErrNotFound             = errors.New("not found")
	ErrUnknownProvider      = errors.New("unknown provider")
	ErrForbidden            = errors.New("forbidden")
	ErrAmbiguousName        = errors.New("ambiguous name")
	ErrAmbiguousProvider    = errors.New("ambiguous provider")
	ErrConflict             = errors.New("conflict")
	ErrNoToken              = errors.New("no token")
	ErrDisabled             = errors.New("disabled")
	ErrAuthorizationPending = errors.New("authorization pending")
	ErrInvalidState         = errors.New("unknown, used or expired state")
	ErrAccessDenied         = errors.New("access denied")
	ErrReauthorize          = errors.New("reauthorization required")
	ErrStoreUnavailable     = errors.New("store unavailable")
	// ErrDamaged says that a record is lost or not what was written, and that the
	// others are whole.
	ErrDamaged      = errors.New("damaged")
	ErrShuttingDown = errors.New("shutting down")
	// ErrNotConfigured says that a request to a provider could not be made, for
	// want of a definition, a client or an input.
	ErrNotConfigured = errors.New("the provider is not set up here")
	// ErrWaitEnded says that a refresh goes on but the caller's wait is over.
	ErrWaitEnded = errors.New("the refresh takes longer than the caller waits")
)

// A FieldError says what is wrong with one field of a request.
type FieldError struct {
	Path    string // as the contract names it, with dots: "config.apiKey"
	Message string
}

// An InvalidError reports a request that cannot be carried out as it stands.
// Nothing was changed.
type InvalidError struct {
	Message string
	Fields  []FieldError
}

func (e *InvalidError) Error() string { return e.Message }

// invalid makes an [*InvalidError] about one field.
func invalid(path, format string, args ...any) *InvalidError {
	message := fmt.Sprintf(format, args...)
	return &InvalidError{Message: path + ": " + message, Fields: []FieldError{{path, message}}}
}

// A ReauthorizeError reports that only a person can make a credential work
// again. It is [ErrReauthorize].
type ReauthorizeError struct {
	ID       ID
	Name     string
	Provider string
	Reason   string // for a person: what the provider said
	Device   bool   // the consent was given on another device
}

func (e *ReauthorizeError) Error() string {
	return fmt.Sprintf("credential %q needs a person to consent again: %s", e.Name, e.Reason)
}

// Is makes [errors.Is] find [ErrReauthorize].
func (e *ReauthorizeError) Is(target error) bool { return target == ErrReauthorize }

// A RetryError adds to an error when it is worth asking again.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }

func (e *RetryError) Unwrap() error { return e.Err }

// Sent tells how far a request to a provider got, which decides whether a
// single-use value may be sent again.
type Sent int

// How far it got.
const (
	SentNever    Sent = iota // provably not sent
	SentUnknown              // sent, at least in part, without an answer
	SentAnswered             // an HTTP answer came
)

// A ProviderError reports that a provider could not be reached, answered
// something unusable or refused a request. It carries facts, and never a secret
// or the text of an answer.
type ProviderError struct {
	Op         string // "authorize", "discover", "exchange", "refresh", "client_credentials", "assert", "exchange_token", "start_device", "poll_device", "introspect", "revoke", "identify", "send"
	Provider   string // id of the definition
	Host       string // whom it asked
	Sent       Sent
	Timeout    bool
	Status     int           // of the HTTP answer; 0 without one
	Code       string        // `error` of RFC 6749, section 5.2, cleaned; "" if the answer had none
	Reauth     bool          // the code means that the grant is gone
	Client     bool          // the code means that the client is refused
	RetryAfter time.Duration // RFC 9110, section 10.2.3; zero if absent
	Err        error         // what failed, if no HTTP answer came or it was unusable
}

func (e *ProviderError) Error() string {
	who := e.Op + " at " + e.Provider + ":"
	if e.Host != "" {
		who += " " + e.Host
	}
	answered := "answered"
	if e.Status != 0 {
		answered += fmt.Sprintf(" %d", e.Status)
	}
	switch {
	case e.Code != "":
		return who + " " + answered + " " + e.Code
	case e.Timeout:
		return who + " did not answer in time"
	case e.Status != 0 && e.Err != nil:
		return fmt.Sprintf("%s %s: %v", who, answered, e.Err)
	case e.Sent == SentAnswered:
		return who + " " + answered + " with an error"
	case e.Err != nil && e.Host == "":
		return fmt.Sprintf("%s nothing was sent: %v", who, e.Err)
	case e.Err != nil:
		return fmt.Sprintf("%s could not be reached: %v", who, e.Err)
	}
	return who + " could not be reached"
}

func (e *ProviderError) Unwrap() error { return e.Err }

// plainCode is what error codes look like: words joined by underscores, or a
// short number.
var plainCode = regexp.MustCompile(`^([a-z]+(_[a-z]+)*|[0-9]{1,8})$`)

// PlainErrorCode returns an `error` value of a provider (RFC 6749, sections
// 4.1.2.1 and 5.2) if it can be shown: one of known, or a short one that looks
// like a code. For any other it returns "": a provider could put there what it
// was sent, a secret among it.
func PlainErrorCode(code string, known ...string) string {
	if slices.Contains(known, code) || len(code) <= 40 && plainCode.MatchString(code) {
		return code
	}
	return ""
}
