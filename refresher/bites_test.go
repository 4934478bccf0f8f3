package refresher_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

// A breakage takes one step out of the protocol, from outside: what the
// refresher stands on is bent until it is as if the step were not there.
type breakage string

const (
	intact       breakage = "nothing"
	noReRead     breakage = "the re-read"
	noIntent     breakage = "the intent"
	publishFirst breakage = "the commit before publishing"
	ownContext   breakage = "the detached context"
	noSingle     breakage = "the single flight"
	noBackoff    breakage = "the backoff"
	noHaste      breakage = "the haste within a grace window"
)

// TestSimulationBites takes the steps out, one at a time, and wants the
// simulation to notice each.
func TestSimulationBites(t *testing.T) {
	for _, broken := range []breakage{noReRead, noIntent, publishFirst, ownContext, noSingle, noBackoff, noHaste} {
		t.Run("without "+string(broken), func(t *testing.T) {
			const patience = 30
			for seed := range uint64(patience) {
				if s := simulate(t, seed, broken); len(s.violations) > 0 {
					t.Logf("seed %d: %s", seed, s.violations[0])
					return
				}
			}
			t.Errorf("%d seeds did not notice that %s is gone", patience, broken)
		})
	}
}

// config is what the refresher of a process is made of.
func (b breakage) config(s *simulation, c refresher.Config) refresher.Config {
	switch b {
	case noReRead:
		c.Store = &forgetful{process: s.process, known: map[broker.ID]broker.Credential{}}
	case noIntent:
		c.Store = careless{s.process}
	case publishFirst:
		c.Store = hasty{s.process, s.tokens}
	case ownContext:
		c.Server = tied{simClient{s: s, by: s.process}}
	case noBackoff:
		c.Store = impatient{s.process}
	}
	return c
}

// policy is what the refresher knows of a provider.
func (b breakage) policy(provider string) (p broker.RefreshPolicy) {
	if b != noHaste {
		p.ReuseGrace = broker.Duration(graceOf(provider))
	}
	return p
}

// refresher is what the broker of a process speaks to.
func (b breakage) refresher(r *refresher.Refresher, c refresher.Config) broker.Refresher {
	if b == noSingle {
		return everybodysOwn{r, c}
	}
	return r
}

// booted runs beside a process.
func (b breakage) booted(s *simulation, r *refresher.Refresher) {
	if b != noBackoff {
		return
	}
	tokens, p := s.tokens, s.process
	s.running.Go(func() { // whatever failed is tried again at once
		for {
			select {
			case <-time.After(time.Second):
			case <-p.died:
				return
			}
			for _, summary := range tokens.All() {
				if summary.Status == broker.StatusDegraded {
					r.Forget(summary.ID)
					r.Schedule(summary)
				}
			}
		}
	})
}

// forgetful reads a credential once, and knows after that only what it wrote.
type forgetful struct {
	*process
	mu    sync.Mutex
	known map[broker.ID]broker.Credential
}

func (f *forgetful) Get(ctx context.Context, id broker.ID) (broker.Credential, error) {
	f.mu.Lock()
	c, ok := f.known[id]
	f.mu.Unlock()
	if ok {
		return c, nil
	}
	return f.keep(f.process.Get(ctx, id))
}

func (f *forgetful) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	return f.keep(f.process.Update(ctx, id, change))
}

func (f *forgetful) keep(c broker.Credential, err error) (broker.Credential, error) {
	if err == nil {
		f.mu.Lock()
		f.known[c.ID] = c
		f.mu.Unlock()
	}
	return c, err
}

// careless writes no intent.
type careless struct{ *process }

func (s careless) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	return s.process.Update(ctx, id, func(c *broker.Credential) error {
		err := change(c)
		c.Intent = nil
		return err
	})
}

// hasty publishes before it commits.
type hasty struct {
	*process
	tokens *broker.Tokens
}

func (s hasty) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	return s.process.Update(ctx, id, func(c *broker.Credential) error {
		err := change(c)
		if err == nil {
			early := *c
			early.Revision++
			s.tokens.Put(early)
		}
		return err
	})
}

// tied gives up a request when the caller leaves who began it.
type tied struct{ simClient }

func (c tied) Refresh(ctx context.Context, k broker.Connection, token broker.Secret) (broker.TokenResponse, error) {
	if caller, ok := ctx.Value(callerKey{}).(context.Context); ok {
		both, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(caller, cancel)()
		ctx = both
	}
	return c.simClient.Refresh(ctx, k, token)
}

// impatient forgets when to try again.
type impatient struct{ *process }

func (s impatient) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	return s.process.Update(ctx, id, func(c *broker.Credential) error {
		err := change(c)
		c.RetryAt = time.Time{}
		return err
	})
}

// everybodysOwn has each caller make a flight of its own.
type everybodysOwn struct {
	*refresher.Refresher // the schedule's
	config               refresher.Config
}

func (r everybodysOwn) Refresh(ctx context.Context, id broker.ID, need broker.Need) (broker.Token, error) {
	own, err := refresher.New(r.config)
	if err != nil {
		return broker.Token{}, err
	}
	return own.Refresh(ctx, id, need)
}
