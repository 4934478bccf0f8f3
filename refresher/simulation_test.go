package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// A process is one life of the daemon. Once it crashed, nothing that it does
// has an effect.
type process struct {
	*store
	*provider
	crashed atomic.Bool
}

var errCrashed = fmt.Errorf("crashed: %w", broker.ErrStoreUnavailable)

func (p *process) Get(ctx context.Context, id broker.ID) (broker.Credential, error) {
	if p.crashed.Load() {
		return broker.Credential{}, errCrashed
	}
	return p.store.Get(ctx, id)
}

func (p *process) Writable(ctx context.Context) error {
	if p.crashed.Load() {
		return errCrashed
	}
	return p.store.Writable(ctx)
}

func (p *process) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	if p.crashed.Load() {
		return broker.Credential{}, errCrashed
	}
	return p.store.Update(ctx, id, change)
}

// server is the provider as this process reaches it.
type server struct {
	broker.AuthorizationServer
	process *process
}

func (s server) Refresh(ctx context.Context, k broker.Connection, refresh broker.Secret) (broker.TokenResponse, error) {
	if s.process.crashed.Load() {
		return broker.TokenResponse{}, errCrashed
	}
	return s.process.provider.Refresh(ctx, k, refresh)
}

// A simulation is a few hours of readers, persons, faults and crashes in the
// order that a seed says.
type simulation struct {
	*world
	random  *rand.Rand
	process *process
	stop    context.CancelFunc
	running sync.WaitGroup
	ids     []broker.ID
	doubt   map[string]bool // refresh tokens that were being spent in a crash
}

func TestSimulation(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { simulate(t, uint64(seed)) })
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	s := &simulation{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 1)), doubt: map[string]bool{}}
	s.provider.lifetime = 5 * time.Minute
	s.provider.takes = 200 * time.Millisecond
	s.boot()
	for range 5 {
		s.ids = append(s.ids, s.connect("p", 5*time.Minute))
	}
	for range 300 {
		time.Sleep(time.Duration(s.random.ExpFloat64() * float64(20*time.Second)))
		s.step()
	}
	s.heal()
	s.stop()
	s.running.Wait()
	s.checkReuse()
}

// boot starts the daemon.
func (s *simulation) boot() {
	s.process = &process{store: s.store, provider: s.provider}
	s.config.Store, s.config.Server = s.process, server{process: s.process}
	s.config.Connections.Apps = s.process
	s.restart()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	r, p := s.Refresher, s.process
	s.running.Go(func() {
		if err := r.Run(ctx); err != nil && !p.crashed.Load() {
			s.Errorf("Run = %v", err)
		}
	})
}

func (s *simulation) step() {
	id := s.ids[s.random.IntN(len(s.ids))]
	switch s.random.IntN(12) {
	case 0, 1, 2, 3:
		for range 1 + s.random.IntN(5) {
			s.reader(id, broker.Need{Validity: time.Duration(s.random.IntN(300)) * time.Second})
		}
	case 4:
		s.reader(id, broker.Need{After: s.stored(id).Generation, Force: true})
	case 5:
		s.provider.fail(outage(503, 0))
	case 6:
		s.provider.fail(fault{hangs: true})
	case 7:
		s.provider.fail(outage(429, time.Minute))
	case 8:
		s.provider.fail(fault{lost: true, err: &broker.ProviderError{Op: "refresh", Provider: "p", Sent: broker.SentUnknown}})
	case 9:
		failing := []string{"writable", "intent", "commit", "outcome"}[s.random.IntN(4)]
		s.store.setProbe(func(step string) error {
			if step == failing {
				return errors.New("disk full")
			}
			return nil
		})
		time.AfterFunc(time.Duration(s.random.IntN(60))*time.Second, func() { s.store.setProbe(nil) })
	case 10:
		answer := s.provider.consent()
		c, err := s.store.MemStore.Update(context.Background(), id, func(c *broker.Credential) error {
			c.Apply(answer, time.Now())
			return nil
		})
		if err != nil {
			s.Errorf("Update = %v", err)
		}
		s.tokens.Put(c)
		s.Schedule(c.Summary)
	case 11:
		s.crash()
	}
}

// crash ends the daemon in the middle of whatever it does and starts another.
// What was being spent, or waited to be stored, is in doubt.
func (s *simulation) crash() {
	s.process.crashed.Store(true)
	s.stop()
	for _, id := range s.ids {
		if c := s.stored(id); c.Intent != nil {
			s.doubt[c.Config.Text(broker.KeyRefreshToken)] = true
		}
	}
	s.boot()
}

// reader asks, and checks what it gets: it is durable and lives.
func (s *simulation) reader(id broker.ID, need broker.Need) {
	r, p := s.Refresher, s.process
	wait := time.Duration(s.random.IntN(40)) * time.Second
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		token, err := r.Refresh(ctx, id, need)
		if err != nil || p.crashed.Load() {
			return
		}
		c := s.stored(id)
		if token.Generation > c.Generation || token.Generation == c.Generation && !token.Access.Equal(c.Config.Secret(broker.KeyAccessToken)) {
			s.Errorf("generation %d was handed out while %d is stored", token.Generation, c.Generation)
		}
		if token.ValidFor(time.Now()) == 0 {
			s.Errorf("generation %d was handed out after its end", token.Generation)
		}
	})
}

// heal ends all faults: then every credential works, or waits for a person.
func (s *simulation) heal() {
	s.store.setProbe(nil)
	s.provider.mu.Lock()
	s.provider.script = nil
	s.provider.mu.Unlock()
	time.Sleep(20 * time.Minute)
	for _, id := range s.ids {
		if s.stored(id).Intent != nil {
			time.Sleep(time.Second) // the schedule is just at it
		}
		_, err := s.read(id, reader)
		c := s.stored(id)
		switch {
		case c.Status == broker.StatusActive && err == nil && c.Intent == nil:
		case c.Status == broker.StatusReauth && errors.Is(err, broker.ErrReauthorize):
			if !s.doubtful(c.Config.Text(broker.KeyRefreshToken)) {
				s.Errorf("a person has to consent, though no refresh token was in doubt: %s", c.StatusReason)
			}
		default:
			s.Errorf("in the end status = %s (%s), intent %v, Refresh = %v", c.Status, c.StatusReason, c.Intent, err)
		}
	}
}

func (s *simulation) checkReuse() {
	s.provider.mu.Lock()
	reused := s.provider.reused
	s.provider.reused = nil
	s.provider.mu.Unlock()
	for _, token := range reused {
		if !s.doubtful(token) {
			s.Errorf("%s was sent twice, though nothing was in doubt", token)
		}
	}
}

func (s *simulation) doubtful(token string) bool {
	s.provider.mu.Lock()
	defer s.provider.mu.Unlock()
	return s.doubt[token] || slices.Contains(s.provider.lost, token)
}

var _ broker.Store = (*process)(nil)
