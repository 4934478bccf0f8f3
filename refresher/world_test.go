package refresher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/refresher"
)

// A world is a refresher with all that it stands on.
type world struct {
	testing.TB
	*refresher.Refresher
	config      refresher.Config
	store       *store
	provider    *provider
	tokens      *broker.Tokens
	events      *broker.Events
	definitions definitions
	log         *syncBuffer

	mu       sync.Mutex
	outcomes []refresher.Outcome
}

func newWorld(t *testing.T, tweaks ...func(*refresher.Config)) *world {
	t.Helper()
	w := &world{
		TB: t, store: &store{}, tokens: broker.NewTokens(), events: broker.NewEvents(), log: &syncBuffer{}, definitions: definitions{},
		provider: &provider{lifetime: time.Hour, grants: map[string]*grant{}},
	}
	w.config = refresher.Config{
		Auditor: brokertest.Unaudited{},
		Store:   w.store, Server: w.provider, Tokens: w.tokens, Events: w.events,
		Connections: broker.Connections{Definitions: w.definitions, Apps: w.store},
		Log:         slog.New(slog.NewJSONHandler(w.log, nil)),
		Trace:       &refresher.Trace{Refreshed: w.refreshed},
	}
	for _, tweak := range tweaks {
		tweak(&w.config)
	}
	w.define("p")
	w.restart()
	t.Cleanup(func() {
		w.provider.mu.Lock()
		defer w.provider.mu.Unlock()
		if reused := w.provider.reused; len(reused) > 0 {
			t.Errorf("%v were sent again when they were spent", reused)
		}
	})
	return w
}

func (w *world) refreshed(provider string, outcome refresher.Outcome, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if provider == "" || took < 0 {
		w.Errorf("Refreshed(%q, %v, %v)", provider, outcome, took)
	}
	w.outcomes = append(w.outcomes, outcome)
}

func (w *world) wantOutcomes(want ...refresher.Outcome) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.outcomes, want) {
		w.Errorf("outcomes = %v, want %v", w.outcomes, want)
	}
}

// root may do everything.
var root = broker.Caller{Attested: true}

// broker returns one for what callers do beside reading tokens.
func (w *world) broker() *broker.Broker {
	return broker.New(broker.Parts{
		Store: w.config.Store, Definitions: w.definitions, Server: w.config.Server, Refresher: w.Refresher,
		Tokens: w.tokens, Events: w.events, Auditor: brokertest.Unaudited{}, Policy: broker.NewPolicy(root.UID), Log: w.config.Log,
	})
}

// restart makes a new refresher, as after a crash: memory is gone.
func (w *world) restart() {
	w.Helper()
	tokens := broker.NewTokens()
	w.tokens, w.config.Tokens = tokens, tokens
	r, err := refresher.New(w.config)
	if err != nil {
		w.Fatalf("New: %v", err)
	}
	w.Refresher = r
	for s, err := range w.store.Summaries(w.Context()) {
		if err != nil {
			w.Fatalf("Summaries: %v", err)
		}
		tokens.Load(s)
		r.Schedule(s)
	}
}

