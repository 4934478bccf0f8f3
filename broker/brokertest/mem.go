package brokertest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/invectd/invectd/broker"
)

// A MemStore is a [broker.Store] in memory, for tests of what stands on one. It
// passes [TestStore]. The zero MemStore is empty and ready.
type MemStore struct {
	mu             sync.Mutex
	failure        error                            // guarded by mu, as all below
	credentials    map[broker.ID]broker.Credential  //
	authorizations map[string]broker.Authorization  // by state
	definitions    map[string]broker.Definition     // by id
	apps           map[string]broker.App            // by provider
	kept           map[string]broker.KeptDefinition // by id
	revocations    map[string]broker.Revocation     // by id
	grants         map[broker.ID]broker.Grant       //
	secondKey      string                           // its id
}

var _ broker.Store = (*MemStore)(nil)

// Fail has everything from now on fail with an error wrapping
// [broker.ErrStoreUnavailable] and cause, until it is called with nil.
func (m *MemStore) Fail(cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = nil
	if cause != nil {
		m.failure = fmt.Errorf("%w: %w", broker.ErrStoreUnavailable, cause)
	}
}

// begin locks the store; the caller unlocks it unless there is an error.
func (m *MemStore) begin(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	if m.failure != nil {
		defer m.mu.Unlock()
		return m.failure
	}
	if m.credentials == nil {
		m.credentials = map[broker.ID]broker.Credential{}
		m.authorizations = map[string]broker.Authorization{}
		m.definitions = map[string]broker.Definition{}
		m.apps = map[string]broker.App{}
		m.grants = map[broker.ID]broker.Grant{}
		m.kept = map[string]broker.KeptDefinition{}
		m.revocations = map[string]broker.Revocation{}
	}
	return nil
}

// Writable implements [broker.Store].
func (m *MemStore) Writable(ctx context.Context) error {
	err := m.begin(ctx)
	if err == nil {
		m.mu.Unlock()
	}
	return err
}

// Summaries implements [broker.Store].
func (m *MemStore) Summaries(ctx context.Context) iter.Seq2[broker.Summary, error] {
	return func(yield func(broker.Summary, error) bool) {
		if err := m.begin(ctx); err != nil {
			yield(broker.Summary{}, err)
			return
		}
		all := slices.Collect(maps.Values(m.credentials))
		m.mu.Unlock()
		for _, c := range all {
			if !yield(cloneCredential(c).Summary, nil) {
				return
			}
		}
	}
}

// Get implements [broker.Store].
func (m *MemStore) Get(ctx context.Context, id broker.ID) (broker.Credential, error) {
	if err := m.begin(ctx); err != nil {
		return broker.Credential{}, err
	}
	defer m.mu.Unlock()
	c, ok := m.credentials[id]
	if !ok {
		return broker.Credential{}, fmt.Errorf("credential %q: %w", id, broker.ErrNotFound)
	}
	return cloneCredential(c), nil
}

// Create implements [broker.Store].
func (m *MemStore) Create(ctx context.Context, c broker.Credential) (broker.Credential, error) {
	if c.ID == "" {
		return broker.Credential{}, errors.New("a credential without an id cannot be stored")
	}
	if err := m.begin(ctx); err != nil {
		return broker.Credential{}, err
	}
	defer m.mu.Unlock()
	if _, ok := m.credentials[c.ID]; ok {
		return broker.Credential{}, fmt.Errorf("credential %q exists: %w", c.ID, broker.ErrConflict)
	}
	c.Revision = 1
	m.credentials[c.ID] = cloneCredential(c)
	return cloneCredential(c), nil
}

// Update implements [broker.Store].
func (m *MemStore) Update(ctx context.Context, id broker.ID, change func(*broker.Credential) error) (broker.Credential, error) {
	if err := m.begin(ctx); err != nil {
		return broker.Credential{}, err
	}
	defer m.mu.Unlock()
	old, ok := m.credentials[id]
	if !ok {
		return broker.Credential{}, fmt.Errorf("credential %q: %w", id, broker.ErrNotFound)
	}
	c := cloneCredential(old)
	if err := change(&c); err != nil {
		return broker.Credential{}, err
	}
	c.ID, c.Revision = id, old.Revision+1
	m.credentials[id] = cloneCredential(c)
	return cloneCredential(c), nil
}

// Delete implements [broker.Store].
func (m *MemStore) Delete(ctx context.Context, id broker.ID) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	return remove(m.credentials, id)
}

