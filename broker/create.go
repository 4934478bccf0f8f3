package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A NewCredential is what it takes to create one.
type NewCredential struct {
	Name        string // absent: that of the provider, else the type
	Type        string // absent: "http-api"
	AuthType    AuthType
	Provider    string // absent: config.oauth2Provider, if any
	Description string
	Config      map[string]any
	Metadata    map[string]any
	IsActive    *bool // absent: true
	IsShared    bool
	WorkspaceID string
}

// CreateCredential stores a new credential. A bad one is an [*InvalidError], a
// provider that nobody defined [ErrUnknownProvider].
func (b *Broker) CreateCredential(ctx context.Context, caller Caller, n NewCredential) (_ View, err error) {
	if err := b.gate(caller, VerbWrite, n.Name); err != nil {
		return View{}, err
	}
	c, err := b.build(n, time.Now().UTC())
	if err != nil {
		return View{}, err
	}
	entry, err := b.authorizeNew(caller, VerbWrite, c.subject())
	if err != nil {
		return View{}, err
	}
	if err := b.settleSubject(ctx, caller, &c); err != nil {
		return View{}, err
	}
	c.Origins = b.originsNow(ctx, &c)
	change, err := b.begin(entry)
	if err != nil {
		return View{}, err
	}
	defer change.end(&err)
	view, err := b.create(ctx, c)
	if err != nil {
		return View{}, err
	}
	change.made(&view.Credential)
	return view, nil
}

// build turns a request into the credential to be stored.
func (b *Broker) build(n NewCredential, now time.Time) (Credential, error) {
	c := Credential{
		Summary: Summary{
			ID: NewID(), Name: n.Name, Type: n.Type, AuthType: n.AuthType, WorkspaceID: n.WorkspaceID,
			Provider: n.Provider, IsActive: n.IsActive == nil || *n.IsActive, Status: StatusPending,
			CreatedAt: now,
		},
		Description: n.Description, IsShared: n.IsShared, Metadata: rewritten(nil, n.Metadata),
	}
	if err := c.settleType(); err != nil {
		return Credential{}, err
	}
	config := Config{}.Merge(n.Config)
	if err := c.settleProvider(&config); err != nil {
		return Credential{}, err
	}
	definition, err := b.definitionOf(&c)
	if err != nil {
		return Credential{}, err
	}
	if c.Name == "" {
		c.Name = definition.Name
	}
	if c.Name == "" {
		c.Name = c.Type
	}
	if err := checkName(c.Name); err != nil {
		return Credential{}, err
	}
	c.settleRefresh()
	if err := c.rewrite(config.With(keyDeviceFlow, nil), now); err != nil {
		return Credential{}, err
	}
	if c.Provider == "" && c.AuthType == AuthOAuth2 && c.GrantType().Repeats() {
		return Credential{}, invalid("provider", "say which provider is asked for the token")
	}
	return c, nil
}

// settleRefresh takes over what metadata.refresh of an OAuth2 credential says:
// "lazy" renews its token when it is read, all else ahead of time. The metadata is
// an open object, so other values are somebody else's.
func (c *Credential) settleRefresh() {
	c.Lazy = c.AuthType == AuthOAuth2 && c.Metadata[keyRefresh] == "lazy"
}

// keyRefresh is where the metadata says when to renew a token.
const keyRefresh = "refresh"

// settleProvider makes provider, config.oauth2Provider and, since front ends
// look there, metadata.oauth2Provider agree.
func (c *Credential) settleProvider(config *Config) error {
	if c.AuthType != AuthOAuth2 {
		return nil
	}
	named := config.Text(KeyProvider)
	if c.Provider == "" {
		c.Provider = named
	}
	if c.Provider == "" {
		return nil
	}
	if named != "" && named != c.Provider {
		return invalid("provider", "is %q, but config.oauth2Provider is %q", c.Provider, named)
	}
	*config = config.With(KeyProvider, c.Provider)
	if _, ok := c.Metadata[KeyProvider]; !ok {
		c.Metadata[KeyProvider] = c.Provider
	}
	return nil
}

// settleType fills in authType or type where one says the other.
func (c *Credential) settleType() error {
	if c.AuthType == "api_key" { // some of Invect's own clients write it so
		c.AuthType = AuthAPIKey
	}
	if c.AuthType == "" {
		switch {
		case c.Type == "api_key":
			c.AuthType = AuthAPIKey
		case slices.Contains(authTypes, AuthType(c.Type)):
			c.AuthType = AuthType(c.Type)
		}
	}
	if !slices.Contains(authTypes, c.AuthType) {
		return invalid("authType", "give one of %s", joinTypes())
	}
	if c.Type == "" {
		c.Type = "http-api"
	}
	return nil
}

var authTypes = []AuthType{
	AuthAPIKey, AuthBearer, AuthBasic, AuthOAuth2, AuthJWT, AuthAWSSigV4, AuthConnectionString, AuthCustom,
}

func joinTypes() string {
	names := make([]string, len(authTypes))
	for i, t := range authTypes {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

// definitionOf returns the definition of an OAuth2 credential's provider; the
// zero definition where it has none, as one whose token was brought along may.
func (b *Broker) definitionOf(c *Credential) (Definition, error) {
	if c.AuthType != AuthOAuth2 || c.Provider == "" {
		return Definition{}, nil
	}
	d, err := b.Definitions.Definition(c.Provider)
	return d.Definition, err
}

// reservedNames are paths of the API where a name could stand.
var reservedNames = []string{".", "..", "expiring", "oauth2", "test-request"}

func checkName(name string) error {
	if slices.Contains(reservedNames, name) {
		return invalid("name", "%q has a meaning of its own in the API; choose another", name)
	}
	if strings.TrimSpace(name) == "" || len(name) > 200 || strings.ContainsFunc(name, unicode.IsControl) {
		return invalid("name", "give 1 to 200 characters, none of them control characters")
	}
	return nil
}

// create commits a new credential and makes it known.
func (b *Broker) create(ctx context.Context, c Credential) (View, error) {
	stored, err := b.Store.Create(ctx, c)
	if err != nil {
		return View{}, fmt.Errorf("storing credential %q: %w", c.Name, err)
	}
	b.Tokens.Add(stored)
	b.Refresher.Schedule(stored.Summary)
	b.publish(EventCreated, stored)
	return b.view(stored, time.Now()), nil
}

// update commits a change of a credential and makes it known.
func (b *Broker) update(ctx context.Context, id ID, change func(*Credential) error) (View, error) {
	c, err := b.Store.Update(ctx, id, change)
	if err != nil {
		return View{}, err
	}
	b.Tokens.Put(c)
	b.Refresher.Schedule(c.Summary)
	b.publish(EventUpdated, c)
	return b.view(c, time.Now()), nil
}

func (b *Broker) publish(what EventType, c Credential) {
	b.Events.Publish(Event{Type: what, CredentialID: c.ID, Status: c.StatusAt(time.Now()), Reason: c.StatusReason})
}
