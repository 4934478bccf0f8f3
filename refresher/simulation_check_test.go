package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// violate notes that an invariant does not hold. s.mu is held.
func (s *simulation) violate(format string, args ...any) {
	if len(s.violations) < 10 {
		s.violations = append(s.violations, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

func (s *simulation) report(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violate(format, args...)
}

// busy counts the writes of one moment. Time stands still in a simulation while
// anybody is at work, so a loop that waits for nothing would never end.
func (s *simulation) busy(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now != s.moment {
		s.moment, s.writes = now, 0
	}
	if s.writes++; s.writes > 1000 {
		s.violate("a busy loop: more than %d writes at one moment", s.writes-1)
		p.kill()
	}
}

// noticed reports whether an invariant was violated.
func (s *simulation) noticed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.violations) > 0
}

// remember takes note of what is durable.
func (s *simulation) remember(c broker.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable[c.Config.Text(broker.KeyAccessToken)] = true
	s.durable[c.Config.Text(broker.KeyRefreshToken)] = true
}

// maxPerMinute is how often one credential may be asked for in a minute, beside
// what operators force: the first few attempts of a backoff, and a token that is
// rejected as soon as it may be.
const maxPerMinute = 25

// begin checks that a request may be made at all: that nobody else uses its
// refresh token, that it was not spent unless the answer is lost, and that there
// are not too many.
func (s *simulation) begin(by *process, provider, refresh string) (*simUse, simFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.server.grants[refresh]
	for _, earlier := range g.uses {
		switch {
		case !earlier.ended && earlier.by.alive():
			s.violate("%s is used twice at once", refresh)
		case !g.spent.IsZero() && earlier.open():
			s.violate("%s is used again, though the process has the answer", refresh)
		}
	}
	for _, successor := range g.successors {
		if s.durable[successor] {
			s.violate("%s is used again, though %s, which came for it, is stored", refresh, successor)
		}
	}
	now := time.Now()
	calls := append(s.server.calls[g.id], now)
	for len(calls) > 0 && now.Sub(calls[0]) > time.Minute {
		calls = calls[1:]
	}
	s.server.calls[g.id] = calls
	if len(calls) > maxPerMinute+s.forced[g.id] {
		s.violate("%s was asked for %d times in a minute", g.id, len(calls))
	}
	s.checkSaved(refresh, g, graceOf(provider))
	use := &simUse{by: by, at: now}
	g.uses = append(g.uses, use)
	return use, s.server.take(provider, g.id)
}

// checkSaved checks of a refresh token whose answer was lost that the next request
// with it came before the provider's grace was over, unless the daemon was down
// for that or could not store anything. s.mu is held.
func (s *simulation) checkSaved(refresh string, g *simGrant, grace time.Duration) {
	over := g.spent.Add(grace)
	if g.spent.IsZero() || grace == 0 || time.Now().Before(over) || s.booted.After(over.Add(-5*time.Second)) || s.unkeptUntil.After(g.spent) {
		return
	}
	for _, use := range g.uses {
		if use.at.After(g.spent) && use.at.Before(over) {
			return
		}
	}
	s.violate("the rotation of %s was not saved: it came again %v after it was spent, and had %v", refresh, time.Since(g.spent), grace)
}

func (s *simulation) end(use *simUse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	use.ended = true
}

// checkServed checks what a caller got: it is durable, and lives.
func (s *simulation) checkServed(token broker.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	access := token.Access.Reveal()
	if !s.durable[access] {
		s.violate("%s was handed out, and is not stored", access)
	}
	if ends := s.server.expires[access]; !time.Now().Before(ends) {
		s.violate("%s was handed out %v after its end", access, time.Since(ends))
	}
}

// check looks at what everybody could read now.
func (s *simulation) check() {
	if !s.process.alive() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.live {
		if token, ok := s.tokens.Token(id); ok && !s.durable[token.Access.Reveal()] {
			s.violate("%s is published, and is not stored", token.Access.Reveal())
		}
	}
}

// checkPromises checks, after a start, that what was acknowledged is there.
func (s *simulation) checkPromises() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.promised {
		c, err := s.process.Store.Get(context.Background(), id)
		if p.deleted {
			if !errors.Is(err, broker.ErrNotFound) {
				s.violate("%s is back after it was deleted: %v", id, err)
			}
			continue
		}
		if err != nil {
			if s.isLive(id) {
				s.violate("%s is lost: %v", id, err)
			}
			continue
		}
		if written, _ := strconv.Atoi(c.Description); written < p.description {
			s.violate("%s has description %d, and %d was acknowledged", id, written, p.description)
		}
		if g := s.server.grants[c.Config.Text(broker.KeyRefreshToken)]; g.family.number < p.family {
			s.violate("%s has tokens of consent %d, and %d was acknowledged", id, g.family.number, p.family)
		}
	}
}

func (s *simulation) isLive(id broker.ID) bool {
	for _, other := range s.live {
		if other == id {
			return true
		}
	}
	return false
}

// heal ends all faults: then every credential works, or waits for a person with
// a reason that is true.
func (s *simulation) heal() {
	s.mu.Lock()
	s.crashAt = crashPoint{}
	s.mu.Unlock()
	s.pass(3 * time.Minute) // the disk is not full for longer
	s.mu.Lock()
	clear(s.failing)
	clear(s.lying)
	clear(s.server.script)
	clear(s.server.outages)
	s.mu.Unlock()
	s.pass(20 * time.Minute)
	for _, id := range s.live {
		for range 3 {
			if c, err := s.process.Get(context.Background(), id); err == nil && c.Intent == nil {
				break
			}
			time.Sleep(5 * time.Second) // the schedule is just at it
		}
		reading, err := s.broker.Token(context.Background(), root, string(id), broker.ReadRequest{MinValidity: time.Minute, Wait: 30 * time.Second})
		c, getErr := s.process.Get(context.Background(), id)
		if getErr != nil {
			s.report("in the end %s cannot be read: %v", id, getErr)
			continue
		}
		s.checkEnd(c, reading, err)
	}
}

func (s *simulation) checkEnd(c broker.Credential, reading broker.Reading, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refresh := c.Config.Text(broker.KeyRefreshToken)
	g := s.server.grants[refresh]
	interrupted := strings.Contains(c.StatusReason, "interrupted_rotation")
	switch {
	case c.Status == broker.StatusActive && err == nil && !reading.Degraded && c.Intent == nil:
	case c.Status != broker.StatusReauth || !errors.Is(err, broker.ErrReauthorize):
		s.violate("in the end %s is %s (%s), intent %v, and reading it is %v", c.ID, c.Status, c.StatusReason, c.Intent, err)
	case g.family.withdrawn:
	case g.spent.IsZero():
		s.violate("a person has to consent for %s, and %s was never spent: %s", c.ID, refresh, c.StatusReason)
	case !interrupted:
		s.violate("%s waits for a person since an answer was lost, and says: %s", c.ID, c.StatusReason)
	default:
		s.consents++
	}
}
