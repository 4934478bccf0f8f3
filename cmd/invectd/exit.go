package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/socket/client"
)

// The exit codes.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitNotFound = 3
	exitDenied   = 4
	exitConsent  = 5 // a person must consent
	exitLater    = 6 // try again later
)

// exitCodes are by the code of the daemon's answer. All others are exitError.
var exitCodes = map[string]int{
	"not_found":             exitNotFound,
	"unknown_provider":      exitNotFound,
	"forbidden":             exitDenied,
	"access_denied":         exitDenied,
	"reauth_required":       exitConsent,
	"authorization_pending": exitConsent,
	"provider_unavailable":  exitLater,
	"provider_timeout":      exitLater,
	"store_unavailable":     exitLater,
	"shutting_down":         exitLater,
	"too_many_requests":     exitLater,
}

// A usageError is a command line that cannot be carried out.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

func exitCode(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errDenied) {
		return exitDenied
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		if code, ok := exitCodes[e.Code]; ok {
			return code
		}
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" && errors.Is(dial, fs.ErrPermission) {
		return exitDenied
	}
	return exitError
}

// report tells a person what went wrong, and below it what to do next.
func report(w io.Writer, command string, err error) {
	if errors.Is(err, errDenied) {
		return // that was the answer, and is on standard output
	}
	fmt.Fprintf(w, "invectd: %s\n", printable(err.Error()))
	for _, line := range nextSteps(command, err) {
		fmt.Fprintf(w, "  %s\n", printable(line))
	}
}

func nextSteps(command string, err error) []string {
	if _, ok := errors.AsType[*usageError](err); ok {
		return []string{"see: " + command + " --help"}
	}
	if _, ok := errors.AsType[*store.DamagedError](err); ok {
		return mendSteps()
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return nil
	}
	var steps []string
	for _, detail := range e.Details {
		// The message has told the first fault already, most of the time.
		if !strings.Contains(e.Message, detail.Message) {
			steps = append(steps, detail.Path+": "+detail.Message)
		}
	}
	switch {
	case e.Connect != nil && e.Connect.Command != "":
		steps = append(steps, "reconnect it: "+e.Connect.Command)
	case e.RetryAfter > 0:
		steps = append(steps, fmt.Sprintf("try again in %s", e.RetryAfter))
	case e.Code == "not_found":
		steps = append(steps, "see what there is: invectd list")
	case e.Code == "unknown_provider":
		steps = append(steps, "see what is known: invectd providers")
	}
	return steps
}
