package refresher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/invectd/invectd/broker"
)

// writeTimeout bounds each write of a flight. It counts apart from the flight's
// own deadline: what arrived at the last moment is stored all the same.
const writeTimeout = 10 * time.Second

var (
	// errSuperseded says that the credential has other tokens than those that
	// the flight was about.
	errSuperseded    = errors.New("the credential got other tokens meanwhile")
	errWritten       = errors.New("an earlier attempt wrote it, though the store said otherwise")
	errDeadOnArrival = errors.New("the token had expired when it came")
	errPanic         = errors.New("the refresh failed in a way that nobody foresaw; the log has more")
)

// A flight is one refresh of one credential. Its fields are owned by the
// goroutine of the flight.
type flight struct {
	*Refresher
	id         broker.ID
	need       broker.Need // of the caller who started it
	forced     bool        // by a caller
	provider   string
	endpoint   string               // "" until the circuit let it pass
	policy     broker.RefreshPolicy // of the provider
	intentAt   time.Time            // of the intent that this flight wrote
	generation uint64               // as it was last committed
	status     broker.Status        // likewise
	asked      bool                 // the provider, so the grant may be spent
	outcome    Outcome              // "" while no provider was to be asked
	announced  *announcement        // in the audit; nil before the provider was to be asked
}

// An announcement is the line of the audit that says that a grant is to be spent.
type announcement struct {
	line  uint64
	entry broker.AuditEntry
}

// A grant is what a flight spends: the refresh token of a generation, or the
// code of a device flow.
type grant struct {
	generation   uint64
	refreshToken broker.Secret // empty for grants that repeat
	deviceCode   broker.Secret // empty unless a person is waited for
}

func grantOf(c *broker.Credential) grant {
	d, _ := c.DeviceFlow()
	return grant{c.Generation, c.Config.Secret(broker.KeyRefreshToken), d.Code}
}

// isOf reports whether c still has this grant. Where it has another one, a
// person or another daemon was faster.
func (g grant) isOf(c *broker.Credential) bool {
	now := grantOf(c)
	return now.generation == g.generation && now.refreshToken.Equal(g.refreshToken) && now.deviceCode.Equal(g.deviceCode)
}

// A pair is what a provider gave for a grant.
type pair struct {
	spent      grant
	answer     broker.TokenResponse
	receivedAt time.Time
	origins    string // of the definition that it was got with
}

// succeeds reports whether the refresh token of the answer takes the place of
// the one that c has, though c got another access token meanwhile. To drop it
// would leave c with one that is spent.
func (p *pair) succeeds(c *broker.Credential) bool {
	spent := p.spent.refreshToken
	return !spent.Empty() && !p.answer.RefreshToken.Empty() && c.Config.Secret(broker.KeyRefreshToken).Equal(spent)
}

// isIn reports whether c has what the answer brought: an earlier attempt to store
// it was told to have failed and had not.
func (p *pair) isIn(c *broker.Credential) bool {
	has := func(key string, secret broker.Secret) bool {
		return secret.Empty() || c.Config.Secret(key).Equal(secret)
	}
	return c.Generation == p.spent.generation+1 && !p.answer.AccessToken.Empty() &&
		has(broker.KeyAccessToken, p.answer.AccessToken) && has(broker.KeyRefreshToken, p.answer.RefreshToken)
}

// fly runs the flight from step 2 on, on its own context.
func (f *flight) fly(ctx context.Context) (token broker.Token, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.Timeout)
	defer cancel()
	s, _ := f.config.Tokens.Get(f.id)
	f.provider, f.generation, f.status = s.Provider, s.Generation, s.Status
	defer f.land()
	defer func() { f.config.Trace.refreshed(f.provider, f.outcome, time.Since(begun)) }()
	defer func() { f.tellAudit(token, err) }()
	defer func() {
		if f.caught(recover(), &err) {
			err = f.giveUp(f.failed(OutcomeTransient, err, err))
		}
	}()
	return f.run(ctx)
}

func (f *flight) run(ctx context.Context) (broker.Token, error) {
	c, err := f.readAgain(ctx)
	if err != nil {
		return broker.Token{}, err
	}
	if token, ok := c.Token(); ok && c.IsActive && f.need.Met(token, time.Now()) {
		return token, nil
	}
	if err := f.mayAsk(&c); err != nil {
		return broker.Token{}, err
	}
	connection, err := f.config.Connections.For(ctx, &c)
	if err != nil {
		return broker.Token{}, f.fail(ctx, &c, err)
	}
	f.policy = connection.Definition.Refresh
	request, err := f.requestOf(ctx, connection, &c)
	switch {
	case errors.Is(err, broker.ErrShuttingDown):
		return broker.Token{}, err
	case err != nil:
		return broker.Token{}, f.fail(ctx, &c, err)
	}
	if err := f.enter(connection); err != nil {
		return broker.Token{}, err
	}
	answer, err := f.spend(ctx, request, &c)
	if !f.asked && err != nil {
		return broker.Token{}, err
	}
	if err != nil {
		return broker.Token{}, f.fail(ctx, &c, err)
	}
	committed, err := f.commit(ctx, &pair{grantOf(&c), answer, wallClock(), connection.Origins()})
	if err != nil {
		return broker.Token{}, err
	}
	return f.publish(ctx, &committed)
}