// CreateAuthorization implements [broker.Store].
func (m *MemStore) CreateAuthorization(ctx context.Context, a broker.Authorization) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, ok := m.authorizations[a.State]; ok {
		return fmt.Errorf("the state of an authorization is taken: %w", broker.ErrConflict)
	}
	m.authorizations[a.State] = cloneAuthorization(a)
	return nil
}

// TakeAuthorization implements [broker.Store].
func (m *MemStore) TakeAuthorization(ctx context.Context, state string) (broker.Authorization, error) {
	if err := m.begin(ctx); err != nil {
		return broker.Authorization{}, err
	}
	defer m.mu.Unlock()
	a, ok := m.authorizations[state]
	if !ok {
		return broker.Authorization{}, fmt.Errorf("authorization: %w", broker.ErrNotFound)
	}
	delete(m.authorizations, state)
	return a, nil
}

// ExpireAuthorizations implements [broker.Store].
func (m *MemStore) ExpireAuthorizations(ctx context.Context, now time.Time) (removed int, err error) {
	if err := m.begin(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	for state, a := range m.authorizations {
		if a.ExpiresAt.Before(now) {
			delete(m.authorizations, state)
			removed++
		}
	}
	return removed, nil
}

// StoredDefinitions implements [broker.DefinitionStore], ordered by id.
func (m *MemStore) StoredDefinitions(ctx context.Context) ([]broker.Definition, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return ordered(m.definitions, cloneDefinition), nil
}

// PutDefinition implements [broker.DefinitionStore].
func (m *MemStore) PutDefinition(ctx context.Context, d broker.Definition) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.definitions[d.ID] = cloneDefinition(d)
	return nil
}

// DeleteDefinition implements [broker.DefinitionStore].
func (m *MemStore) DeleteDefinition(ctx context.Context, id string) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	return remove(m.definitions, id)
}

// Apps implements [broker.AppStore], ordered by provider.
func (m *MemStore) Apps(ctx context.Context) ([]broker.App, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return ordered(m.apps, cloneApp), nil
}

// App implements [broker.AppStore].
func (m *MemStore) App(ctx context.Context, providerID string) (broker.App, error) {
	if err := m.begin(ctx); err != nil {
		return broker.App{}, err
	}
	defer m.mu.Unlock()
	a, ok := m.apps[providerID]
	if !ok {
		return broker.App{}, fmt.Errorf("app %q: %w", providerID, broker.ErrNotFound)
	}
	return cloneApp(a), nil
}

// PutApp implements [broker.AppStore].
func (m *MemStore) PutApp(ctx context.Context, a broker.App) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.apps[a.ProviderID] = cloneApp(a)
	return nil
}

// DeleteApp implements [broker.AppStore].
func (m *MemStore) DeleteApp(ctx context.Context, providerID string) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	return remove(m.apps, providerID)
}

// KeptDefinitions implements [broker.DefinitionStore], ordered by id.
func (m *MemStore) KeptDefinitions(ctx context.Context) ([]broker.KeptDefinition, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return ordered(m.kept, cloneKept), nil
}

// KeepDefinition implements [broker.DefinitionStore].
func (m *MemStore) KeepDefinition(ctx context.Context, k broker.KeptDefinition) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.kept[k.Definition.ID] = cloneKept(k)
	return nil
}

// DropDefinition implements [broker.DefinitionStore].
func (m *MemStore) DropDefinition(ctx context.Context, id string) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	return remove(m.kept, id)
}

// DeleteRevoking implements [broker.RevocationStore].
func (m *MemStore) DeleteRevoking(ctx context.Context, id broker.ID, revoke func(*broker.Credential) (*broker.Revocation, error)) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	c, ok := m.credentials[id]
	if !ok {
		return fmt.Errorf("credential %q: %w", id, broker.ErrNotFound)
	}
	c = cloneCredential(c)
	r, err := revoke(&c)
	if err != nil {
		return err
	}
	if r != nil {
		m.revocations[r.ID] = cloneRevocation(*r)
	}
	delete(m.credentials, id)
	return nil
}

// Revocations implements [broker.RevocationStore].
func (m *MemStore) Revocations(ctx context.Context) ([]broker.Revocation, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return ordered(m.revocations, cloneRevocation), nil
}

// PutRevocation implements [broker.RevocationStore].
func (m *MemStore) PutRevocation(ctx context.Context, r broker.Revocation) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.revocations[r.ID] = cloneRevocation(r)
	return nil
}

