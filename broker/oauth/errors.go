package oauth

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/invectd/invectd/broker"
)

// What can be wrong with an answer. The texts follow "answered 200: ".
var (
	errTooLong       = errors.New("the answer is too long")
	errNotJSON       = errors.New("the answer is no JSON")
	errDuplicate     = errors.New("the answer has a name twice")
	errNoAccessToken = errors.New("the answer has no access token")
	errBadToken      = errors.New("the answer has a token with characters that no token has")
	errSaysFailed    = errors.New("the answer says that it failed")
	errRedirect      = errors.New("a redirect, which is never followed")
	errConnection    = errors.New("the connection failed, or the answer was no HTTP")
	errNoEndpoint    = errors.New("the metadata of its issuer has no endpoint for it")
	errBraces        = errors.New("the metadata has an endpoint with braces, which is no URL")
	errNoTLS         = errors.New("it does not speak TLS")
	errNoRequest     = errors.New("the request could not be made")
)

// unanswered makes the error of a call that got no HTTP answer.
func (o operation) unanswered(host string, sent broker.Sent, err error) *broker.ProviderError {
	return &broker.ProviderError{
		Op: o.op, Provider: o.definition.ID, Host: host,
		Sent: sent, Timeout: isTimeout(err), Err: safeError(err),
	}
}

// refused makes the error of a call that was answered. err is nil where the
// status or the code says it all.
func (o operation) refused(host string, a answer, code string, err error) *broker.ProviderError {
	grant := o.op == opRefresh || o.op == opExchange
	switch {
	case err != nil:
	case a.status/100 == 3:
		err = errRedirect
	case a.status/100 == 2 && code == "":
		err = errSaysFailed
	}
	return &broker.ProviderError{
		Op: o.op, Provider: o.definition.ID, Host: host,
		Sent: broker.SentAnswered, Status: a.status,
		Code: code, Reauth: grant && code != "" && o.definition.IsReauthError(code),
		Client:     code != "" && o.definition.IsClientError(code),
		RetryAfter: retryAfter(a.header, time.Now()), Err: err,
	}
}

// maxRetryAfter bounds what a provider can ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads RFC 9110, section 10.2.3: seconds or a date.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, date.Sub(now)), maxRetryAfter)
}

// safeError returns what of a transport's error may be shown. Those that net/http
// makes of a malformed answer quote it, so unknown ones are replaced.
func safeError(err error) error {
	if blocked, ok := errors.AsType[*BlockedError](err); ok {
		return blocked
	}
	if hook, ok := errors.AsType[*hookError](err); ok {
		return hook
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("its certificate is not trusted: %w", certificate.Err)
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return alert
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return errNoTLS
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		return operation
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, io.EOF, errTooLong, errNoRequest} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errConnection
}

// isTimeout reports whether time ran out, the caller's or our own.
func isTimeout(err error) bool {
	timed, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && timed.Timeout()
}

// cleanCode returns an error code that can be shown: one of known, or one that
// looks like a code; and "" for one that repeats a secret of the request.
func cleanCode(value any, secrets []string, known ...string) string {
	var text string
	switch value := value.(type) {
	case string:
		text = value
	case json.Number:
		text = value.String()
	}
	for _, secret := range secrets {
		// Of a short one a code may hold the letters by chance.
		if text == secret || len(secret) >= 12 && strings.Contains(text, secret) {
			return ""
		}
	}
	return broker.PlainErrorCode(text, known...)
}