// spend is steps 3 to 5, within the circuit.
func (f *flight) spend(ctx context.Context, ask request, c *broker.Credential) (answer broker.TokenResponse, err error) {
	defer func() { f.leave(f.asked, err) }()
	if err := f.checkWritable(ctx); err != nil {
		return answer, err
	}
	if err := f.announce(c); err != nil {
		return answer, err
	}
	if err := f.writeIntent(ctx, c); err != nil {
		return answer, err
	}
	f.asked = true
	return f.ask(ctx, ask)
}

// land has the schedule take note of how the flight ended.
func (f *flight) land() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan(f.id)
}

// readAgain is step 2. What an earlier flight got and could not store comes
// first: it is all that is left of the grant.
func (f *flight) readAgain(ctx context.Context) (broker.Credential, error) {
	if p := f.kept(); p != nil {
		c, err := f.commit(ctx, p)
		if err == nil {
			_, err = f.publish(ctx, &c)
		}
		if err != nil && !errors.Is(err, errSuperseded) {
			return broker.Credential{}, err
		}
	}
	c, err := f.config.Store.Get(ctx, f.id)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		f.Forget(f.id)
		return broker.Credential{}, err
	case err != nil:
		return broker.Credential{}, f.storeFailed("reading", err)
	}
	f.config.Tokens.Put(c)
	f.generation = c.Generation
	if c.Intent != nil && f.nobodyAsked(c.Intent.At) {
		c.Intent = nil
	}
	return c, nil
}

// nobodyAsked reports whether an intent is one that the store took, said it had
// not, and that no request followed: nothing is in doubt over it.
func (f *flight) nobodyAsked(at time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.queue.entries[f.id]
	return ok && e.unasked.Equal(at)
}

// mayAsk returns why the provider is not asked; nil if it may be.
func (f *flight) mayAsk(c *broker.Credential) error {
	_, has := c.Token()
	why := c.StatusReason
	switch {
	case !c.IsActive:
		return fmt.Errorf("credential %q is switched off, set isActive to use it: %w", c.Name, broker.ErrDisabled)
	case c.Renewable && (c.Status != broker.StatusReauth || f.forced):
		return nil
	case c.Status == broker.StatusReauth && why != "":
	case !has:
		return fmt.Errorf("credential %q has no token yet, connect it: %w", c.Name, broker.ErrAuthorizationPending)
	default:
		why = "there is no refresh token to renew it with"
	}
	return reauthorize(c, why)
}

// reauthorize is the error of a credential that only a person can make work.
func reauthorize(c *broker.Credential, why string) error {
	return &broker.ReauthorizeError{
		ID: c.ID, Name: c.Name, Provider: c.Provider, Reason: why, Device: c.GrantType() == broker.GrantDeviceCode,
	}
}

// checkWritable is step 3: where the outcome could not be kept, nothing is spent.
func (f *flight) checkWritable(ctx context.Context) error {
	if err := f.config.Store.Writable(ctx); err != nil {
		return f.storeFailed("refreshing", err)
	}
	return nil
}

// announce has the audit know what the daemon is about to do: a change that
// cannot be audited does not happen.
func (f *flight) announce(c *broker.Credential) error {
	entry := broker.AuditEntry{Caller: broker.Daemon, Verb: broker.VerbRefresh, CredentialID: c.ID, Target: c.Name}
	line, err := f.config.Auditor.Begin(entry)
	if err != nil {
		return f.storeFailed("refreshing", err)
	}
	f.announced = &announcement{line, entry}
	return nil
}

// tellAudit writes how an announced flight ended.
func (f *flight) tellAudit(token broker.Token, err error) {
	if f.announced == nil {
		return
	}
	if errors.Is(err, errSuperseded) {
		err = broker.ErrConflict
	}
	outcome := broker.Outcome{Err: err, Handout: broker.Handout{Generation: token.Generation, Secret: token.Access}}
	f.config.Auditor.End(f.announced.line, f.announced.entry, outcome)
}

