package broker

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// Tokens is the memory of what was committed: the summary of every credential,
// by id, name and provider, and the tokens that were read or made lately. A
// read of a token touches nothing else. Nothing is put here that is not durable
// already. All methods may be called concurrently.
type Tokens struct {
	mu         sync.RWMutex
	entries    map[ID]*entry            // guarded by mu
	byName     map[string]map[ID]*entry // guarded by mu
	byProvider map[string]map[ID]*entry // guarded by mu
	nameless   map[ID]error             // guarded by mu; whose summaries cannot be read, see LoadDamaged
}

// An entry never changes, but for its counts; a newer revision replaces it.
type entry struct {
	summary Summary
	token   Token  // its Access is empty until the body was read
	usage   *usage // shared by all revisions
}

// NewTokens returns an empty memory.
func NewTokens() *Tokens {
	return &Tokens{
		entries:    map[ID]*entry{},
		byName:     map[string]map[ID]*entry{},
		byProvider: map[string]map[ID]*entry{},
		nameless:   map[ID]error{},
	}
}

// Load adds a summary that the store holds, at start.
func (t *Tokens) Load(s Summary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replace(nil, &entry{summary: s, usage: new(usage)})
}

// LoadDamaged takes note of a credential of which nothing but the id can be read.
// Its name may be any that nobody else bears, so none of those is answered with
// [ErrNotFound] until it was deleted; err says what is wrong, and wraps
// [ErrDamaged].
func (t *Tokens) LoadDamaged(id ID, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nameless[id] = err
}

// Add takes note of a credential that was just created.
func (t *Tokens) Add(c Credential) {
	token, _ := c.Token()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replace(t.entries[c.ID], &entry{summary: c.Summary, token: token, usage: new(usage)})
}

// Put takes note of what was committed or read of a credential. An older
// revision than the known one changes nothing, and neither does one that was
// deleted meanwhile: commits may be told here in another order than they were
// made.
func (t *Tokens) Put(c Credential) {
	token, _ := c.Token()
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.entries[c.ID]
	if !ok || old.summary.Revision > c.Revision {
		return
	}
	t.replace(old, &entry{summary: c.Summary, token: token, usage: old.usage})
}

// Delete forgets a credential.
func (t *Tokens) Delete(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replace(t.entries[id], nil)
	delete(t.nameless, id)
}

// replace swaps old for new in all indexes; either may be nil. t.mu is held.
func (t *Tokens) replace(old, new *entry) {
	if old != nil {
		delete(t.entries, old.summary.ID)
		remove(t.byName, old.summary.Name, old.summary.ID)
		remove(t.byProvider, old.summary.Provider, old.summary.ID)
	}
	if new != nil {
		t.entries[new.summary.ID] = new
		insert(t.byName, new.summary.Name, new)
		if new.summary.Provider != "" {
			insert(t.byProvider, new.summary.Provider, new)
		}
	}
}

func insert(index map[string]map[ID]*entry, key string, e *entry) {
	set := index[key]
	if set == nil {
		set = make(map[ID]*entry, 1)
		index[key] = set
	}
	set[e.summary.ID] = e
}

func remove(index map[string]map[ID]*entry, key string, id ID) {
	set := index[key]
	delete(set, id)
	if len(set) == 0 {
		delete(index, key)
	}
}

// damaged reports whether nothing but the id of a credential can be read.
func (t *Tokens) damaged(id ID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, ok := t.nameless[id]
	return ok
}

// Find returns the summary of the credential with that id, else of the only one
// with that name. The error wraps [ErrNotFound], [ErrAmbiguousName] or, where it
// is damaged or may be, [ErrDamaged].
func (t *Tokens) Find(ref string) (Summary, error) {
	e, err := t.find(ref)
	if err != nil {
		return Summary{}, err
	}
	return e.summary, nil
}

func (t *Tokens) find(ref string) (*entry, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e, ok := t.entries[ID(ref)]; ok {
		return e, nil
	}
	if err, ok := t.nameless[ID(ref)]; ok {
		return nil, fmt.Errorf("credential %q cannot be read, so delete it and make it anew, or restore a backup: %w", ref, err)
	}
	named := t.byName[ref]
	switch {
	case len(named) == 0 && len(t.nameless) > 0:
		for _, err := range t.nameless {
			return nil, fmt.Errorf("no credential is known as %q, but one that cannot be read may have that name: %w", ref, err)
		}
	case len(named) == 0:
		return nil, fmt.Errorf("credential %q: %w", ref, ErrNotFound)
	case len(named) == 1:
		for _, e := range named {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%d credentials are named %q, use the id: %w", len(named), ref, ErrAmbiguousName)
}

// Get returns the summary of a credential.
func (t *Tokens) Get(id ID) (Summary, bool) {
	e, ok := t.get(id)
	if !ok {
		return Summary{}, false
	}
	return e.summary, true
}

// Token returns the token of a credential as it was last committed, or false if
// it is not in memory.
func (t *Tokens) Token(id ID) (Token, bool) {
	e, ok := t.get(id)
	if !ok || e.token.Access.Empty() {
		return Token{}, false
	}
	return e.token, true
}

func (t *Tokens) get(id ID) (*entry, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, ok := t.entries[id]
	return e, ok
}

// Provider returns the summaries of a provider's credentials, ordered by id.
func (t *Tokens) Provider(provider string) []Summary {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return sorted(t.byProvider[provider])
}

// Named returns the summaries of the credentials with that name, ordered by id.
func (t *Tokens) Named(name string) []Summary {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return sorted(t.byName[name])
}

// All returns every summary, ordered by id.
func (t *Tokens) All() []Summary {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return sorted(t.entries)
}

func sorted(entries map[ID]*entry) []Summary {
	out := make([]Summary, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.summary)
	}
	slices.SortFunc(out, func(a, b Summary) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
