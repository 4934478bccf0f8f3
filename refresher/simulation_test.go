package refresher_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/refresher"
)

var (
	oneSeed  = flag.Int("seed", -1, "run only the simulation of this seed")
	allSeeds = flag.Int("seeds", 0, "run the simulations of so many seeds")
)

// TestSimulation runs whole daemons through some hours of readers, runners whose
// tokens were rejected, operators, persons, outages, full disks and crashes, in
// an order that a seed decides. Time is virtual. Every tenth seed is played on a
// real store, whose folder is copied where the daemon crashes.
func TestSimulation(t *testing.T) {
	from, to := 0, 300
	switch {
	case *oneSeed >= 0:
		from, to = *oneSeed, *oneSeed+1
	case *allSeeds > 0:
		to = *allSeeds
	case testing.Short():
		to = 21
	}
	var total simCounts
	crashes, consents, devices := 0, 0, map[broker.DeviceStatus]int{}
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			s := simulate(t, uint64(seed), intact)
			for _, violation := range s.violations {
				t.Errorf("%s", violation)
			}
			if t.Failed() {
				t.Logf("to replay: go test -run TestSimulation -seed %d ./refresher", seed)
			}
			total.rotations += s.server.counts.rotations
			total.graced += s.server.counts.graced
			total.reuses += s.server.counts.reuses
			total.lost += s.server.counts.lost
			crashes += s.crashes
			for status, count := range s.devices {
				devices[status] += count
			}
			consents += s.consents
		})
	}
	t.Logf("device grants: %v", devices)
	t.Logf("%d seeds, %d crashes, %d rotations, %d answers lost on the wire; a spent token came again %d times within its grace and %d times after, each when its answer was lost; %d credentials ended with a person having to consent",
		to-from, crashes, total.rotations, total.lost, total.graced, total.reuses, consents)
}

// A simulation is some hours of one daemon, in several lives.
type simulation struct {
	*testing.T
	seed    uint64
	random  *rand.Rand
	broken  breakage
	disk    disk
	running sync.WaitGroup // who still waits for an answer

	// Of the present process; owned by the simulation's goroutine.
	process *process
	broker  *broker.Broker
	tokens  *broker.Tokens
	stop    func() error
	live    []broker.ID
	made    int
	crashes int

	consents int
	devices  map[broker.DeviceStatus]int // how device grants ended

	mu          sync.Mutex // guards all below
	server      *simServer
	failing     map[string]bool // steps that the store does not do now
	lying       map[string]bool // steps that the store does and says that it did not
	unkeptUntil time.Time       // when the store last was or will be like that
	booted      time.Time       // the present process
	crashAt     crashPoint      // where the process is to crash; zero if nowhere
	durable     map[string]bool // access and refresh tokens that were committed
	promised    map[broker.ID]promise
	forced      map[broker.ID]int     // requests that an operator's force may make
	flows       map[string]*simDevice // by the id that the daemon gave
	spreads     uint64
	spreadAt    uint64
	moment      time.Time // of the last write
	writes      int       // at that moment
	violations  []string
}

// A promise is what a caller was told is stored.
type promise struct {
	description int
	family      int
	deleted     bool
}

// simProviders are the providers and how many credentials each has: of those of
// "crowded" so many that its circuit opens.
var simProviders = map[string]int{"strict": 4, "graceful": 3, "crowded": 6}

func simulate(t *testing.T, seed uint64, broken breakage) *simulation {
	// One processor, so that what happens at the same moment does so in the same
	// order each time, as far as the scheduler lets it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := &simulation{
		T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), broken: broken, disk: &memoryDisk{},
		server: newSimServer(), failing: map[string]bool{}, lying: map[string]bool{}, durable: map[string]bool{},
		promised: map[broker.ID]promise{}, forced: map[broker.ID]int{},
		flows: map[string]*simDevice{}, devices: map[broker.DeviceStatus]int{},
	}
	steps := 150
	if seed%10 == 0 && broken == intact {
		s.disk, steps = &badgerDisk{folder: t.TempDir()}, 25
	}
	inBubble(t, func(t *testing.T) {
		s.T = t
		s.boot()
		for _, provider := range []string{"strict", "graceful", "crowded"} {
			for range simProviders[provider] {
				s.connect(provider)
			}
		}
		for range steps {
			s.pass(time.Duration(s.random.ExpFloat64() * float64(20*time.Second)))
			s.step()
			s.check()
			if s.noticed() {
				break
			}
		}
		if !s.noticed() {
			s.heal()
		}
		s.halt(false)
		s.running.Wait()
		time.Sleep(time.Minute) // what is left of processes that crashed just now ends
	})
	s.T = t
	return s
}

