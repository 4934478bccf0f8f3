package refresher

import (
	"errors"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// TestCircuit walks the state machine of one endpoint: each step is something
// that happens to it, after so many seconds, and what it is like then.
func TestCircuit(t *testing.T) {
	type step struct {
		after time.Duration
		does  string // "fails", "leaves", "asks", "forces"
		id    broker.ID
		admit bool          // of those who ask
		wait  time.Duration // until the next probe; 0: the circuit is closed
	}
	down := answered(503, "")
	asked := answered(503, "")
	asked.RetryAfter = 10 * time.Minute
	for name, test := range map[string]struct {
		cause error
		steps []step
	}{
		"one credential never opens it": {down, []step{
			{0, "fails", "a", false, 0}, {0, "fails", "a", false, 0}, {0, "fails", "a", false, 0}, {0, "fails", "a", false, 0},
			{0, "fails", "a", false, 0}, {0, "fails", "a", false, 0}, {0, "asks", "a", true, 0},
		}},
		"several open it, one probes": {down, []step{
			{0, "fails", "a", false, 0}, {0, "fails", "b", false, 0}, {0, "fails", "c", false, 0}, {0, "fails", "d", false, 0},
			{0, "asks", "f", true, 0}, {0, "fails", "e", false, 3 * time.Second}, {0, "asks", "g", false, 3 * time.Second},
			{0, "fails", "f", false, 3 * time.Second}, // sent before it opened
			{3, "asks", "a", true, 0}, {0, "asks", "b", false, 0}, {0, "forces", "b", false, 0},
			{0, "fails", "a", false, 5 * time.Second}, {2, "asks", "b", false, 3 * time.Second},
			{0, "forces", "b", true, 3 * time.Second}, {5, "asks", "c", false, -2 * time.Second},
			{0, "leaves", "b", false, -2 * time.Second}, {0, "asks", "c", true, -2 * time.Second},
			{0, "fails", "c", false, 9 * time.Second},
		}},
		"the clock is set back": {down, []step{
			{0, "fails", "a", false, 0}, {0, "fails", "b", false, 0}, {0, "fails", "c", false, 0}, {0, "fails", "d", false, 0},
			{0, "fails", "e", false, 3 * time.Second}, {0, "asks", "a", false, 3 * time.Second},
			{-3600, "asks", "a", true, time.Hour + 3*time.Second}, {0, "fails", "a", false, 5 * time.Second},
		}},
		"the provider says when": {asked, []step{
			{0, "fails", "a", false, 0}, {0, "fails", "b", false, 0}, {0, "fails", "c", false, 0}, {0, "fails", "d", false, 0},
			{0, "fails", "e", false, 10*time.Minute + 30*time.Second}, {600, "asks", "a", false, 30 * time.Second}, {30, "asks", "a", true, 0},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &circuit{failing: map[broker.ID]bool{}}
			now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
			for i, s := range test.steps {
				now = now.Add(s.after * time.Second)
				admit := false
				switch s.does {
				case "fails":
					c.failed(s.id, test.cause, now, 0.5)
				case "leaves":
					c.leave(s.id)
				default:
					admit = c.admit(s.id, s.does == "forces", now)
				}
				wait := time.Duration(0)
				if c.trips > 0 {
					wait = c.probeAt.Sub(now)
				}
				if admit != s.admit || wait != s.wait {
					t.Fatalf("step %d: %s %s: admitted %v, next probe in %v, want %v, %v", i, s.id, s.does, admit, wait, s.admit, s.wait)
				}
			}
		})
	}
}

// Errors about one request must not open the circuit of all, and those who
// cannot tell do neither.
func TestSickAndHealthy(t *testing.T) {
	discovery := answered(404, "not_found")
	discovery.Op = opDiscover
	for name, test := range map[string]struct {
		err           error
		sick, healthy bool
	}{
		"tokens":             {nil, false, true},
		"never sent":         {&broker.ProviderError{Sent: broker.SentNever}, true, false},
		"no answer":          {&broker.ProviderError{Sent: broker.SentUnknown, Timeout: true}, true, false},
		"500":                {answered(500, ""), true, false},
		"503 with a code":    {answered(503, "invalid_grant"), true, false},
		"429":                {answered(429, "slow_down"), true, false},
		"408":                {answered(408, ""), true, false},
		"invalid_grant":      {answered(400, "invalid_grant"), false, true},
		"invalid_client":     {answered(401, "invalid_client"), false, true},
		"a firewall's 403":   {answered(403, ""), false, false},
		"an unusable answer": {answered(200, ""), false, false},
		"metadata":           {discovery, false, false},
		"a panic":            {errPanic, false, false},
		"the store":          {broker.ErrStoreUnavailable, false, false},
		"something else":     {errors.New("else"), false, false},
	} {
		if sick(test.err) != test.sick || healthy(test.err) != test.healthy {
			t.Errorf("%s: sick %v, healthy %v, want %v, %v", name, sick(test.err), healthy(test.err), test.sick, test.healthy)
		}
	}
}

func TestEndpointOf(t *testing.T) {
	for _, test := range []struct {
		definition broker.Definition
		want       string
	}{
		{broker.Definition{ID: "p", TokenURL: "https://token.example/{tenant}/t"}, "token.example"},
		{broker.Definition{ID: "p", TokenURL: "https://{tenant}.example/t"}, "acme.example"},
		{broker.Definition{ID: "p", TokenURL: "https://token.example/t", RefreshRequest: broker.TokenRequest{URL: "https://refresh.example"}}, "refresh.example"},
		{broker.Definition{ID: "p", Issuer: "https://issuer.example"}, "issuer.example"},
		{broker.Definition{ID: "p", TokenURL: "https://{absent}.example/t"}, "p"},
		{broker.Definition{ID: "p"}, "p"},
	} {
		k := broker.Connection{Definition: test.definition, Inputs: map[string]string{"tenant": "acme"}}
		if got := endpointOf(k); got != test.want {
			t.Errorf("endpointOf(%+v) = %q, want %q", test.definition, got, test.want)
		}
	}
}
