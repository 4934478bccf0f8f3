package refresher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/invectd/invectd/broker"
)

// Config is what a [Refresher] is made of.
type Config struct {
	Store       broker.Store
	Connections broker.Connections
	Server      broker.AuthorizationServer
	Tokens      *broker.Tokens
	Events      *broker.Events
	Auditor     broker.Auditor
	Log         *slog.Logger

	// Timeout bounds each flight, but for its writes. 30 seconds if zero.
	Timeout time.Duration
	// Workers is how many refreshes the schedule runs at once. 32 if zero.
	Workers int
	// PerProvider is how many of them may be of one provider. 8 if zero.
	PerProvider int
	// Spread returns a random number in [0,1) to part crowds with; rand.Float64
	// if nil. A simulation gives its own, to be repeatable.
	Spread func() float64
	// Trace is optional.
	Trace *Trace
}

func (c *Config) complete() error {
	if c.Store == nil || c.Connections.Definitions == nil || c.Connections.Apps == nil ||
		c.Server == nil || c.Tokens == nil || c.Events == nil || c.Auditor == nil || c.Log == nil {
		return errors.New("refresher: Store, Connections, Server, Tokens, Events, Auditor and Log are needed")
	}
	if c.Timeout < 0 || c.Workers < 0 || c.PerProvider < 0 {
		return errors.New("refresher: Timeout, Workers and PerProvider cannot be negative")
	}
	if c.Timeout == 0 {
		c.Timeout = broker.DefaultWait
	}
	if c.Workers == 0 {
		c.Workers = 32
	}
	if c.PerProvider == 0 {
		c.PerProvider = 8
	}
	if c.Spread == nil {
		c.Spread = rand.Float64
	}
	return nil
}

// A Refresher implements [broker.Refresher]. Its [Refresher.Run] has to run
// beside it for the schedule to be kept.
type Refresher struct {
	config  Config
	flights singleflight.Group // by credential id
	callers sync.WaitGroup     // who joined a flight that is under way; Add under mu
	workers sync.WaitGroup     // owned by Run
	wake    chan struct{}      // holds one: Run looks at the queue again

	mu         sync.Mutex
	queue      queue               // guarded by mu
	circuits   map[string]*circuit // guarded by mu; by endpoint, those that fail
	dispatched time.Time           // guarded by mu: when the queue was last looked at
	stopping   bool                // guarded by mu
}

var _ broker.Refresher = (*Refresher)(nil)

// New returns a Refresher. It starts nothing.
func New(c Config) (*Refresher, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	return &Refresher{
		config:   c,
		wake:     make(chan struct{}, 1),
		queue:    newQueue(c.Workers, c.PerProvider),
		circuits: map[string]*circuit{},
	}, nil
}

const (
	// maxJoins bounds how often a caller joins again whose need was not met.
	maxJoins = 3
	// waitAgain is when a caller may ask again whose wait is over.
	waitAgain = 2 * time.Second
	// refusedPause is how long a refused grant is not shown to the provider
	// again, however many ask for it by force.
	refusedPause = time.Minute
)

// Refresh implements [broker.Refresher]. One with Force does
// not wait for the end of the pause after a failure, and may show the provider a
// grant again that it refused before, once a minute at most.
//
// Beside the provider's, the error is or wraps [broker.ErrReauthorize],
// [broker.ErrDisabled], [broker.ErrAuthorizationPending], [broker.ErrNotFound],
// [broker.ErrStoreUnavailable], [broker.ErrWaitEnded] or
// [broker.ErrShuttingDown]. Where it is worth asking again it is a
// [*broker.RetryError].
func (r *Refresher) Refresh(ctx context.Context, id broker.ID, need broker.Need) (broker.Token, error) {
	for range maxJoins {
		if token, ok := r.committed(id); ok && need.Met(token, time.Now()) {
			return token, nil
		}
		landed, err := r.join(ctx, id, need)
		if err != nil {
			return broker.Token{}, err
		}
		token, err := r.await(ctx, landed)
		switch {
		case errors.Is(err, errSuperseded):
			// Another token was written meanwhile. The next flight reads it.
		case err != nil:
			return broker.Token{}, err
		case need.Met(token, time.Now()):
			return token, nil
		}
	}
	return broker.Token{}, &broker.RetryError{
		After: waitAgain,
		Err:   fmt.Errorf("credential %s changes again and again: %w", id, broker.ErrWaitEnded),
	}
}

// committed returns the token in memory of a credential that is switched on.
func (r *Refresher) committed(id broker.ID) (broker.Token, bool) {
	if s, ok := r.config.Tokens.Get(id); !ok || !s.IsActive {
		return broker.Token{}, false
	}
	return r.config.Tokens.Token(id)
}

