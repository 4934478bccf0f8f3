package broker

import (
	"context"
	"iter"
	"time"
)

// A Store keeps records durably. All methods may be called concurrently. A
// write that returned nil survives a power cut; one that returned an error
// changed nothing that is ever visible. Where the store cannot be read or
// written the error wraps [ErrStoreUnavailable]; whether such a write was made is
// unknown until the store is [Store.Writable] again, and then to be read back.
type Store interface {
	// Summaries yields the summary of every credential, in no order.
	Summaries(ctx context.Context) iter.Seq2[Summary, error]
	// Get returns a credential, or an error wrapping [ErrNotFound].
	Get(ctx context.Context, id ID) (Credential, error)
	// Create writes a new credential with revision 1 and returns it. The error
	// wraps [ErrConflict] where the id is taken.
	Create(ctx context.Context, c Credential) (Credential, error)
	// Update applies change to the stored credential in one transaction, counts
	// its revision up and returns the outcome. change may run more than once, so
	// it only edits its argument; if it returns an error, that error is returned
	// and nothing is written.
	Update(ctx context.Context, id ID, change func(*Credential) error) (Credential, error)
	// Delete removes a credential, or returns an error wrapping [ErrNotFound].
	Delete(ctx context.Context, id ID) error

	// CreateAuthorization writes an authorization in flight.
	CreateAuthorization(ctx context.Context, a Authorization) error
	// TakeAuthorization returns the authorization with that state and removes
	// it: of any number of callers at most one ever gets it, the others an error
	// wrapping [ErrNotFound].
	TakeAuthorization(ctx context.Context, state string) (Authorization, error)
	// ExpireAuthorizations removes those that ended before now.
	ExpireAuthorizations(ctx context.Context, now time.Time) (removed int, err error)

	DefinitionStore
	AppStore
	GrantStore
	RevocationStore

	// Writable returns nil if a write may be expected to succeed now, else an
	// error wrapping [ErrStoreUnavailable]. It is asked before anything is spent
	// whose outcome must be kept.
	Writable(ctx context.Context) error
}

// A DefinitionStore keeps the definitions that came over the API, and the last
// good ones of files.
type DefinitionStore interface {
	StoredDefinitions(ctx context.Context) ([]Definition, error)
	// PutDefinition writes or replaces by id.
	PutDefinition(ctx context.Context, d Definition) error
	// DeleteDefinition removes one, or returns an error wrapping [ErrNotFound].
	DeleteDefinition(ctx context.Context, id string) error

	// KeptDefinitions returns the last good definitions of files, ordered by id.
	KeptDefinitions(ctx context.Context) ([]KeptDefinition, error)
	// KeepDefinition writes or replaces by id.
	KeepDefinition(ctx context.Context, k KeptDefinition) error
	// DropDefinition removes a kept one, or returns an error wrapping [ErrNotFound].
	DropDefinition(ctx context.Context, id string) error
}

// A KeptDefinition is the last good definition that a file held, for the time
// when the file is broken or gone.
type KeptDefinition struct {
	Definition Definition `json:"definition"`
	File       string     `json:"file"` // its path; "" if it came from a plugin
	Plugin     string     `json:"plugin,omitempty"`
}

// A RevocationStore keeps what was deleted and the provider has to be told of.
type RevocationStore interface {
	// DeleteRevoking removes a credential and, where revoke returns one, writes a
	// revocation, in one transaction. revoke sees the credential as it is then
	// and may run more than once; its error is returned and nothing is changed.
	DeleteRevoking(ctx context.Context, id ID, revoke func(*Credential) (*Revocation, error)) error
	// Revocations returns those that wait or were given up, ordered by id.
	Revocations(ctx context.Context) ([]Revocation, error)
	// PutRevocation writes or replaces by id.
	PutRevocation(ctx context.Context, r Revocation) error
	// DeleteRevocation removes one, or returns an error wrapping [ErrNotFound].
	DeleteRevocation(ctx context.Context, id string) error
}

// An App is the client registered with a provider, so that nobody else need
// know it.
type App struct {
	ProviderID string
	Client     Client
	Inputs     map[string]string
	// Origins are where its secret may be sent, see [Definition.origins]; "" where
	// that is not known yet. Inputs that a connection gives stand there as {name}.
	Origins string
}

// An AppStore keeps apps, one for each provider.
type AppStore interface {
	Apps(ctx context.Context) ([]App, error)
	// App returns the app of a provider, or an error wrapping [ErrNotFound].
	App(ctx context.Context, providerID string) (App, error)
	// PutApp writes or replaces by provider.
	PutApp(ctx context.Context, a App) error
	// DeleteApp removes one, or returns an error wrapping [ErrNotFound].
	DeleteApp(ctx context.Context, providerID string) error
}

// Definitions is the registry of what is known of providers.
type Definitions interface {
	// Definition returns the definition in force, or an error wrapping
	// [ErrUnknownProvider].
	Definition(id string) (SourcedDefinition, error)
	// Definitions returns those in force, ordered by id.
	Definitions() []SourcedDefinition
	// Put checks and adds d to the API's own, durably. Where the id is known
	// already: create asks for an error wrapping [ErrConflict]; one of another
	// source is replaced only with override. A bad definition is an
	// [*InvalidError].
	Put(ctx context.Context, d Definition, create, override bool) (SourcedDefinition, error)
	// Delete removes one of the API's own; those of other sources are an error
	// wrapping [ErrConflict], unknown ones [ErrUnknownProvider].
	Delete(ctx context.Context, id string) error
}

// A Refresher gets new tokens and is the only spender of refresh tokens.
type Refresher interface {
	// Refresh returns a token that meets need, asking the provider where the
	// committed one does not. Concurrent calls share one request, which outlives
	// ctx: that bounds the caller's own wait, and ends it with [ErrWaitEnded].
	Refresh(ctx context.Context, id ID, need Need) (Token, error)
	// Schedule takes note of a credential that was committed anew.
	Schedule(s Summary)
	// Forget drops a credential that was deleted.
	Forget(id ID)
	// Due returns when the credential will be refreshed next; zero if never.
	Due(id ID) time.Time
	// Outages returns the token endpoints that fail for everybody now, ordered by
	// host.
	Outages() []Outage
}

// An Outage is a token endpoint that fails for every credential. It is asked by
// one at a time and now and then, while the others wait and spend nothing.
type Outage struct {
	Host    string // or the id of a definition whose endpoint is not known
	Since   time.Time
	Waiting map[string]int // credentials that are to be renewed and wait, by provider
	Failure string         // the last one, for a person
}
