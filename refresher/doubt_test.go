package refresher

import (
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

func TestHurried(t *testing.T) {
	doubtAt := time.Date(2026, 5, 6, 7, 0, 0, 0, time.UTC)
	for _, test := range []struct{ grace, age, planned, want time.Duration }{
		{0, time.Second, time.Minute, time.Minute},                                        // nothing is declared
		{30 * time.Second, 0, time.Minute, 15 * time.Second},                              // half of what is left
		{30 * time.Second, 20 * time.Second, time.Minute, 5 * time.Second},                // and so on
		{30 * time.Second, 15 * time.Second, 2 * time.Second, 2 * time.Second},            // soon enough
		{30 * time.Second, 29 * time.Second, time.Minute, time.Second},                    // not in a storm
		{30 * time.Second, 29500 * time.Millisecond, time.Minute, 500 * time.Millisecond}, // the last moment
		{30 * time.Second, 30 * time.Second, time.Minute, time.Minute},                    // over
		{10 * time.Minute, 0, time.Minute, time.Minute},
	} {
		now := doubtAt.Add(test.age)
		if got := hurried(now.Add(test.planned), doubtAt, now, test.grace).Sub(now); got != test.want {
			t.Errorf("%v after, with a grace of %v, planned in %v: in %v, want %v", test.age, test.grace, test.planned, got, test.want)
		}
	}
}

func TestAskFor(t *testing.T) {
	for _, test := range []struct{ grace, want time.Duration }{
		{0, 30 * time.Second},
		{30 * time.Second, 15 * time.Second},
		{time.Second, 5 * time.Second},
		{10 * time.Minute, 30 * time.Second},
	} {
		if got := askFor(30*time.Second, test.grace); got != test.want {
			t.Errorf("askFor(30s, %v) = %v, want %v", test.grace, got, test.want)
		}
	}
	if got := shortGrace(broker.RefreshPolicy{ReuseGrace: broker.Unlimited}); got != 0 {
		t.Errorf("an unlimited grace needs haste within %v", got)
	}
}

// What is told of a refresh token says no more than is known of it.
func TestReasons(t *testing.T) {
	silence := &broker.ProviderError{Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentUnknown, Timeout: true}
	refused := answered(400, "invalid_grant")
	for _, test := range []struct {
		outcome Outcome
		err     error
		doubt   bool
		want    string
		never   string
	}{
		{OutcomeTransient, silence, true, "the refresh token may be spent", "interrupted_rotation"},
		{OutcomeTransient, answered(503, ""), false, "503", "spent"},
		{OutcomeTransient, answered(503, ""), true, "the refresh token may be spent", "interrupted_rotation"},
		{OutcomeGrantRefused, refused, true, "interrupted_rotation: ", "may"},
		{OutcomeGrantRefused, refused, false, "the provider refused the refresh token (invalid_grant)", "interrupted"},
	} {
		got := reason(test.outcome, test.err, test.doubt)
		if !strings.Contains(got, test.want) || strings.Contains(got, test.never) {
			t.Errorf("reason(%s, %v, %v) = %q, want %q in it and not %q", test.outcome, test.err, test.doubt, got, test.want, test.never)
		}
	}
}
