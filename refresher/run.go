package refresher

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/invectd/invectd/broker"
)

// maxSleep bounds how late Run notices that the machine slept or that its clock
// was set: timers do not count then. The time of day decides what is due.
const maxSleep = time.Minute

// Run keeps the schedule until ctx ends. Then it refuses new flights with
// [broker.ErrShuttingDown], and returns once those under way are over and what
// they brought is stored; each has its own deadline. The error says that tokens
// were lost since the store did not take them.
func (r *Refresher) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.stop(context.WithoutCancel(ctx))
		case <-r.wake:
		case <-timer.C:
		}
		timer.Reset(r.dispatch(ctx))
	}
}

// dispatch starts what is due and may run, and returns how long to sleep.
func (r *Refresher) dispatch(ctx context.Context) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := wallClock()
	switch passed := now.Sub(r.dispatched); {
	case passed > 2*maxSleep:
		r.spread(now)
	case broker.FromFuture(r.dispatched, now):
		r.setBack(now, -passed)
	}
	r.dispatched = now
	next := r.queue.ripen(now)
	for e := r.queue.start(); e != nil; e = r.queue.start() {
		r.workers.Go(func() { r.keepSchedule(ctx, e) })
	}
	if next.IsZero() {
		return maxSleep
	}
	return min(next.Sub(now), maxSleep)
}

// setBack plans everything anew after the clock was set back: what was due at a
// time of the former clock would wait by as much longer. r.mu is held.
func (r *Refresher) setBack(now time.Time, by time.Duration) {
	r.config.Log.Warn("the clock was set back; tokens that were issued by the former one are renewed", "by", by.Round(time.Second))
	for _, e := range r.queue.entries {
		e.notBefore = e.notBefore.Add(-by)
		if e.failure != nil {
			shifted := *e.failure // others may be reading it
			shifted.retryAt = shifted.retryAt.Add(-by)
			e.failure = &shifted
		}
		r.plan(e.id)
	}
}

// crowd is how many tokens may have ended unnoticed before they are spread out,
// and crowdRate how many of them are renewed in a second then. Whoever reads one
// does not wait for that.
const (
	crowd     = 1000
	crowdRate = 50
)

// spread puts off, after a start or a long sleep, what ended meanwhile: nobody
// has missed it yet. What still lives, and what is in doubt, comes first. r.mu is
// held.
func (r *Refresher) spread(now time.Time) {
	var ended []*entry
	for _, e := range r.queue.entries {
		s, _ := r.config.Tokens.Get(e.id)
		if e.due.IsZero() || e.due.After(now) || interrupted(s) || s.ExpiresAt.IsZero() || s.ExpiresAt.After(now) {
			continue
		}
		ended = append(ended, e)
	}
	if len(ended) <= crowd {
		return
	}
	over := float64(len(ended)) / crowdRate * float64(time.Second)
	for _, e := range ended {
		e.notBefore = now.Add(time.Duration(r.config.Spread() * over))
		r.queue.set(e, e.notBefore, now)
	}
	r.config.Log.Info("many tokens ended while nobody was here; they are renewed one after the other, those that are read at once",
		"ended", len(ended), "over", time.Duration(over).Round(time.Second))
}

// keepSchedule refreshes a credential that is due. The flight says in the log how
// it went.
func (r *Refresher) keepSchedule(ctx context.Context, e *entry) {
	if landed := r.joinDue(ctx, e); landed != nil {
		<-landed
		r.callers.Done()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue.finish(e)
	r.look()
}

// joinDue is step 1 for the schedule, which wants another token than the present
// one, whatever life that has left. It returns nil if the credential is not due
// any more, since a caller's flight came before, while its endpoint's circuit is open, and
// while stopping.
func (r *Refresher) joinDue(ctx context.Context, e *entry) <-chan singleflight.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, known := r.config.Tokens.Get(e.id)
	now := wallClock()
	if !known || e.due.IsZero() || e.due.After(now) {
		r.plan(e.id)
		return nil
	}
	if c, blocked := r.blocks(e, false, now); blocked {
		r.putOff(e, c, now)
		r.plan(e.id)
		return nil
	}
	e.flown = now
	landed, err := r.board(ctx, &flight{Refresher: r, id: e.id, need: broker.Need{After: s.Generation}})
	if err != nil {
		return nil // stopping
	}
	return landed
}

// stop waits until everything that was spent is stored.
func (r *Refresher) stop(ctx context.Context) error {
	r.mu.Lock()
	r.stopping = true
	r.mu.Unlock()
	r.workers.Wait()
	r.callers.Wait()

	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	for {
		lost := r.commitKept(ctx)
		if lost == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the new tokens of %d credentials are lost, since the store did not take them", lost)
		case <-time.After(time.Second):
		}
	}
}

// commitKept tries to store all tokens that the store did not take before, and
// returns how many are left. No flight is under way.
func (r *Refresher) commitKept(ctx context.Context) (left int) {
	for _, e := range r.withKept() {
		f := &flight{Refresher: r, id: e.id, provider: e.provider}
		if c, err := f.commit(ctx, e.kept); err == nil { // else it logs
			_, _ = f.publish(ctx, &c) // nobody waits for it
		}
	}
	return len(r.withKept())
}

func (r *Refresher) withKept() (entries []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.queue.entries {
		if e.kept != nil {
			entries = append(entries, e)
		}
	}
	return entries
}
