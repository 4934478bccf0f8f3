package refresher_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/refresher"
)

// A clerk writes down what is to be done and what came of it, unless it refuses.
type clerk struct {
	brokertest.Unaudited
	refuses error
	book    []string
}

func (c *clerk) Begin(e broker.AuditEntry) (uint64, error) {
	if c.refuses != nil {
		return 0, c.refuses
	}
	c.book = append(c.book, fmt.Sprintf("%s %s by the daemon: %t", e.Verb, e.CredentialID, e.Caller.Daemon))
	return uint64(len(c.book)), nil
}

func (c *clerk) End(line uint64, _ broker.AuditEntry, o broker.Outcome) {
	c.book = append(c.book, fmt.Sprintf("%d ended: %v, generation %d", line, o.Err, o.Generation))
}

// TestRefreshesAreAudited: each has a line before the provider is asked and one
// afterwards, and without the first nothing is spent.
func TestRefreshesAreAudited(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		book := new(clerk)
		w := newWorld(t, func(c *refresher.Config) { c.Auditor = book })
		id := w.expired()
		book.refuses = fmt.Errorf("%w: writing the audit log", broker.ErrStoreUnavailable)
		if _, err := w.read(id, reader); !errors.Is(err, broker.ErrStoreUnavailable) {
			t.Errorf("Refresh without an audit = %v, want that the store is unavailable", err)
		}
		w.wantCalls(0)
		w.wantGeneration(id, 1)
		book.refuses = nil
		time.Sleep(time.Hour)
		w.mustRead(id, reader)
		w.wantCalls(1)
		want := []string{"refresh " + string(id) + " by the daemon: true", "1 ended: <nil>, generation 2"}
		if fmt.Sprint(book.book) != fmt.Sprint(want) {
			t.Errorf("the audit is %v, want %v", book.book, want)
		}
	})
}