// start runs the schedule; stop ends it and returns what Run did.
func (w *world) start() (stop func() error) {
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	r := w.Refresher
	go func() { ended <- r.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func (w *world) define(provider string) {
	w.Helper()
	w.definitions[provider] = broker.Definition{
		ID: provider, Name: provider, DefaultScopes: []string{"default"},
		TokenURL: "https://" + provider + ".example/token", DeviceAuthorizationURL: "https://" + provider + ".example/device",
	}
	app := broker.App{ProviderID: provider, Client: broker.Client{ID: "client"}}
	if err := w.store.PutApp(w.Context(), app); err != nil {
		w.Fatalf("PutApp: %v", err)
	}
}

// connect makes a credential whose first token lives as long as life.
func (w *world) connect(provider string, life time.Duration) broker.ID {
	w.Helper()
	now := time.Now().UTC()
	answer := w.provider.consent()
	answer.ExpiresAt = now.Add(life)
	c := broker.Credential{Summary: broker.Summary{
		ID: broker.NewID(), Name: "work", AuthType: broker.AuthOAuth2, Provider: provider, IsActive: true, CreatedAt: now,
	}}
	c.Apply(answer, now)
	return w.add(c)
}

func (w *world) add(c broker.Credential) broker.ID {
	w.Helper()
	c, err := w.store.Create(w.Context(), c)
	if err != nil {
		w.Fatalf("Create: %v", err)
	}
	w.tokens.Add(c)
	w.Schedule(c.Summary)
	return c.ID
}

// expired makes a credential whose token has just ended.
func (w *world) expired() broker.ID {
	w.Helper()
	id := w.connect("p", 2*time.Second)
	time.Sleep(2 * time.Second)
	return id
}

// change is what the broker does on behalf of a person.
func (w *world) change(id broker.ID, change func(*broker.Credential)) {
	w.Helper()
	c, err := w.store.Update(w.Context(), id, func(c *broker.Credential) error { change(c); return nil })
	if err != nil {
		w.Fatalf("Update(%s): %v", id, err)
	}
	w.tokens.Put(c)
	w.Schedule(c.Summary)
}

func (w *world) stored(id broker.ID) broker.Credential {
	w.Helper()
	c, err := w.store.Get(context.Background(), id)
	if err != nil {
		w.Fatalf("Get(%s): %v", id, err)
	}
	return c
}

func (w *world) wantGeneration(id broker.ID, want uint64) {
	w.Helper()
	c := w.stored(id)
	if c.Generation != want {
		w.Errorf("stored generation = %d, want %d (status %s, %s)", c.Generation, want, c.Status, c.StatusReason)
	}
	if s, _ := w.tokens.Get(id); s.Generation != want {
		w.Errorf("published generation = %d, want %d", s.Generation, want)
	}
}

func (w *world) wantCalls(want int) {
	w.Helper()
	if got := w.provider.callCount(); got != want {
		w.Errorf("the provider was asked %d times, want %d", got, want)
	}
}

// read is what a reader asks for; it waits half a minute.
func (w *world) read(id broker.ID, need broker.Need) (broker.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return w.Refresh(ctx, id, need)
}

func (w *world) mustRead(id broker.ID, need broker.Need) broker.Token {
	w.Helper()
	token, err := w.read(id, need)
	if err != nil {
		w.Fatalf("Refresh(%+v) = %v", need, err)
	}
	if token.ValidFor(time.Now()) == 0 || token.Access.Empty() {
		w.Errorf("Refresh(%+v) = a token that has expired", need)
	}
	return token
}

// wantRetry checks that err is worth asking again, and returns when.
func wantRetry(t *testing.T, err, want error) time.Duration {
	t.Helper()
	retry, ok := errors.AsType[*broker.RetryError](err)
	if !ok || want != nil && !errors.Is(err, want) {
		t.Fatalf("error = %v (%T), want a RetryError that is %v", err, err, want)
	}
	return retry.After
}

// definitions is a fixed [broker.Definitions].
type definitions map[string]broker.Definition

func (d definitions) Definition(id string) (broker.SourcedDefinition, error) {
	definition, ok := d[id]
	if !ok {
		return broker.SourcedDefinition{}, fmt.Errorf("provider %q: %w", id, broker.ErrUnknownProvider)
	}
	return broker.SourcedDefinition{Definition: definition}, nil
}

func (d definitions) Definitions() []broker.SourcedDefinition { return nil }

func (d definitions) Put(context.Context, broker.Definition, bool, bool) (broker.SourcedDefinition, error) {
	return broker.SourcedDefinition{}, errors.ErrUnsupported
}

func (d definitions) Delete(context.Context, string) error { return errors.ErrUnsupported }

// A store is a MemStore with two probes: before is called ahead of each write of
// a refresh ("writable", "intent", "commit", "outcome"), and its error fails it;
// the error of after is told though the write was made.
type store struct {
	brokertest.MemStore
	mu     sync.Mutex
	before func(step string) error
	after  func(step string) error
}

func (s *store) setProbe(probe func(step string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = probe
}

func (s *store) setAfter(probe func(step string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = probe
}

func (s *store) step(step string) error {
	s.mu.Lock()
	probe := s.before
	s.mu.Unlock()
	return unavailable(probe, step)
}

func unavailable(probe func(step string) error, step string) error {
	if probe == nil {
		return nil
	}
	if err := probe(step); err != nil {
		return fmt.Errorf("%w: %w", broker.ErrStoreUnavailable, err)
	}
	return nil
}

func (s *store) Writable(ctx context.Context) error {
	if err := s.step("writable"); err != nil {
		return err
	}
	return s.MemStore.Writable(ctx)
}

func (s *store) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	old, err := s.MemStore.Get(ctx, id)
	if err != nil {
		return broker.Credential{}, err
	}
	try := old
	if err := change(&try); err != nil {
		return broker.Credential{}, err
	}
	step := "outcome"
	switch {
	case try.Generation != old.Generation:
		step = "commit"
	case try.Status != old.Status, try.RetryAt != old.RetryAt:
	case try.Intent != nil && (old.Intent == nil || try.Intent.At != old.Intent.At):
		step = "intent"
	}
	if err := s.step(step); err != nil {
		return broker.Credential{}, err
	}
	c, err := s.MemStore.Update(ctx, id, change)
	s.mu.Lock()
	probe := s.after
	s.mu.Unlock()
	if lost := unavailable(probe, step); err == nil && lost != nil {
		return broker.Credential{}, lost
	}
	return c, err
}

// A provider issues single-use refresh tokens and revokes the family of one
// that comes twice. Its script says how the next calls go.
type provider struct {
	broker.AuthorizationServer // what is not scripted here is never called

	mu       sync.Mutex
	lifetime time.Duration
	takes    time.Duration
	grace    time.Duration     // in which a spent refresh token works again
	grants   map[string]*grant // by refresh token
	issued   int
	reused   []string // refresh tokens that came again
	lost     []string // refresh tokens that were spent and the answer lost
	calls    []call
	script   []fault
	outage   map[string]time.Time // until when a provider is down
	asked    func()               // called before anything happens, if not nil
	devices  map[string]bool      // device codes by whether a person consented; gone when spent
}

type grant struct {
	spent, revoked *bool
	at             time.Time // when it was spent
}

type call struct {
	at       time.Time
	provider string
	scopes   []string
	subject  string // the token that is exchanged
}

// A fault is how one call goes wrong.
type fault struct {
	err      error
	lost     bool          // the call has its effect, and then err
	swallows bool          // the call has its effect, and the answer never comes
	takes    time.Duration // instead of the usual time
	hangs    bool          // until the caller gives up
	panics   bool
	expired  bool // the token that is issued has no life
}

func (p *provider) consent() broker.TokenResponse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issue(new(bool))
}

// issue makes a pair; p.mu is held.
func (p *provider) issue(revoked *bool) broker.TokenResponse {
	p.issued++
	refresh := fmt.Sprintf("refresh-%d", p.issued)
	p.grants[refresh] = &grant{spent: new(bool), revoked: revoked}
	return broker.TokenResponse{
		AccessToken:  broker.NewSecret(fmt.Sprintf("access-%d", p.issued)),
		RefreshToken: broker.NewSecret(refresh),
		ExpiresAt:    time.Now().UTC().Add(p.lifetime),
	}
}

func (p *provider) Refresh(ctx context.Context, k broker.Connection, refresh broker.Secret) (broker.TokenResponse, error) {
	f, err := p.begin(ctx, call{at: time.Now(), provider: k.Definition.ID})
	if err != nil {
		return broker.TokenResponse{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.err != nil && !f.lost {
		return broker.TokenResponse{}, f.err
	}
	g, ok := p.grants[refresh.Reveal()]
	if !ok || *g.revoked {
		return broker.TokenResponse{}, refusal("invalid_grant")
	}
	if *g.spent && time.Since(g.at) < p.grace {
		return p.issue(g.revoked), nil
	}
	if *g.spent {
		p.reused = append(p.reused, refresh.Reveal())
		*g.revoked = true
		return broker.TokenResponse{}, refusal("invalid_grant")
	}
	*g.spent, g.at = true, time.Now()
	answer := p.issue(g.revoked)
	if f.expired {
		answer.ExpiresAt = time.Now()
	}
	if f.lost {
		p.lost = append(p.lost, refresh.Reveal())
		return broker.TokenResponse{}, f.err
	}
	if f.swallows {
		p.mu.Unlock()
		<-ctx.Done()
		p.mu.Lock()
		return broker.TokenResponse{}, &broker.ProviderError{Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentUnknown, Timeout: true}
	}
	return answer, nil
}

func (p *provider) ClientCredentials(ctx context.Context, k broker.Connection, scopes []string) (broker.TokenResponse, error) {
	return p.repeat(ctx, call{at: time.Now(), provider: k.Definition.ID, scopes: scopes})
}

func (p *provider) Assert(ctx context.Context, k broker.Connection, a broker.Assertion) (broker.TokenResponse, error) {
	return p.repeat(ctx, call{at: time.Now(), provider: k.Definition.ID, scopes: a.Scopes})
}

func (p *provider) ExchangeToken(ctx context.Context, k broker.Connection, x broker.TokenExchange) (broker.TokenResponse, error) {
	return p.repeat(ctx, call{at: time.Now(), provider: k.Definition.ID, scopes: x.Scopes, subject: x.SubjectToken.Reveal()})
}

// repeat answers a grant that needs no person.
func (p *provider) repeat(ctx context.Context, c call) (broker.TokenResponse, error) {
	f, err := p.begin(ctx, c)
	if err == nil {
		err = f.err
	}
	if err != nil {
		return broker.TokenResponse{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := p.issue(new(bool))
	answer.Scope = strings.Join(c.scopes, " ")
	return answer, nil
}

func (p *provider) begin(ctx context.Context, c call) (fault, error) {
	p.mu.Lock()
	p.calls = append(p.calls, c)
	f := fault{takes: p.takes}
	if len(p.script) > 0 {
		f, p.script = p.script[0], p.script[1:]
	}
	asked, down := p.asked, time.Now().Before(p.outage[c.provider])
	p.mu.Unlock()
	if down {
		f.err = outage(503, 0).err
	}
	if asked != nil {
		asked()
	}
	if f.panics {
		panic("scripted access-secret")
	}
	if f.hangs {
		f.takes = time.Hour
	}
	select {
	case <-time.After(f.takes):
		return f, nil
	case <-ctx.Done():
		return f, &broker.ProviderError{Op: "refresh", Provider: c.provider, Host: "p.example", Sent: broker.SentUnknown, Timeout: true}
	}
}

func (p *provider) fail(faults ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = append(p.script, faults...)
}

// down has a provider answer 503 until then.
func (p *provider) down(until time.Time, provider string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outage = map[string]time.Time{provider: until}
}

// revokeAll makes all refresh tokens dead, as when persons withdraw consent.
func (p *provider) revokeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.grants {
		*g.revoked = true
	}
}

func (p *provider) callCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

func refusal(code string) *broker.ProviderError {
	return &broker.ProviderError{
		Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentAnswered,
		Status: 400, Code: code, Reauth: code == "invalid_grant", Client: new(broker.Definition).IsClientError(code),
	}
}

func outage(status int, retryAfter time.Duration) fault {
	return fault{err: &broker.ProviderError{
		Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentAnswered, Status: status, RetryAfter: retryAfter,
	}}
}

type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(data)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// inBubble runs a test in virtual time; it fails where a goroutine is left.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}
