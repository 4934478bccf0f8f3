package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/invectd/invectd/broker"
)

// A stored credential is two records: the summary, of which all are read at
// start, and the body, which is read on demand. The summary holds the tag of its
// body, so that neither can be put back to an earlier state without the other.
type stored struct {
	summary    *record // what the root accounts for
	credential broker.Credential
}

// Summaries implements [broker.Store]. An error that is a [*DamagedError] is
// about one summary, and those after it follow.
func (db *DB) Summaries(ctx context.Context) iter.Seq2[broker.Summary, error] {
	return func(yield func(broker.Summary, error) bool) {
		v, done, err := db.view(ctx)
		if err != nil {
			yield(broker.Summary{}, err)
			return
		}
		defer done()
		for r, err := range v.records(kindSummary) {
			if ctx.Err() != nil {
				yield(broker.Summary{}, context.Cause(ctx))
				return
			}
			var s broker.Summary
			if err == nil {
				s, _, err = v.summary(r)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// summary opens a summary record and returns the tag of its body too.
func (v view) summary(r *record) (s broker.Summary, body [tagSize]byte, err error) {
	plaintext, err := v.sealer.open(r)
	if err == nil {
		s, body, err = decodeSummary(r, plaintext)
	}
	if err != nil {
		return broker.Summary{}, body, damaged(r.place, err)
	}
	return s, body, nil
}

// credential reads both halves of a credential.
func (v view) credential(id broker.ID) (stored, error) {
	head, body := place{kindSummary, string(id)}, place{kindBody, string(id)}
	index, err := v.record(head)
	if errors.Is(err, broker.ErrNotFound) {
		if _, err := v.record(body); errors.Is(err, broker.ErrNotFound) {
			return stored{}, fmt.Errorf("credential %q: %w", id, broker.ErrNotFound)
		}
		return stored{}, damaged(head, errLost)
	}
	if err != nil {
		return stored{}, err
	}
	summary, tag, err := v.summary(index)
	if err != nil {
		return stored{}, err
	}
	r, plaintext, err := v.get(body)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return stored{}, damaged(body, errLost)
	case err != nil:
		return stored{}, err
	case r.revision != index.revision || r.tag() != tag:
		return stored{}, damaged(body, errOlder)
	}
	c, err := decodeBody(plaintext)
	if err != nil {
		return stored{}, damaged(body, err)
	}
	c.Summary = summary
	return stored{index, c}, nil
}

// Get implements [broker.Store].
func (db *DB) Get(ctx context.Context, id broker.ID) (broker.Credential, error) {
	v, done, err := db.view(ctx)
	if err != nil {
		return broker.Credential{}, err
	}
	defer done()
	s, err := v.credential(id)
	return s.credential, err
}

// Create implements [broker.Store].
func (db *DB) Create(ctx context.Context, c broker.Credential) (broker.Credential, error) {
	if c.ID == "" {
		return broker.Credential{}, errors.New("a credential without an id cannot be stored")
	}
	c.Revision = 1
	c = normal(c)
	err := db.commit(ctx, func(b *batch) error {
		_, err := b.record(place{kindSummary, string(c.ID)})
		if err == nil {
			return fmt.Errorf("credential %q exists: %w", c.ID, broker.ErrConflict)
		}
		if !errors.Is(err, broker.ErrNotFound) {
			return err
		}
		return b.putCredential(c, nil)
	})
	if err != nil {
		return broker.Credential{}, err
	}
	return c, nil
}

// Update implements [broker.Store]. change runs in another goroutine; what it
// panics with, Update panics with.
func (db *DB) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	var c broker.Credential
	err := db.commit(ctx, func(b *batch) error {
		old, err := b.credential(id)
		if err != nil {
			return err
		}
		c = old.credential
		if err := change(&c); err != nil {
			return err
		}
		c = normal(c)
		c.ID, c.Revision = id, old.summary.revision+1
		return b.putCredential(c, old.summary)
	})
	if err != nil {
		return broker.Credential{}, err
	}
	return c, nil
}

// putCredential stages both halves of c in the place of old.
func (b *batch) putCredential(c broker.Credential, old *record) error {
	encoded, err := encodeBody(&c)
	if err != nil {
		return err
	}
	body, err := b.sealer.seal(place{kindBody, string(c.ID)}, c.Revision, encoded)
	if err != nil {
		return err
	}
	summary, err := encodeSummary(&c.Summary, body.tag())
	if err != nil {
		return err
	}
	if err := b.put(place{kindSummary, string(c.ID)}, c.Revision, summary, old); err != nil {
		return err
	}
	b.writes = append(b.writes, write{b.sealer.key(body.place), body.encode()})
	return nil
}

// Delete implements [broker.Store]. It does not need to read what it removes, so
// a credential whose content is damaged can be got rid of.
func (db *DB) Delete(ctx context.Context, id broker.ID) error {
	return db.commit(ctx, func(b *batch) error {
		old, err := b.record(place{kindSummary, string(id)})
		if err != nil {
			return fmt.Errorf("credential %q: %w", id, err)
		}
		b.removeCredential(old)
		return nil
	})
}

// removeCredential stages the removal of both halves, of which summary is one.
func (b *batch) removeCredential(summary *record) {
	b.remove(summary)
	b.writes = append(b.writes, write{key: b.sealer.key(place{kindBody, summary.place.id})})
}
