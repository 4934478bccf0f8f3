package refresher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func answered(status int, code string) *broker.ProviderError {
	return &broker.ProviderError{Op: "refresh", Provider: "p", Sent: broker.SentAnswered, Status: status, Code: code,
		Client: new(broker.Definition).IsClientError(code)}
}

func TestClassify(t *testing.T) {
	refused := answered(400, "invalid_grant")
	refused.Reauth = true
	vendor := answered(200, "token_revoked")
	vendor.Reauth = true
	unusable := answered(200, "")
	unusable.Err = errors.New("the answer is no JSON object")
	discovery := answered(401, "invalid_client")
	discovery.Op = "discover"
	unsent := &broker.ProviderError{Op: "refresh", Sent: broker.SentNever, Err: errors.New("connection refused")}
	unanswered := &broker.ProviderError{Op: "refresh", Sent: broker.SentUnknown, Timeout: true}

	for name, test := range map[string]struct {
		err       error
		want      Outcome
		undecided bool
	}{
		"never sent":             {unsent, OutcomeTransient, false},
		"no answer":              {unanswered, OutcomeTransient, true},
		"deadline":               {context.DeadlineExceeded, OutcomeTransient, true},
		"panic":                  {errPanic, OutcomeTransient, true},
		"500":                    {answered(500, ""), OutcomeTransient, false},
		"503 with a code":        {answered(503, "invalid_client"), OutcomeTransient, false},
		"408":                    {answered(408, ""), OutcomeTransient, false},
		"429":                    {answered(429, "invalid_request"), OutcomeTransient, false},
		"403 of a firewall":      {answered(403, ""), OutcomeTransient, false},
		"redirect":               {answered(302, ""), OutcomeTransient, false},
		"unusable success":       {unusable, OutcomeTransient, true},
		"unknown code":           {answered(400, "temporarily_unavailable"), OutcomeTransient, false},
		"discovery":              {discovery, OutcomeTransient, false},
		"invalid_grant":          {refused, OutcomeGrantRefused, false},
		"wrapped":                {fmt.Errorf("asking: %w", refused), OutcomeGrantRefused, false},
		"vendor's own":           {vendor, OutcomeGrantRefused, false},
		"grant without a person": {answered(400, "invalid_grant"), OutcomeClientRefused, false},
		"invalid_client":         {answered(401, "invalid_client"), OutcomeClientRefused, false},
		"unauthorized_client":    {answered(400, "unauthorized_client"), OutcomeClientRefused, false},
		"invalid_scope":          {answered(400, "invalid_scope"), OutcomeClientRefused, false},
		"no client":              {&broker.InvalidError{Message: "clientId: missing"}, OutcomeConfiguration, false},
		"no definition":          {fmt.Errorf("p: %w", broker.ErrUnknownProvider), OutcomeConfiguration, false},
		"store":                  {fmt.Errorf("app: %w", broker.ErrStoreUnavailable), OutcomeStoreUnavailable, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := classify(test.err); got != test.want {
				t.Errorf("classify(%v) = %v, want %v", test.err, got, test.want)
			}
			if got := undecided(test.err); got != test.undecided {
				t.Errorf("undecided(%v) = %v, want %v", test.err, got, test.undecided)
			}
		})
	}
}

func TestPause(t *testing.T) {
	for _, test := range []struct {
		outcome    Outcome
		failures   int
		retryAfter time.Duration
		spread     float64
		want       time.Duration
	}{
		{OutcomeTransient, 1, 0, 0, time.Second},
		{OutcomeTransient, 1, 0, 0.5, 1500 * time.Millisecond},
		{OutcomeTransient, 4, 0, 1, 16 * time.Second},
		{OutcomeTransient, 9, 0, 1, 5 * time.Minute},
		{OutcomeTransient, 1 << 40, 0, 1, 5 * time.Minute},
		{OutcomeTransient, 1, time.Minute, 0, time.Minute},
		{OutcomeTransient, 1, time.Minute, 0.5, 63 * time.Second},
		{OutcomeTransient, 9, time.Second, 1, 5 * time.Minute},
		{OutcomeTransient, 1, 24 * time.Hour, 0, time.Hour},
		{OutcomeStoreUnavailable, 20, 0, 1, 5 * time.Second},
		{OutcomeClientRefused, 1, 0, 0.7, 15 * time.Minute},
		{OutcomeConfiguration, 9, 0, 0.7, 15 * time.Minute},
	} {
		if got := pause(test.outcome, test.failures, test.retryAfter, test.spread); got != test.want {
			t.Errorf("pause(%v, %d, %v, %v) = %v, want %v", test.outcome, test.failures, test.retryAfter, test.spread, got, test.want)
		}
	}
}

func TestReason(t *testing.T) {
	err := answered(400, "invalid_grant")
	for _, test := range []struct {
		outcome     Outcome
		interrupted bool
		want        string
	}{
		{OutcomeGrantRefused, true, "interrupted_rotation: "},
		{OutcomeGrantRefused, false, "the provider refused the refresh token (invalid_grant)"},
		{OutcomeTransient, true, "refresh at p: "},
	} {
		if got := reason(test.outcome, err, test.interrupted); !strings.HasPrefix(got, test.want) {
			t.Errorf("reason(%v, interrupted %v) = %q, want it to begin with %q", test.outcome, test.interrupted, got, test.want)
		}
	}
}
