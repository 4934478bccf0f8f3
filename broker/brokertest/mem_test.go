package brokertest

import (
	"errors"
	"testing"

	"github.com/invectd/invectd/broker"
)

func TestMemStore(t *testing.T) {
	stores := map[*testing.T]*MemStore{}
	TestStore(t, func(t *testing.T) broker.Store {
		if stores[t] == nil {
			stores[t] = new(MemStore)
		}
		return stores[t]
	})
}

func TestMemStoreFail(t *testing.T) {
	s := new(MemStore)
	create(t, s, "one")
	cause := errors.New("disk full")
	s.Fail(cause)
	_, getErr := s.Get(t.Context(), "one")
	_, updateErr := s.Update(t.Context(), "one", func(*broker.Credential) error { return nil })
	for what, err := range map[string]error{"Get": getErr, "Update": updateErr, "Writable": s.Writable(t.Context())} {
		if !errors.Is(err, broker.ErrStoreUnavailable) || !errors.Is(err, cause) {
			t.Errorf("%s of a failing store = %v, want ErrStoreUnavailable and the cause", what, err)
		}
	}
	s.Fail(nil)
	sameCredential(t, "Get", get(t, s, "one"), FullCredential("one"))
}
