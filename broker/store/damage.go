package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/invectd/invectd/broker"
)

// A Damage says what is wrong with one record.
type Damage struct {
	Kind string // what it holds, "body of credential"
	ID   string // of the credential, definition or app; a digest for authorizations; "" if it cannot be read
	Err  error
	at   place
}

// A DamagedError reports records that were stored and are lost or not what was
// written. It is [broker.ErrStoreUnavailable], and never [broker.ErrNotFound].
type DamagedError struct {
	Records []Damage // those that something still names
	Lost    int      // how many more are lost, that nothing names
	Detail  string   // "" or what is wrong with the store as a whole
}

func (e *DamagedError) Error() string {
	const shown = 8
	var parts []string
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	for i, d := range e.Records {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Records)-shown))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %q %v", d.Kind, d.ID, d.Err))
	}
	if e.Lost > 0 {
		parts = append(parts, fmt.Sprintf("%d records are lost that nothing names", e.Lost))
	}
	return "the store is damaged: " + strings.Join(parts, "; ")
}

// Is makes [errors.Is] find [broker.ErrStoreUnavailable], and [broker.ErrDamaged]
// where it is about records that are named.
func (e *DamagedError) Is(target error) bool {
	return target == broker.ErrStoreUnavailable || target == broker.ErrDamaged && e.contained()
}

// contained reports whether all that is wrong is with records that are named: the
// others can be served.
func (e *DamagedError) contained() bool {
	return e.Detail == "" && e.Lost == 0 && !slices.ContainsFunc(e.Records, func(d Damage) bool {
		return !slices.Contains(recordKinds, d.at.kind)
	})
}

func damaged(at place, err error) *DamagedError {
	return &DamagedError{Records: []Damage{{at.kind.String(), at.id, err, at}}}
}

// add takes over what another names, once.
func (e *DamagedError) add(other *DamagedError) {
	for _, d := range other.Records {
		known := slices.ContainsFunc(e.Records, func(k Damage) bool { return k.at == d.at })
		if !known {
			e.Records = append(e.Records, d)
		}
	}
}
