package store

import (
	"errors"
	"fmt"

	"github.com/invectd/invectd/broker"
)

// verify compares what is there with what the root record accounts for, and
// returns that account.
func (o *opened) verify(s *sealer) (root, error) {
	txn := o.badger.NewTransaction(false)
	defer txn.Discard()
	want, err := view{s, txn}.verify()
	if err != nil {
		return root{}, err
	}
	commits, err := o.head.read()
	if err != nil {
		return root{}, err
	}
	if commits > want.commits {
		return root{}, &DamagedError{Detail: fmt.Sprintf("the last %d commits are lost, since the end of Badger's log is", commits-want.commits)}
	}
	return want, nil
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
	return root{}, v.diagnose(want, found)
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

// diagnose names what is wrong with a store that does not add up: the surviving
// half of a credential names the other.
func (v view) diagnose(want, found root) *DamagedError {
	damage := &DamagedError{}
	named := 0 // of the records that the root accounts for
	for _, k := range recordKinds {
		for r, err := range v.records(k) {
			if err != nil && k == kindSummary {
				continue // what it says of itself is not to be trusted; its body tells
			}
			if err == nil {
				err = v.examine(r)
			}
			d, ok := errors.AsType[*DamagedError](err)
			if !ok {
				continue
			}
			damage.Records = append(damage.Records, d.Records...)
			if d.Records[0].Kind != kindBody.String() {
				named++
			}
		}
	}
	damage.Lost = max(0, int(want.count)-int(found.count)-named)
	switch {
	case found.count > want.count:
		damage.Detail = "it holds records that were removed, or never written by it"
	case damage.Lost == 0 && len(damage.Records) == 0:
		damage.Detail = "a record was put back to an earlier state, or lies where it does not belong"
	}
	return damage
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
