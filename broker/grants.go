package broker

import (
	"cmp"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A GrantStore keeps grants.
type GrantStore interface {
	// Grants returns all, ordered by id.
	Grants(ctx context.Context) ([]Grant, error)
	// PutGrant writes or replaces by id.
	PutGrant(ctx context.Context, g Grant) error
	// DeleteGrant removes one, or returns an error wrapping [ErrNotFound].
	DeleteGrant(ctx context.Context, id ID) error
}

// grants is the memory of the grants that the store holds.
type grants struct {
	// writing is held while the store is written, so that what is revoked is not
	// written back by somebody who notes its last use.
	writing sync.Mutex

	mu    sync.RWMutex
	byMAC map[GrantMAC]*heldGrant // guarded by mu
}

// A heldGrant never changes, but for its last use.
type heldGrant struct {
	Grant
	lastUse atomic.Int64 // Unix nanoseconds; 0 if not since the start
}

// now is the grant with its last use.
func (h *heldGrant) now() Grant {
	g := h.Grant
	if at := h.lastUse.Load(); at != 0 {
		g.LastUsedAt = time.Unix(0, at).UTC()
	}
	return g
}

func (s *grants) put(g Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byMAC == nil {
		s.byMAC = map[GrantMAC]*heldGrant{}
	}
	s.byMAC[g.MAC] = &heldGrant{Grant: g}
}

func (s *grants) remove(mac GrantMAC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byMAC, mac)
}

func (s *grants) get(mac GrantMAC) (*heldGrant, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.byMAC[mac]
	return h, ok
}

func (s *grants) all() []*heldGrant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*heldGrant, 0, len(s.byMAC))
	for _, h := range s.byMAC {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *heldGrant) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return all
}

func (s *grants) find(id ID) (*heldGrant, error) {
	for _, h := range s.all() {
		if h.ID == id {
			return h, nil
		}
	}
	return nil, fmt.Errorf("grant %q: %w", id, ErrNotFound)
}

// LoadGrants reads the grants that the store holds, before anything is served.
func (b *Broker) LoadGrants(ctx context.Context) error {
	all, err := b.Store.Grants(ctx)
	if err != nil {
		return fmt.Errorf("reading the grants: %w", err)
	}
	for _, g := range all {
		b.grants.put(g)
	}
	return nil
}

// CreateGrant mints a grant. Its secret is returned once, and kept nowhere.
func (b *Broker) CreateGrant(ctx context.Context, caller Caller, r GrantRequest) (_ Grant, _ Secret, err error) {
	entry, err := b.authorize(caller, VerbAdmin, "grants")
	if err != nil {
		return Grant{}, Secret{}, err
	}
	g, err := r.grant(func(ref string) (ID, error) {
		e, err := b.Tokens.find(ref)
		if err != nil {
			return "", err
		}
		return e.summary.ID, nil
	}, time.Now().UTC())
	if err != nil {
		return Grant{}, Secret{}, err
	}
	if len(b.grants.all()) >= maxGrants {
		return Grant{}, Secret{}, &InvalidError{Message: fmt.Sprintf("there are %d grants, the most there can be: delete some first", maxGrants)}
	}
	secret := newGrantSecret()
	g.MAC = b.grantMAC(secret)
	entry.Target = "grant " + string(g.ID)
	change, err := b.begin(entry)
	if err != nil {
		return Grant{}, Secret{}, err
	}
	defer change.end(&err)
	b.grants.writing.Lock()
	defer b.grants.writing.Unlock()
	if err := b.Store.PutGrant(ctx, g); err != nil {
		return Grant{}, Secret{}, fmt.Errorf("storing the grant: %w", err)
	}
	b.grants.put(g)
	return g, secret, nil
}

// ListGrants returns the grants that are not over, the oldest first.
func (b *Broker) ListGrants(caller Caller) ([]Grant, error) {
	if _, err := b.authorize(caller, VerbAdmin, "grants"); err != nil {
		return nil, err
	}
	list, now := []Grant{}, time.Now()
	for _, h := range b.grants.all() {
		if now.Before(h.ExpiresAt) {
			list = append(list, h.now())
		}
	}
	return list, nil
}

