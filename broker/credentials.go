package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A View is a credential as operators see it. Its Config is still unmasked.
type View struct {
	Credential
	Status        Status // as of now
	NextRefreshAt time.Time
}

// A Filter chooses credentials; an empty field matches all.
type Filter struct {
	Type, Provider, WorkspaceID, Name string
	AuthType                          AuthType
	Status                            Status
	IsActive                          *bool

	ExpiresBy time.Time // only those that are switched on and end until then

	After Summary // only those that come after it, where its ID is set
	Limit int     // at most so many; 0: all
}

// newestFirst orders credentials as lists show them.
func newestFirst(a, b Summary) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
}

func (f Filter) matches(s Summary, now time.Time) bool {
	return (f.Type == "" || f.Type == s.Type) &&
		(f.Provider == "" || f.Provider == s.Provider) &&
		(f.WorkspaceID == "" || f.WorkspaceID == s.WorkspaceID) &&
		(f.Name == "" || f.Name == s.Name) &&
		(f.AuthType == "" || f.AuthType == s.AuthType) &&
		(f.Status == "" || f.Status == s.StatusAt(now)) &&
		(f.IsActive == nil || *f.IsActive == s.IsActive) &&
		(f.ExpiresBy.IsZero() || s.IsActive && !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(f.ExpiresBy)) &&
		(f.After.ID == "" || newestFirst(f.After, s) < 0)
}

// reasonDamaged is the reason of a credential that is in the store and cannot be
// read.
const reasonDamaged = "store_damaged: its record is not what was written; restore a backup, or delete it and connect again"

// Credentials returns the credentials that match and that the caller may list,
// the newest first, and whether there are more than the filter's limit.
func (b *Broker) Credentials(ctx context.Context, caller Caller, f Filter) (views []View, more bool, err error) {
	if _, err := b.authorize(caller, VerbList, "credentials"); err != nil {
		return nil, false, err
	}
	now := time.Now()
	views = []View{}
	access := b.Policy.For(caller)
	all := b.Tokens.all()
	slices.SortFunc(all, func(a, b *entry) int { return newestFirst(a.summary, b.summary) })
	for _, e := range all {
		s := e.summary
		if !f.matches(s, now) {
			continue
		}
		d, err := b.decide(ctx, &access, VerbList, e)
		if errors.Is(err, ErrDamaged) {
			continue // whom its labels would let see it is not known
		}
		if err != nil {
			return nil, false, err
		}
		if !d.Allowed {
			continue
		}
		if f.Limit > 0 && len(views) == f.Limit {
			return views, true, nil
		}
		c, err := b.Store.Get(ctx, s.ID)
		if errors.Is(err, ErrNotFound) {
			continue // deleted since
		}
		if errors.Is(err, ErrDamaged) { // the others are whole
			c, err = Credential{Summary: s, StatusReason: reasonDamaged}, nil
			c.Status = StatusDegraded
		}
		if err != nil {
			return nil, false, fmt.Errorf("reading credential %q: %w", s.Name, err)
		}
		views = append(views, b.view(c, now))
	}
	return views, false, nil
}

// Credential returns one credential.
func (b *Broker) Credential(ctx context.Context, caller Caller, ref string) (View, error) {
	s, err := b.find(ctx, caller, VerbRead, ref)
	if err != nil {
		return View{}, err
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return View{}, fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	return b.view(c, time.Now()), nil
}

func (b *Broker) view(c Credential, now time.Time) View {
	reads, last := b.Tokens.usageOf(c.ID)
	c.ReadCount += reads
	if last.After(c.LastUsedAt) {
		c.LastUsedAt = last
	}
	if s, ok := b.Tokens.Get(c.ID); ok {
		c.Hindrance = s.Hindrance
	}
	c.StatusReason = c.ReasonAt(now)
	return View{Credential: c, Status: c.StatusAt(now), NextRefreshAt: b.Refresher.Due(c.ID)}
}

// RefreshCredential renews the token of a credential now. The error wraps
// [ErrReauthorize] where nothing can renew it.
func (b *Broker) RefreshCredential(ctx context.Context, caller Caller, ref string) (_ View, err error) {
	s, err := b.find(ctx, caller, VerbRefresh, ref)
	switch {
	case err != nil:
		return View{}, err
	case s.AuthType != AuthOAuth2:
		return View{}, &InvalidError{Message: fmt.Sprintf("credential %q is of type %s, which is not refreshed: update it", s.Name, s.AuthType)}
	case !s.IsActive:
		return View{}, disabled(s.Summary)
	case !s.Renewable:
		return View{}, reauthorize(s.Summary, "there is no refresh token to renew it with")
	}
	change, err := b.begin(s.entry)
	if err != nil {
		return View{}, err
	}
	defer change.end(&err)
	if _, err := b.refresh(ctx, s.ID, Need{After: s.Generation, Force: true}, DefaultWait); err != nil {
		return View{}, err
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil {
		return View{}, fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	change.made(&c)
	return b.view(c, time.Now()), nil
}
