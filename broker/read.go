package broker

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"
)

// DefaultValidity and DefaultWait hold where a reader does not say otherwise.
const (
	DefaultValidity = time.Minute
	DefaultWait     = 30 * time.Second
)

// freshFor is how old a token has to be before a runner's word that an API
// rejected it makes the broker renew it: many runners notice at once, and the
// first ones' renewal must not be repeated for the last.
const freshFor = 30 * time.Second

// A ReadRequest says which token a reader needs and how long it waits for it.
type ReadRequest struct {
	MinValidity time.Duration
	Wait        time.Duration
}

// A Reading is a token for a runner.
type Reading struct {
	Token
	// Degraded is set where the token lives but not as long as asked for, and
	// cannot be renewed now.
	Degraded bool
}

// Token returns a token of the credential that lives long enough, refreshing it
// first where needed. Beside those of looking up, the error is or wraps
// [ErrNoToken], [ErrDisabled], [ErrAuthorizationPending], [ErrReauthorize], or
// that of the last refresh, in a [*RetryError].
func (b *Broker) Token(ctx context.Context, caller Caller, ref string, r ReadRequest) (Reading, error) {
	s, err := b.find(ctx, caller, VerbToken, ref)
	if err != nil {
		return Reading{}, b.traceRead(err)
	}
	reading, err := b.read(ctx, s.Summary, r)
	return b.handOut(s, reading, err)
}

// ProviderToken is [Broker.Token] for the only credential of a provider that the
// caller may read; else the error wraps [ErrNotFound] or [ErrAmbiguousProvider].
func (b *Broker) ProviderToken(ctx context.Context, caller Caller, provider string, r ReadRequest) (Reading, error) {
	access := b.Policy.For(caller)
	var mine []Summary
	for _, e := range b.Tokens.ofProvider(provider) {
		d, err := b.decide(ctx, &access, VerbToken, e)
		if err != nil {
			return Reading{}, b.traceRead(err)
		}
		if d.Allowed {
			mine = append(mine, e.summary)
		}
	}
	switch len(mine) {
	case 0:
		if d := access.Decide(VerbToken, new(Subject)); !d.Allowed {
			b.Auditor.Denied(AuditEntry{Caller: caller, Verb: VerbToken, Rule: d.Rule})
		}
		return Reading{}, b.traceRead(fmt.Errorf("no credential of %q: %w", provider, ErrNotFound))
	case 1:
		return b.Token(ctx, caller, string(mine[0].ID), r)
	}
	return Reading{}, b.traceRead(fmt.Errorf("%d credentials are of %q, use the id or the name of one: %w", len(mine), provider, ErrAmbiguousProvider))
}

// Rejected takes note that an API answered 401 to the token of a generation. If
// that is still the newest, and not brand-new, one refresh runs, however many
// say so. It answers as [Broker.Token] does.
func (b *Broker) Rejected(ctx context.Context, caller Caller, ref string, generation uint64, r ReadRequest) (Reading, error) {
	s, err := b.find(ctx, caller, VerbRejected, ref)
	switch {
	case err != nil:
		return Reading{}, err
	case s.AuthType != AuthOAuth2:
		return Reading{}, &InvalidError{Message: fmt.Sprintf("credential %q is of type %s, whose secret cannot be renewed: update it", s.Name, s.AuthType)}
	case generation == 0 || generation > s.Generation:
		return Reading{}, invalid("generation", "credential %q is at generation %d", s.Name, s.Generation)
	case generation < s.Generation || time.Since(s.IssuedAt) < freshFor:
		reading, err := b.read(ctx, s.Summary, r)
		return b.handOut(s, reading, err)
	case !s.IsActive:
		return Reading{}, disabled(s.Summary)
	case !s.Renewable:
		return Reading{}, reauthorize(s.Summary, "an API rejected the token, and there is no refresh token to renew it with")
	}
	token, err := b.refresh(ctx, s.ID, Need{Validity: r.MinValidity, After: generation}, r.Wait)
	return b.handOut(s, Reading{Token: token}, err)
}

// read serves the token of a credential that the caller may read.
func (b *Broker) read(ctx context.Context, s Summary, r ReadRequest) (_ Reading, err error) {
	defer func() { b.traceRead(err) }()
	if !s.IsActive {
		return Reading{}, disabled(s)
	}
	need := Need{Validity: r.MinValidity}
	token, err := b.current(ctx, s)
	if err != nil {
		return Reading{}, err
	}
	now := time.Now()
	if need.Met(token, now) {
		b.Tokens.used(s.ID, now)
		return Reading{Token: token}, nil
	}
	renewed, err := b.refresh(ctx, s.ID, need, r.Wait)
	if err == nil {
		b.Tokens.used(s.ID, now)
		return Reading{Token: renewed}, nil
	}
	// A short life is better than none: whoever needs more sees that it is.
	if token.ValidFor(time.Now()) > 0 && !token.Access.Empty() {
		b.Tokens.used(s.ID, now)
		return Reading{Token: token, Degraded: true}, nil
	}
	return Reading{}, err
}

// current returns the committed token of a credential: from memory, or after a
// restart from the store. An OAuth2 credential may have none yet.
func (b *Broker) current(ctx context.Context, s Summary) (Token, error) {
	if token, ok := b.Tokens.Token(s.ID); ok {
		return token, nil
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return Token{}, fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	token, ok := c.Token()
	if ok {
		b.Tokens.Put(c)
	} else if c.AuthType != AuthOAuth2 {
		return Token{}, noToken(s)
	}
	return token, nil
}

// refresh asks the refresher, for as long as the caller waits.
func (b *Broker) refresh(ctx context.Context, id ID, need Need, wait time.Duration) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return b.Refresher.Refresh(ctx, id, need)
}