// DeleteRevocation implements [broker.RevocationStore].
func (m *MemStore) DeleteRevocation(ctx context.Context, id string) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	return remove(m.revocations, id)
}

func remove[K ~string, V any](from map[K]V, key K) error {
	if _, ok := from[key]; !ok {
		return fmt.Errorf("%q: %w", key, broker.ErrNotFound)
	}
	delete(from, key)
	return nil
}

func ordered[K cmp.Ordered, V any](from map[K]V, clone func(V) V) []V {
	all := make([]V, 0, len(from))
	for _, key := range slices.Sorted(maps.Keys(from)) {
		all = append(all, clone(from[key]))
	}
	return all
}

// The clones keep what a test does to a value away from the store and back, as
// a disk does.

func cloneCredential(c broker.Credential) broker.Credential {
	for _, t := range []*time.Time{
		&c.IssuedAt, &c.ExpiresAt, &c.RetryAt, &c.CreatedAt, &c.UpdatedAt, &c.LastRefreshAt, &c.LastUsedAt,
	} {
		*t = t.Round(0).UTC()
	}
	if c.Intent != nil {
		c.Intent = &broker.Intent{Generation: c.Intent.Generation, At: c.Intent.At.Round(0).UTC()}
	}
	if c.Metadata != nil {
		c.Metadata = broker.NewConfig(c.Metadata).Reveal()
	}
	return c
}

func cloneAuthorization(a broker.Authorization) broker.Authorization {
	a.Definition = cloneDefinition(a.Definition)
	a.Scopes = slices.Clone(a.Scopes)
	a.Inputs = maps.Clone(a.Inputs)
	a.ExpiresAt = a.ExpiresAt.Round(0).UTC()
	return a
}

// cloneDefinition panics where a definition is no JSON, which it always is.
func cloneDefinition(d broker.Definition) (clone broker.Definition) {
	encoded, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(encoded, &clone)
	}
	if err != nil {
		panic(err)
	}
	return clone
}

func cloneKept(k broker.KeptDefinition) broker.KeptDefinition {
	return broker.KeptDefinition{Definition: cloneDefinition(k.Definition), File: k.File, Plugin: k.Plugin}
}

func cloneRevocation(r broker.Revocation) broker.Revocation {
	for _, t := range []*time.Time{&r.EndsAt, &r.Since, &r.RetryAt, &r.GivenUpAt} {
		*t = t.Round(0).UTC()
	}
	r.Tokens = slices.Clone(r.Tokens)
	return r
}

func cloneApp(a broker.App) broker.App {
	a.Inputs = maps.Clone(a.Inputs)
	return a
}

// Backup implements [broker.Backups]. What it writes tells only how many
// credentials there are.
func (m *MemStore) Backup(ctx context.Context, w io.Writer) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	count := len(m.credentials)
	m.mu.Unlock()
	_, err := fmt.Fprintf(w, "a backup of %d credentials\n", count)
	return err
}

// memKeyID is the id of the key that a MemStore was opened with, so to speak.
const memKeyID = "0000000000000000"

// AddKey implements [broker.Keys]. It keeps no more of the key than its id.
func (m *MemStore) AddKey(ctx context.Context, key broker.Secret) (broker.KeyIDs, error) {
	decoded, err := base64.StdEncoding.DecodeString(key.Reveal())
	if err != nil || len(decoded) != 32 {
		message := "it is not base64 of 32 bytes"
		return broker.KeyIDs{}, &broker.InvalidError{Message: "key: " + message, Fields: []broker.FieldError{{Path: "key", Message: message}}}
	}
	if err := m.begin(ctx); err != nil {
		return broker.KeyIDs{}, err
	}
	defer m.mu.Unlock()
	if m.secondKey != "" {
		return broker.KeyIDs{}, fmt.Errorf("two keys open the store already: %w", broker.ErrConflict)
	}
	digest := sha256.Sum256(decoded)
	m.secondKey = hex.EncodeToString(digest[:8])
	return broker.KeyIDs{All: []string{memKeyID, m.secondKey}, Active: memKeyID}, nil
}

// RetireKeys implements [broker.Keys].
func (m *MemStore) RetireKeys(ctx context.Context) (broker.KeyIDs, error) {
	if err := m.begin(ctx); err != nil {
		return broker.KeyIDs{}, err
	}
	defer m.mu.Unlock()
	m.secondKey = ""
	return broker.KeyIDs{All: []string{memKeyID}, Active: memKeyID}, nil
}
