package broker

import (
	"maps"
	"slices"
	"sync"
)

// An idSet is a set of credentials. The zero value is empty. All methods may be
// called concurrently.
type idSet struct {
	mu  sync.Mutex
	ids map[ID]bool // guarded by mu
}

func (s *idSet) add(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[ID]bool{}
	}
	s.ids[id] = true
}

func (s *idSet) remove(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}

func (s *idSet) all() []ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.ids))
}
