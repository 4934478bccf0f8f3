package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/invectd/invectd/broker"
)

// verify compares what is there with what the root record accounts for, and
// returns that account; also with an error that is [broker.ErrDamaged].
func (o *opened) verify(s *sealer, known *damages) (root, error) {
	txn := o.badger.NewTransaction(false)
	defer txn.Discard()
	known.reset()
	want, err := view{s, txn, known}.verify()
	if err != nil && !errors.Is(err, broker.ErrDamaged) {
		return root{}, err
	}
	commits, headErr := o.head.read()
	switch {
	case headErr != nil:
		return root{}, headErr
	case commits > want.commits:
		return root{}, &DamagedError{Detail: fmt.Sprintf("the last %d commits are lost, since the end of Badger's log is", commits-want.commits)}
	}
	return want, err
}

// verify looks at envelopes only: a record whose content was altered is found
// when it is opened.
func (v view) verify() (root, error) {
	r, plaintext, err := v.get(place{kind: kindRoot})
	if errors.Is(err, broker.ErrNotFound) {
		return root{}, &DamagedError{Detail: "the root record is lost"}
	}
	if err != nil {
		return root{}, err
	}
	want, err := decodeRoot(r, plaintext)
	if err != nil {
		return root{}, damaged(r.place, err)
	}
	found, intact := v.account()
	if intact && found.count == want.count && found.sum == want.sum {
		return want, nil
	}
	return want, v.diagnose(want, found)
}

// account adds up the records that the root accounts for, and reports whether
// each of them could be read.
func (v view) account() (found root, intact bool) {
	intact = true
	for _, k := range recordKinds {
		if k == kindBody {
			continue
		}
		for r, err := range v.records(k) {
			if err != nil {
				intact = false
				continue
			}
			found.add(v.sealer.mark(r))
		}
	}
	return found, intact
}

// diagnose names what is wrong with a store that does not add up. Where the
// records that are named make up for all that is missing, the damage is contained
// in them.
func (v view) diagnose(want, found root) *DamagedError {
	damage, missing, _ := v.findDamage(context.Background())
	damage.Lost = max(0, int(want.count)-int(found.count)-missing)
	switch {
	case found.count > want.count:
		damage.Detail = "it holds records that were removed, or never written by it"
	case damage.Lost == 0 && len(damage.Records) == 0:
		damage.Detail = "a record was put back to an earlier state, or lies where it does not belong"
	}
	return damage
}

// findDamage reads every record in full, and returns what is wrong with each and
// how many of those that the root accounts for are missing: the surviving half of
// a credential names the other. Its error is that of ctx.
func (v view) findDamage(ctx context.Context) (damage *DamagedError, missing int, err error) {
	damage = &DamagedError{}
	present, astray := map[place]uint64{}, map[place]uint64{} // revisions of what lies where it belongs, and elsewhere
	for _, k := range recordKinds {
		for r, err := range v.records(k) {
			if ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
			switch {
			case err == nil:
				present[r.place] = r.revision
				err = v.examine(r)
			case v.authentic(r):
				astray[r.place] = r.revision
				continue
			case k == kindSummary || k == kindBody:
				continue // what it says of itself is not to be trusted; its other half tells
			default:
				missing++
				err = damaged(place{kind: k}, errAltered)
			}
			if d, ok := errors.AsType[*DamagedError](err); ok {
				damage.add(d)
			}
		}
	}
	for at, revision := range astray {
		if revision > present[at] { // else it is a copy
			damage.add(damaged(at, errAstray))
		}
	}
	for _, d := range damage.Records {
		if _, ok := present[d.at]; !ok && d.at.kind != kindBody && d.at.id != "" {
			missing++
		}
	}
	return damage, missing, nil
}

// authentic reports whether a record is as it was written, wherever it lies.
func (v view) authentic(r *record) bool {
	_, err := v.sealer.open(r)
	return err == nil
}

// examine reads one record in full. Of a body it looks at the summary, which was
// not met if it is lost.
func (v view) examine(r *record) error {
	switch r.place.kind {
	case kindSummary:
		_, err := v.credential(broker.ID(r.place.id))
		return err
	case kindBody:
		at := place{kindSummary, r.place.id}
		_, err := v.record(at)
		if errors.Is(err, broker.ErrNotFound) {
			return damaged(at, errLost)
		}
		return err
	}
	_, _, err := v.get(r.place)
	return err
}