// boot starts the daemon on what the last one left.
func (s *simulation) boot() {
	s.process = &process{Store: s.disk.boot(s.T), s: s, died: make(chan struct{})}
	s.mu.Lock()
	s.booted = time.Now()
	s.mu.Unlock()
	s.tokens = broker.NewTokens()
	definitions, events := definitions{}, broker.NewEvents()
	for provider := range simProviders {
		definitions[provider] = broker.Definition{
			ID: provider, Name: provider, TokenURL: "https://" + provider + ".example/token",
			DeviceAuthorizationURL: "https://" + provider + ".example/device", Refresh: s.broken.policy(provider),
		}
		app := broker.App{ProviderID: provider, Client: broker.Client{ID: "client"}}
		if err := s.process.PutApp(context.Background(), app); err != nil {
			s.Fatalf("PutApp = %v", err)
		}
	}
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	config := s.broken.config(s, refresher.Config{
		Store: s.process, Server: simClient{s: s, by: s.process}, Tokens: s.tokens, Events: events, Auditor: brokertest.Unaudited{}, Log: log,
		Connections: broker.Connections{Definitions: definitions, Apps: s.process}, Spread: s.spread,
	})
	r, err := refresher.New(config)
	if err != nil {
		s.Fatalf("New = %v", err)
	}
	s.broker = broker.New(broker.Parts{
		Store: s.process, Definitions: definitions, Server: config.Server, Refresher: s.broken.refresher(r, config),
		Tokens: s.tokens, Events: events, Auditor: brokertest.Unaudited{}, Policy: broker.NewPolicy(root.UID), Log: log,
	})
	for summary, err := range s.process.Summaries(context.Background()) {
		if err != nil {
			s.Fatalf("Summaries = %v", err)
		}
		s.tokens.Load(summary)
		r.Schedule(summary)
	}
	s.broken.booted(s, r)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	s.stop = func() error {
		cancel()
		return <-ended
	}
}

// halt ends the process, with or without a farewell.
func (s *simulation) halt(crash bool) {
	if crash {
		s.crashes++
		s.process.kill()
		s.disk.shut(s.T, true)
		go s.stop() // what is left of it ends in its own time, without effect
		return
	}
	s.mu.Lock()
	full := len(s.failing)+len(s.lying) > 0
	s.mu.Unlock()
	begun := time.Now()
	if err := s.stop(); err != nil && s.process.alive() && !full {
		s.report("Run = %v, though the store works", err)
	}
	if took := time.Since(begun); took > 2*time.Minute {
		s.report("stopping took %v", took)
	}
	s.process.kill()
	s.disk.shut(s.T, false)
}

// pass lets time go by. Where the process dies meanwhile another one follows.
func (s *simulation) pass(d time.Duration) {
	for deadline := time.Now().Add(d); ; {
		select {
		case <-time.After(time.Until(deadline)):
			return
		case <-s.process.died:
			s.again(true)
		}
	}
}

// again is a restart: a crash, or an orderly one.
func (s *simulation) again(crash bool) {
	s.halt(crash)
	time.Sleep(time.Duration(s.random.IntN(20_000)) * time.Millisecond)
	s.boot()
	s.checkPromises()
}

// spread is random by the seed, the moment and how often it was asked just then:
// who comes first at one moment does not change what comes later.
func (s *simulation) spread() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := uint64(time.Now().UnixNano())
	if s.spreads++; now != s.spreadAt {
		s.spreads, s.spreadAt = 0, now
	}
	hash := fnv.New64a()
	hash.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.seed^s.spreads<<32), now))
	return float64(hash.Sum64()>>11) / (1 << 53)
}

func (s *simulation) pick() broker.ID { return s.live[s.random.IntN(len(s.live))] }

func (s *simulation) pickProvider() string {
	return []string{"strict", "graceful", "crowded"}[s.random.IntN(3)]
}

// step is something that happens.
func (s *simulation) step() {
	id := s.pick()
	switch s.random.IntN(23) {
	case 0, 1, 2, 3, 4:
		for range 1 + s.random.IntN(5) {
			s.read(id)
		}
	case 5:
		s.force(id)
	case 6, 7:
		for range 1 + s.random.IntN(4) {
			s.reject(id)
		}
	case 8, 9, 10, 11:
		fault := simFaults[s.random.IntN(len(simFaults))]
		s.mu.Lock()
		s.server.script[id] = append(s.server.script[id], fault)
		s.mu.Unlock()
		if s.random.IntN(2) == 0 {
			s.read(id)
			s.force(id)
		}
	case 12:
		provider, until := s.pickProvider(), time.Now().Add(time.Duration(s.random.IntN(900))*time.Second)
		s.mu.Lock()
		s.server.outages[provider] = until
		s.mu.Unlock()
	case 13:
		step := []string{"writable", "intent", "commit", "outcome", "other"}[s.random.IntN(5)]
		faulty, takes := s.failing, time.Duration(s.random.IntN(120))*time.Second
		if s.random.IntN(2) == 0 {
			faulty = s.lying
		}
		s.mu.Lock()
		faulty[step] = true
		s.unkeptUntil = time.Now().Add(120 * time.Second)
		s.mu.Unlock()
		time.AfterFunc(takes, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(faulty, step)
		})
	case 14:
		s.describe(id)
	case 15:
		s.reconnect(id)
	case 16:
		provider := s.providerOf(id)
		s.remove(id)
		s.connect(provider)
	case 17:
		s.again(true)
	case 18, 19:
		s.mu.Lock()
		s.crashAt = crashPoint{crashPoints[s.random.IntN(len(crashPoints))], id}
		s.mu.Unlock()
		s.force(id)
	case 20:
		s.again(false)
	case 21:
		if s.random.IntN(4) == 0 {
			s.withdraw(id)
			return
		}
		s.pass(time.Duration(s.random.IntN(30)) * time.Minute)
	case 22:
		s.device()
	}
	synctest.Wait()
}
