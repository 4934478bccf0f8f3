package refresher

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// noDefinitions knows no provider; nobody is asked in these tests.
type (
	known         = broker.Definitions
	noDefinitions struct{ known }
)

func (noDefinitions) Definition(string) (broker.SourcedDefinition, error) {
	return broker.SourcedDefinition{}, broker.ErrUnknownProvider
}

// TestClockSetBack: after the clock was set back by hours, what it had planned for
// its own hours is planned anew, spread over a minute, and a pause is no longer than
// it was.
func TestClockSetBack(t *testing.T) {
	tokens := broker.NewTokens()
	r, err := New(Config{
		Store: new(brokertest.MemStore), Server: struct{ broker.AuthorizationServer }{}, Tokens: tokens, Events: broker.NewEvents(),
		Auditor: brokertest.Unaudited{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Connections: broker.Connections{Definitions: noDefinitions{}, Apps: new(brokertest.MemStore)},
	})
	if err != nil {
		t.Fatal(err)
	}
	const step = 5 * time.Hour
	now := wallClock()
	former := now.Add(step) // what the clock said before
	const crowd = 200
	for i := range crowd {
		s := broker.Summary{
			ID: broker.ID(fmt.Sprint("c", i)), Provider: "p", AuthType: broker.AuthOAuth2, IsActive: true, Renewable: true,
			Status: broker.StatusActive, Generation: 1, IssuedAt: former.Add(-10 * time.Minute), ExpiresAt: former.Add(50 * time.Minute),
		}
		tokens.Load(s)
		r.Schedule(s)
	}
	failing := broker.Summary{
		ID: "failing", Provider: "p", AuthType: broker.AuthOAuth2, IsActive: true, Renewable: true, Status: broker.StatusDegraded,
		Generation: 1, IssuedAt: former.Add(-2 * time.Hour), ExpiresAt: former.Add(-time.Hour), RetryAt: former.Add(4 * time.Minute),
	}
	tokens.Load(failing)
	r.Schedule(failing)
	r.mu.Lock()
	r.queue.entries["failing"].failure = &failure{
		outcome: OutcomeTransient, err: io.EOF, generation: 1, count: 3, at: former, retryAt: former.Add(4 * time.Minute), stored: true,
	}
	r.dispatched = former
	r.setBack(now, step)
	r.mu.Unlock()
	soon, late := 0, 0
	for i := range crowd {
		switch due := r.Due(broker.ID(fmt.Sprint("c", i))); {
		case due.Before(now) || due.After(now.Add(time.Minute)):
			t.Errorf("c%d is due at %v, want it within a minute of %v", i, due, now)
		case due.Before(now.Add(30 * time.Second)):
			soon++
		default:
			late++
		}
	}
	if soon < crowd/4 || late < crowd/4 {
		t.Errorf("%d are due in the first half of the minute and %d in the second, want them spread", soon, late)
	}
	if due := r.Due("failing"); due.Sub(now).Round(time.Minute) != 4*time.Minute {
		t.Errorf("what failed is due at %v, want it 4 minutes from %v", due, now)
	}
	// After a restart nobody remembers the step; the pauses that were written down
	// are no longer than any pause can be.
	if due := nextRefresh(failing, broker.RefreshPolicy{}, now); due.After(now) {
		t.Errorf("after a restart it is due at %v, want it now", due)
	}
}
