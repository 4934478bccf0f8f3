package audit

import (
	"sync"
	"time"

	"github.com/invectd/invectd/broker"
)

const (
	// denialsAtOnce is how many denials of one caller have a line of their own
	// between two counts. Whoever is refused more often than that cannot fill a
	// disk with it.
	denialsAtOnce = 20
	// deniedCallers bounds how many callers are told apart between two counts. All
	// further ones are counted as one.
	deniedCallers = 1024
)

// denials count what is refused.
type denials struct {
	mu      *sync.Mutex
	callers map[who]*denied // guarded by mu; emptied with each count
}

type denied struct {
	caller  *Caller // nil where it stands for many
	written int
	counted uint64
	since   time.Time // of the first that was counted
}

func newDenials() denials { return denials{new(sync.Mutex), map[who]*denied{}} }

// few reports whether a denial is to be written; else it is counted.
func (s *denials) few(e broker.AuditEntry, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := whoIs(&e.Caller)
	of, ok := s.callers[key]
	if !ok && len(s.callers) >= deniedCallers {
		key = who{}
		of, ok = s.callers[key]
	}
	if !ok {
		of = new(denied)
		if key != (who{}) {
			of.caller = key.line(e.Caller.PID)
		}
		s.callers[key] = of
	}
	if of.written < denialsAtOnce {
		of.written++
		return true
	}
	if of.counted++; of.counted == 1 {
		of.since = now.UTC()
	}
	return false
}

// counts returns a line for each caller who was refused more often than was
// written, and begins anew.
func (s *denials) counts() (lines []*Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range s.callers {
		if of.counted > 0 {
			lines = append(lines, &Line{Event: EventDenials, Caller: of.caller, Count: of.counted, Since: new(of.since)})
		}
	}
	clear(s.callers)
	return lines
}