// Header returns the request header that authenticates with the credential, as
// names and values. The error wraps [ErrNoToken] for kinds that no fixed header
// can carry.
func (b *Broker) Header(ctx context.Context, caller Caller, ref string, r ReadRequest) (map[string]string, error) {
	s, err := b.find(ctx, caller, VerbHeader, ref)
	if err != nil {
		return nil, err
	}
	header, handout, err := b.headerOf(ctx, s.Summary, r)
	if err != nil {
		return nil, err
	}
	b.Auditor.Read(s.entry, handout)
	return header, nil
}

// headerOf returns the header, and what the audit has to know of it.
func (b *Broker) headerOf(ctx context.Context, s Summary, r ReadRequest) (map[string]string, Handout, error) {
	switch s.AuthType {
	case AuthOAuth2, AuthBearer:
		reading, err := b.read(ctx, s, r)
		if err != nil {
			return nil, Handout{}, err
		}
		header := map[string]string{"Authorization": "Bearer " + reading.Access.Reveal()}
		return header, Handout{reading.Generation, reading.Access}, nil
	}
	c, err := b.body(ctx, s)
	if err != nil {
		return nil, Handout{}, err
	}
	header, err := c.header()
	return header, c.handout(), err
}

// handout is what the audit has to know of a credential that was given as a whole.
func (c *Credential) handout() Handout {
	token, _ := c.Token()
	return Handout{c.Generation, token.Access}
}

// header returns the header of a kind that is its own secret.
func (c *Credential) header() (map[string]string, error) {
	switch c.AuthType {
	case AuthAPIKey:
		if c.Config.Text(KeyLocation) == "query" {
			return nil, noToken(c.Summary)
		}
		name := c.Config.Text(KeyParamName)
		if name == "" {
			name = "X-API-Key"
		}
		return map[string]string{name: c.Config.Text(KeyAPIKey)}, nil
	case AuthBasic:
		pair := c.Config.Text(KeyUsername) + ":" + c.Config.Text(KeyPassword)
		return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}, nil
	case AuthCustom:
		headers := c.Config.Texts(KeyHeaders)
		delete(headers, "") // front ends send an unfilled row so
		if len(headers) > 0 {
			return headers, nil
		}
	}
	return nil, noToken(c.Summary)
}

// A Resolved credential is what an action sees of it.
type Resolved struct {
	ID       ID
	Name     string
	Type     string
	AuthType AuthType
	Config   map[string]any
}

// neverResolved are the keys that no action needs to make a request.
var neverResolved = []string{KeyRefreshToken, KeyClientSecret, KeyPrivateKey, KeySubjectToken, KeyActorToken}

// Resolve returns what a request needs of the credential and nothing more: an
// OAuth2 one is refreshed first where needed, as [Broker.Token] does.
func (b *Broker) Resolve(ctx context.Context, caller Caller, ref string, r ReadRequest) (Resolved, error) {
	s, err := b.find(ctx, caller, VerbResolve, ref)
	if err != nil {
		return Resolved{}, err
	}
	out := Resolved{ID: s.ID, Name: s.Name, Type: s.Type, AuthType: s.AuthType}
	if s.AuthType == AuthOAuth2 {
		reading, err := b.read(ctx, s.Summary, r)
		if err != nil {
			return Resolved{}, err
		}
		b.Auditor.Read(s.entry, Handout{reading.Generation, reading.Access})
		out.Config = reading.config()
		return out, nil
	}
	c, err := b.body(ctx, s.Summary)
	if err != nil {
		return Resolved{}, err
	}
	b.Auditor.Read(s.entry, c.handout())
	out.Config = c.Config.Reveal()
	for _, key := range neverResolved {
		delete(out.Config, key)
	}
	return out, nil
}

// config is what an action sees of a token.
func (reading *Reading) config() map[string]any {
	config := map[string]any{KeyAccessToken: reading.Access.Reveal(), KeyTokenType: reading.Type}
	if reading.Scope != "" {
		config[KeyScope] = reading.Scope
	}
	if !reading.ExpiresAt.IsZero() {
		config[KeyExpiresAt] = reading.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if len(reading.Captured) > 0 {
		config[KeyCaptured] = reading.Captured
	}
	return config
}

// body returns the whole of a credential for a reader and counts the read.
func (b *Broker) body(ctx context.Context, s Summary) (*Credential, error) {
	if !s.IsActive {
		return nil, disabled(s)
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return nil, fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	b.Tokens.used(s.ID, time.Now())
	return &c, nil
}

func (b *Broker) traceRead(err error) error {
	if b.Trace.TokenRead != nil {
		b.Trace.TokenRead(err)
	}
	return err
}

func disabled(s Summary) error {
	return fmt.Errorf("credential %q is switched off, set isActive to use it: %w", s.Name, ErrDisabled)
}

func noToken(s Summary) error {
	return fmt.Errorf("credential %q is of type %s, which has no single token; use header or resolve: %w", s.Name, s.AuthType, ErrNoToken)
}

func reauthorize(s Summary, reason string) error {
	return &ReauthorizeError{ID: s.ID, Name: s.Name, Provider: s.Provider, Reason: reason}
}
