package broker

import (
	"cmp"
	"maps"
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
}

// An entry never changes, but for its counts; a newer revision replaces it.
type entry struct {
	summary Summary
	token   Token             // its Access is empty until the body was read
	labels  map[string]string // of the metadata; nil until the body was read
	usage   *usage            // shared by all revisions
}

// NewTokens returns an empty memory.
func NewTokens() *Tokens {
	return &Tokens{
		entries:    map[ID]*entry{},
		byName:     map[string]map[ID]*entry{},
		byProvider: map[string]map[ID]*entry{},
	}
}

// Load adds a summary that the store holds, at start.
func (t *Tokens) Load(s Summary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replace(nil, &entry{summary: s, usage: new(usage)})
}

// Add takes note of a credential that was just created.
func (t *Tokens) Add(c Credential) {
	token, _ := c.Token()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replace(t.entries[c.ID], &entry{summary: c.Summary, token: token, labels: Labels(c.Metadata), usage: new(usage)})
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
	c.Hindrance = old.summary.Hindrance
	t.replace(old, &entry{summary: c.Summary, token: token, labels: Labels(c.Metadata), usage: old.usage})
}

// Hinder takes note of why a refresh of a credential that is wanted is not made;
// "" where nothing is in its way any more. It touches no disk.
func (t *Tokens) Hinder(id ID, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.entries[id]
	if !ok || old.summary.Hindrance == why {
		return
	}
	hindered := *old
	hindered.summary.Hindrance = why
	t.replace(old, &hindered)
}

// Delete forgets a credential.
func (t *Tokens) Delete(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replace(t.entries[id], nil)
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

// ofProvider returns the credentials of a provider, ordered by id.
func (t *Tokens) ofProvider(provider string) []*entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return sorted(t.byProvider[provider])
}

// named returns the credentials with that name, ordered by id.
func (t *Tokens) named(name string) []*entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return sorted(t.byName[name])
}

// all returns every credential, ordered by id.
func (t *Tokens) all() []*entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return sorted(t.entries)
}

func sorted(entries map[ID]*entry) []*entry {
	out := slices.AppendSeq(make([]*entry, 0, len(entries)), maps.Values(entries))
	slices.SortFunc(out, func(a, b *entry) int { return cmp.Compare(a.summary.ID, b.summary.ID) })
	return out
}

// Provider returns the summaries of a provider's credentials, ordered by id.
func (t *Tokens) Provider(provider string) []Summary { return summaries(t.ofProvider(provider)) }

// Named returns the summaries of the credentials with that name, ordered by id.
func (t *Tokens) Named(name string) []Summary { return summaries(t.named(name)) }

// All returns every summary, ordered by id.
func (t *Tokens) All() []Summary { return summaries(t.all()) }

func summaries(entries []*entry) []Summary {
	out := make([]Summary, len(entries))
	for i, e := range entries {
		out[i] = e.summary
	}
	return out
}