// ShowGrant returns one grant, or an error wrapping [ErrNotFound].
func (b *Broker) ShowGrant(caller Caller, id ID) (Grant, error) {
	if _, err := b.authorize(caller, VerbAdmin, "grant "+string(id)); err != nil {
		return Grant{}, err
	}
	h, err := b.grants.find(id)
	if err != nil {
		return Grant{}, err
	}
	return h.now(), nil
}

// DeleteGrant revokes a grant: no request gets in with it any more.
func (b *Broker) DeleteGrant(ctx context.Context, caller Caller, id ID) (err error) {
	entry, err := b.authorize(caller, VerbAdmin, "grant "+string(id))
	if err != nil {
		return err
	}
	h, err := b.grants.find(id)
	if err != nil {
		return err
	}
	change, err := b.begin(entry)
	if err != nil {
		return err
	}
	defer change.end(&err)
	return b.dropGrant(ctx, h)
}

// dropGrant removes a grant from the store and then from memory, so that one
// which could not be revoked is not taken for revoked until the next start.
func (b *Broker) dropGrant(ctx context.Context, h *heldGrant) error {
	b.grants.writing.Lock()
	defer b.grants.writing.Unlock()
	if err := b.Store.DeleteGrant(ctx, h.ID); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("deleting grant %q: %w", h.Name, err)
	}
	b.grants.remove(h.MAC)
	return nil
}

// WithGrant returns the caller with the grant whose secret it presents. The error
// wraps [ErrForbidden] where none is in force for this caller, and does not tell
// whether there is one or was.
func (b *Broker) WithGrant(caller Caller, secret Secret) (Caller, error) {
	mac, now := b.grantMAC(secret), time.Now()
	// What is looked up is a MAC under a key that the caller does not know, so
	// the time that it takes says nothing about the secrets.
	h, ok := b.grants.get(mac)
	if !ok || !hmac.Equal(h.MAC[:], mac[:]) || !now.Before(h.ExpiresAt) || !h.Rule.Who.matches(&caller, false) {
		b.Auditor.Denied(AuditEntry{Caller: caller, Target: "a grant that is not in force"})
		return caller, errNoGrant
	}
	h.lastUse.Store(now.UnixNano())
	caller.Grant = &h.Grant
	return caller, nil
}

// sweepGrants removes the grants that are over. One that cannot be removed now is
// of no use meanwhile.
func (b *Broker) sweepGrants(ctx context.Context, now time.Time) {
	for _, h := range b.grants.all() {
		if now.Before(h.ExpiresAt) {
			continue
		}
		if err := b.sweepGrant(ctx, h); err != nil && ctx.Err() == nil {
			b.Log.Warn("removing a grant that is over", "grant", h.ID, "error", err)
		}
	}
}

func (b *Broker) sweepGrant(ctx context.Context, h *heldGrant) (err error) {
	change, err := b.begin(AuditEntry{Caller: Daemon, Verb: VerbAdmin, Target: "grant " + string(h.ID), Rule: "it is over"})
	if err != nil {
		return err
	}
	defer change.end(&err)
	return b.dropGrant(ctx, h)
}

// writeGrantUsage notes the last uses in the store. What cannot be written now is
// noted the next time.
func (b *Broker) writeGrantUsage(ctx context.Context) {
	for _, h := range b.grants.all() {
		if g := h.now(); g.LastUsedAt.After(h.LastUsedAt) {
			b.writeLastUse(ctx, g)
		}
	}
}

func (b *Broker) writeLastUse(ctx context.Context, g Grant) {
	b.grants.writing.Lock()
	defer b.grants.writing.Unlock()
	if _, there := b.grants.get(g.MAC); there && b.Store.PutGrant(ctx, g) == nil {
		b.grants.put(g)
	}
}