// join is step 1 for a caller: it joins the flight of the credential, or starts
// one, unless the pause after a failure is not over or the circuit of its
// endpoint is open.
func (r *Refresher) join(ctx context.Context, id broker.ID, need broker.Need) (landed <-chan singleflight.Result, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &flight{Refresher: r, id: id, need: need, forced: need.Force}
	if s, ok := r.config.Tokens.Get(id); ok && s.IsActive && s.AwaitsPerson() {
		// Readers would undo the interval that the provider asks for.
		return nil, fmt.Errorf("nobody has consented to credential %q on the other device yet: %w", s.Name, broker.ErrAuthorizationPending)
	}
	if e, ok := r.queue.entries[id]; ok && !r.stopping {
		now := wallClock()
		if e.failure != nil && e.failure.pauses(f.forced, now) {
			return nil, e.failure.answer(now)
		}
		if c, blocked := r.blocks(e, f.forced, now); blocked {
			r.hold(e, c)
			return nil, c.answer(now)
		}
	}
	return r.board(ctx, f)
}

// board joins the flight under way, or starts f. The lock is held from the look
// at how the last one ended, which is written before a flight is over, so that
// nobody repeats it unknowingly; and nobody gets in once stop waits. Whoever gets
// no error has to receive from landed and then call r.callers.Done.
func (r *Refresher) board(ctx context.Context, f *flight) (landed <-chan singleflight.Result, err error) {
	if r.stopping {
		return nil, fmt.Errorf("no refresh is started any more: %w", broker.ErrShuttingDown)
	}
	r.callers.Add(1)
	return r.flights.DoChan(string(f.id), func() (any, error) { return f.fly(ctx) }), nil
}

// await waits for a flight as long as ctx lets it. The flight goes on.
func (r *Refresher) await(ctx context.Context, landed <-chan singleflight.Result) (broker.Token, error) {
	select {
	case result := <-landed:
		r.callers.Done()
		token, _ := result.Val.(broker.Token)
		return token, result.Err
	case <-ctx.Done():
		go func() {
			<-landed
			r.callers.Done()
		}()
		return broker.Token{}, &broker.RetryError{After: waitAgain, Err: broker.ErrWaitEnded}
	}
}

// Schedule implements [broker.Refresher]. The credential has to be known to
// [broker.Tokens] already, whose newest summary counts: commits may be told here
// in another order than they were made.
func (r *Refresher) Schedule(s broker.Summary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan(s.ID)
}

// Forget implements [broker.Refresher].
func (r *Refresher) Forget(id broker.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue.drop(id)
}

// Due implements [broker.Refresher]. A time in the past means that the refresh
// is under way or waits for its turn.
func (r *Refresher) Due(id broker.ID) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.queue.entries[id]; ok {
		return e.due
	}
	return time.Time{}
}

// plan schedules a credential by what was committed last. r.mu is held.
func (r *Refresher) plan(id broker.ID) {
	s, known := r.config.Tokens.Get(id)
	if !known {
		r.queue.drop(id)
		return
	}
	now := wallClock()
	definition, _ := r.config.Connections.Definitions.Definition(s.Provider)
	due := nextRefresh(s, definition.Refresh, now)
	e, ok := r.queue.entries[id]
	if !ok {
		if due.IsZero() {
			return // most credentials outside OAuth2 never get an entry
		}
		e = r.queue.entry(id, s.Provider)
	}
	if e.failure != nil && e.kept == nil && !e.failure.holds(s) {
		e.failure = nil
		r.config.Tokens.Hinder(id, "")
	}
	if e.held && (s.Generation != e.heldGeneration || !s.Renewable) {
		r.release(e)
	}
	e.doubt, e.graceUntil = interrupted(s), time.Time{}
	if grace := shortGrace(definition.Refresh); e.doubt && grace > 0 {
		e.graceUntil = s.Intent.At.Add(grace)
	}
	if !due.IsZero() && !now.Before(e.graceUntil) {
		due = later(due, e.notBefore)
	}
	switch {
	case e.failure == nil:
	case e.kept != nil:
		due = e.failure.retryAt
	case !due.IsZero():
		due = later(due, e.failure.retryAt)
	}
	if again := e.flown.Add(minAge); !due.IsZero() && !e.flown.After(now) {
		due = later(due, again) // whatever happened, the schedule does not spin
	}
	r.queue.set(e, due, now)
	r.look()
}

// look has Run look at the queue.
func (r *Refresher) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
