package broker

import (
	"context"
	"sync/atomic"
	"time"
)

// usage counts the reads of a credential that are not written down yet. A read
// costs no write to the store.
type usage struct {
	reads atomic.Uint64
	last  atomic.Int64 // Unix nanoseconds; 0 if never
}

// add counts reads, the last of them at last.
func (u *usage) add(reads uint64, last time.Time) {
	u.reads.Add(reads)
	u.last.Store(last.UnixNano())
}

func (u *usage) get() (reads uint64, last time.Time) {
	if at := u.last.Load(); at != 0 {
		last = time.Unix(0, at).UTC()
	}
	return u.reads.Load(), last
}

// used counts one read of a credential.
func (t *Tokens) used(id ID, now time.Time) {
	if e, ok := t.get(id); ok {
		e.usage.add(1, now)
	}
}

// usageOf returns what is counted of a credential and not written down yet.
func (t *Tokens) usageOf(id ID) (reads uint64, last time.Time) {
	if e, ok := t.get(id); ok {
		return e.usage.get()
	}
	return 0, time.Time{}
}

// A Usage tells how much a credential is read.
type Usage struct {
	ReadCount  uint64
	LastUsedAt time.Time // zero if never
}

// Usage returns how often a credential was read, and when last.
func (b *Broker) Usage(ctx context.Context, caller Caller, ref string) (Usage, error) {
	view, err := b.Credential(ctx, caller, ref)
	if err != nil {
		return Usage{}, err
	}
	return Usage{view.ReadCount, view.LastUsedAt}, nil
}

// TrackUsage counts a use that somebody else made of a credential.
func (b *Broker) TrackUsage(ctx context.Context, caller Caller, ref string) error {
	s, err := b.find(ctx, caller, VerbRead, ref)
	if err != nil {
		return err
	}
	b.Tokens.used(s.ID, time.Now())
	return nil
}

// unwritten returns the ids of the credentials with reads to write down.
func (t *Tokens) unwritten() []ID {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var ids []ID
	for id, e := range t.entries {
		if e.usage.reads.Load() > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// writeUsage adds the reads since the last time to the stored counts. What
// cannot be written now stays counted for the next time.
func (b *Broker) writeUsage(ctx context.Context) {
	for _, id := range b.Tokens.unwritten() {
		reads, last := b.Tokens.usageOf(id)
		c, err := b.Store.Update(ctx, id, func(c *Credential) error {
			c.ReadCount += reads
			c.LastUsedAt = last
			return nil
		})
		if err != nil {
			continue
		}
		b.Tokens.Put(c)
		if e, ok := b.Tokens.get(id); ok {
			e.usage.reads.Add(-reads)
		}
	}
}
