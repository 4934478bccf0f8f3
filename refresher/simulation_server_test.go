package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// A simServer is the authorization servers of a simulation: refresh tokens work
// once and rotate, a spent one may come again within the grace of its provider,
// and after that ends its family. It is guarded by simulation.mu.
type simServer struct {
	grants  map[string]*simGrant // by refresh token
	expires map[string]time.Time // of access tokens
	issued  map[broker.ID]int
	script  map[broker.ID][]simFault // what goes wrong next
	outages map[string]time.Time     // until when a provider is down
	calls   map[broker.ID][]time.Time
	counts  simCounts
}

type simCounts struct{ rotations, graced, reuses, lost int }

// A simGrant is a refresh token.
type simGrant struct {
	id         broker.ID
	family     *simFamily
	spent      time.Time // zero: not yet
	uses       []*simUse
	successors []string
}

type simFamily struct {
	number    int
	revoked   bool
	withdrawn bool // by a person
}

// A simUse is one request with a refresh token.
type simUse struct {
	by     *process
	at     time.Time
	ended  bool
	lost   bool // no answer came, or none that could be used
	failed bool // answered, and nothing was spent
}

// open reports whether the process may still store what the use brought.
func (u *simUse) open() bool { return u.by.alive() && !u.lost && !u.failed }

// A simFault is how one request goes wrong.
type simFault string

const (
	faultUnsent   simFault = "unsent"   // the connection is refused
	faultBusy     simFault = "busy"     // 429 with Retry-After
	faultBroken   simFault = "broken"   // 500
	faultClient   simFault = "client"   // the client is refused
	faultHangs    simFault = "hangs"    // no answer and no effect
	faultSwallows simFault = "swallows" // it has its effect, and the answer never comes
	faultLost     simFault = "lost"     // it has its effect, and the connection breaks
	faultGarbled  simFault = "garbled"  // it has its effect, and the answer is no JSON
)

var simFaults = []simFault{
	faultUnsent, faultBusy, faultBroken, faultClient, faultHangs, faultSwallows, faultLost, faultGarbled,
}

const simLifetime = 5 * time.Minute

// graceOf is how long each provider takes a spent refresh token again.
func graceOf(provider string) time.Duration {
	if provider == "graceful" {
		return 30 * time.Second
	}
	return 0
}

// patienceOf is how long a request may take.
func patienceOf(provider string) time.Duration {
	if grace := graceOf(provider); grace > 0 {
		return grace / 2
	}
	return 30 * time.Second
}

func newSimServer() *simServer {
	return &simServer{
		grants: map[string]*simGrant{}, expires: map[string]time.Time{}, issued: map[broker.ID]int{}, script: map[broker.ID][]simFault{},
		outages: map[string]time.Time{}, calls: map[broker.ID][]time.Time{},
	}
}

// issue makes a pair of tokens.
func (a *simServer) issue(id broker.ID, family *simFamily) broker.TokenResponse {
	a.issued[id]++
	access, refresh := fmt.Sprintf("access-%s-%d", id, a.issued[id]), fmt.Sprintf("refresh-%s-%d", id, a.issued[id])
	ends := time.Now().UTC().Add(simLifetime)
	a.grants[refresh], a.expires[access] = &simGrant{id: id, family: family}, ends
	return broker.TokenResponse{AccessToken: broker.NewSecret(access), RefreshToken: broker.NewSecret(refresh), ExpiresAt: ends}
}

// rotate is what a refresh does at the server.
func (a *simServer) rotate(provider, refresh string) (broker.TokenResponse, error) {
	g := a.grants[refresh]
	switch {
	case g.family.revoked:
		return broker.TokenResponse{}, refusal("invalid_grant")
	case !g.spent.IsZero() && time.Since(g.spent) >= graceOf(provider):
		a.counts.reuses++
		g.family.revoked = true
		return broker.TokenResponse{}, refusal("invalid_grant")
	case !g.spent.IsZero():
		a.counts.graced++
	default:
		g.spent = time.Now()
	}
	a.counts.rotations++
	answer := a.issue(g.id, g.family)
	g.successors = append(g.successors, answer.RefreshToken.Reveal())
	return answer, nil
}

// take returns the fault of the next request for a credential, "" for none.
func (a *simServer) take(provider string, id broker.ID) simFault {
	if time.Now().Before(a.outages[provider]) {
		return faultBroken
	}
	script := a.script[id]
	if len(script) == 0 {
		return ""
	}
	a.script[id] = script[1:]
	return script[0]
}

// A simClient is the servers as one process reaches them.
type simClient struct {
	broker.AuthorizationServer // what is not simulated is never called
	s                          *simulation
	by                         *process
}

var errGone = errors.New("the connection broke")

func silence(timeout bool) error {
	return &broker.ProviderError{Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentUnknown, Timeout: timeout, Err: errGone}
}

// Refresh plays a request: half of its time passes before it has its effect, and
// half after.
func (c simClient) Refresh(ctx context.Context, k broker.Connection, token broker.Secret) (broker.TokenResponse, error) {
	s, provider, refresh := c.s, k.Definition.ID, token.Reveal()
	if !c.by.alive() {
		return broker.TokenResponse{}, errCrashed
	}
	begun := time.Now()
	use, fault := s.begin(c.by, provider, refresh)
	defer s.end(use)
	half := s.latency(refresh) / 2

	unanswered := func(timeout bool) (broker.TokenResponse, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		use.lost = true
		s.server.counts.lost++
		if took := time.Since(begun); timeout && c.by.alive() && took < patienceOf(provider)-time.Second {
			s.violate("a request with %s was given up after %v: whoever asked for it left", refresh, took)
		}
		return broker.TokenResponse{}, silence(timeout)
	}
	if fault == faultHangs {
		<-ctx.Done()
		return unanswered(true)
	}
	if !sleep(ctx, half) {
		return unanswered(true)
	}
	c.by.reach("asked", idOf(refresh))
	s.mu.Lock()
	if err := fault.refusal(); err != nil {
		use.failed = true
		s.mu.Unlock()
		return broker.TokenResponse{}, err
	}
	answer, err := s.server.rotate(provider, refresh)
	use.failed = err != nil
	s.mu.Unlock()
	c.by.reach("answered", idOf(refresh))
	switch {
	case fault == faultSwallows:
		<-ctx.Done()
		return unanswered(true)
	case fault == faultLost:
		return unanswered(false)
	case fault == faultGarbled && err == nil:
		_, _ = unanswered(false)
		return broker.TokenResponse{}, &broker.ProviderError{Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentAnswered, Status: 200, Err: errGone}
	case !sleep(ctx, half):
		return unanswered(true)
	}
	return answer, err
}

// idOf returns the credential that a refresh token was issued for.
func idOf(refresh string) broker.ID {
	id, _ := strings.CutPrefix(refresh[:strings.LastIndexByte(refresh, '-')], "refresh-")
	return broker.ID(id)
}

// refusal is the answer of a server that does not do what it is asked; nil if
// it does.
func (f simFault) refusal() error {
	switch f {
	case faultUnsent:
		return &broker.ProviderError{Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentNever, Err: errGone}
	case faultBusy:
		return outage(429, 30*time.Second).err
	case faultBroken:
		return outage(500, 0).err
	case faultClient:
		return refusal("invalid_client")
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// latency is how long a request takes; of one token always the same.
func (s *simulation) latency(refresh string) time.Duration {
	hash := fnv.New32a()
	fmt.Fprint(hash, s.seed, refresh)
	return 50*time.Millisecond + time.Duration(hash.Sum32()%2000)*time.Millisecond
}
