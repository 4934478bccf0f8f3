package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), 1},
		{usagef("which?"), 2},
		{fmt.Errorf("reading: %w", usagef("which?")), 2},
		{&client.Error{Code: "not_found"}, 3},
		{&client.Error{Code: "unknown_provider"}, 3},
		{&client.Error{Code: "forbidden"}, 4},
		{&client.Error{Code: "access_denied"}, 4},
		{&client.Error{Code: "reauth_required"}, 5},
		{fmt.Errorf("dev: %w", &client.Error{Code: "authorization_pending"}), 5},
		{&client.Error{Code: "provider_unavailable"}, 6},
		{&client.Error{Code: "provider_timeout"}, 6},
		{&client.Error{Code: "store_unavailable"}, 6},
		{&client.Error{Code: "shutting_down"}, 6},
		{&client.Error{Code: "too_many_requests"}, 6},
		{&client.Error{Code: "provider_error"}, 1},
		{&client.Error{Code: "no_token"}, 1},
		{&client.Error{Status: 404}, 1}, // it is not invectd that answered
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%#v) = %d, want %d", test.err, got, test.want)
		}
	}
}

func TestReport(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("it broke"), "invectd: it broke\n"},
		{usagef("which?"), "invectd: which?\n  see: invectd token --help\n"},
		{&client.Error{Code: "reauth_required", Message: "gone", Connect: &client.Connect{Command: "invectd connect x"}},
			"invectd: gone\n  reconnect it: invectd connect x\n"},
		{&client.Error{Code: "provider_unavailable", Message: "away", RetryAfter: 5 * time.Second}, "invectd: away\n  try again in 5s\n"},
		{&client.Error{Code: "invalid_request", Message: "a: is bad", Details: []client.Detail{{Path: "a", Message: "is bad"}, {Path: "b", Message: "is worse"}}},
			"invectd: a: is bad\n  b: is worse\n"},
	} {
		var out strings.Builder
		report(&out, "invectd token", test.err)
		if out.String() != test.want {
			t.Errorf("report(%v) = %q, want %q", test.err, out.String(), test.want)
		}
	}
}