// writeIntent is step 4.
func (f *flight) writeIntent(ctx context.Context, c *broker.Credential) error {
	g, now := grantOf(c), wallClock()
	f.intentAt = now
	_, err := f.update(ctx, func(c *broker.Credential) error {
		if !g.isOf(c) || !c.IsActive {
			return errSuperseded
		}
		c.Intent = &broker.Intent{Generation: g.generation, At: now}
		return nil
	})
	if f.superseded(err) {
		return err
	}
	if err != nil {
		if !interrupted(c.Summary) { // else there is doubt over an earlier one
			f.mu.Lock()
			f.queue.entry(f.id, f.provider).unasked = now
			f.mu.Unlock()
		}
		return f.storeFailed("refreshing", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.queue.entries[f.id]; ok {
		e.unasked = time.Time{} // a request follows this one, were it of the same instant
	}
	return nil
}

// ask is step 5. Once it was called the grant may be spent, whatever it returns.
func (f *flight) ask(ctx context.Context, ask request) (answer broker.TokenResponse, err error) {
	defer func() { f.caught(recover(), &err) }()
	ctx, cancel := context.WithTimeout(ctx, askFor(f.config.Timeout, shortGrace(f.policy)))
	defer cancel()
	return ask(ctx)
}

// commit is step 6. Until it succeeds the pair is kept in memory, and the next
// flights do nothing but try again. What a store said it could not write may be
// there all the same once it is back: then it is committed.
func (f *flight) commit(ctx context.Context, p *pair) (broker.Credential, error) {
	f.keep(p)
	var found broker.Credential
	c, err := f.update(ctx, func(c *broker.Credential) error {
		switch {
		case p.spent.isOf(c):
			apply(c, p)
			if c.Origins == "" {
				c.Origins = p.origins
			}
		case p.isIn(c):
			found = *c
			return errWritten
		case p.succeeds(c):
			c.Rotate(p.answer.RefreshToken)
		default:
			return errSuperseded
		}
		return nil
	})
	switch {
	case errors.Is(err, errWritten):
		f.keep(nil)
		return found, nil
	case err == nil, f.superseded(err):
		f.keep(nil)
		return c, err
	}
	f.config.Log.Error("the new tokens of a credential are not stored yet; they are kept in memory and would be lost with it",
		"credential", f.id, "provider", f.provider, "received", p.receivedAt, "error", err)
	return broker.Credential{}, f.storeFailed("storing the new tokens of", err)
}

// publish is step 7. Waiters and the schedule follow when the flight lands.
func (f *flight) publish(ctx context.Context, c *broker.Credential) (broker.Token, error) {
	f.config.Tokens.Put(*c)
	f.generation = c.Generation
	token, _ := c.Token()
	if !token.ExpiresAt.IsZero() && !token.ExpiresAt.After(token.IssuedAt) { // asking again would bring another one
		return broker.Token{}, f.fail(ctx, c, &broker.ProviderError{
			Op: "refresh", Provider: c.Provider, Sent: broker.SentAnswered,
			Status: http.StatusOK, Err: errDeadOnArrival,
		})
	}
	f.outcome = OutcomeSuccess
	f.remember(nil)
	f.tell(broker.EventRefreshed, c)
	if f.status == broker.StatusDegraded || f.status == broker.StatusReauth {
		f.tell(broker.EventRecovered, c)
	}
	if !c.IsActive {
		return broker.Token{}, f.mayAsk(c)
	}
	return token, nil
}

// tell lets listeners know what became of the credential.
func (f *flight) tell(what broker.EventType, c *broker.Credential) {
	f.config.Events.Publish(broker.Event{
		Type: what, CredentialID: c.ID, Status: c.StatusAt(wallClock()), Reason: c.StatusReason,
	})
}

// update writes within a time of its own.
func (f *flight) update(ctx context.Context, change func(*broker.Credential) error) (broker.Credential, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	return f.config.Store.Update(ctx, f.id, change)
}

// superseded reports whether a write was not made since the credential is
// another now, or gone.
func (f *flight) superseded(err error) bool {
	gone := errors.Is(err, broker.ErrNotFound)
	if gone {
		f.Forget(f.id)
	}
	if !gone && !errors.Is(err, errSuperseded) {
		return false
	}
	f.outcome = OutcomeSuperseded
	return true
}

// caught turns a panic into an error. What was thrown is not shown, since
// nobody knows what it holds.
func (f *flight) caught(thrown any, err *error) bool {
	if thrown == nil {
		return false
	}
	f.config.Log.Error("panic in a refresh", "credential", f.id, "provider", f.provider,
		"type", fmt.Sprintf("%T", thrown), "stack", string(debug.Stack()))
	*err = errPanic
	return true
}
