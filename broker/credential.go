package broker

import (
	"crypto/rand"
	"maps"
	"strings"
	"time"
)

// An ID names a credential for ever. It is made by [NewID], holds 130 random
// bits in lower-case letters and digits, and is never used again.
type ID string

// NewID returns a fresh ID.
func NewID() ID { return ID(strings.ToLower(rand.Text())) }

// An AuthType says how a credential authenticates a request.
type AuthType string

// The kinds of credentials.
const (
	AuthAPIKey           AuthType = "apiKey"
	AuthBearer           AuthType = "bearer"
	AuthBasic            AuthType = "basic"
	AuthOAuth2           AuthType = "oauth2"
	AuthJWT              AuthType = "jwt"
	AuthAWSSigV4         AuthType = "awsSigV4"
	AuthConnectionString AuthType = "connectionString"
	AuthCustom           AuthType = "custom"
)

// AuthTypes are all kinds.
var AuthTypes = []AuthType{AuthAPIKey, AuthBearer, AuthBasic, AuthOAuth2, AuthJWT, AuthAWSSigV4, AuthConnectionString, AuthCustom}

// A GrantType is how an OAuth2 credential comes by its tokens, with the values
// of RFC 6749, section 4, and its extensions.
type GrantType string

// The grants that credentials may name.
const (
	GrantAuthorizationCode GrantType = "authorization_code"
	GrantRefreshToken      GrantType = "refresh_token"
	GrantClientCredentials GrantType = "client_credentials"
)

// A Status says how a credential fares.
type Status string

// The states of a credential. Only the first four are stored; Expired and
// Disabled follow from other facts, and Degraded may, see [Summary.StatusAt].
const (
	StatusPending  Status = "pending"         // no token yet
	StatusActive   Status = "active"          //
	StatusDegraded Status = "degraded"        // the last refresh failed and another will be tried
	StatusReauth   Status = "reauth_required" // the provider refused the grant: a person must consent
	StatusExpired  Status = "expired"         // and there is nothing to renew it with
	StatusDisabled Status = "disabled"        // by an operator, isActive is false
)

// Statuses are all of them.
var Statuses = []Status{StatusPending, StatusActive, StatusDegraded, StatusReauth, StatusExpired, StatusDisabled}

// A Summary is what is known of a credential without its body. One lies in
// memory for every credential, so it holds no secret and nothing long.
type Summary struct {
	ID          ID
	Name        string
	Type        string // free text of the creator's, "http-api" if made by a flow
	AuthType    AuthType
	Provider    string // id of the definition, "" if none
	WorkspaceID string // "" if none
	IsActive    bool
	Status      Status // pending, active, degraded or reauth_required

	Generation uint64 // counts tokens, grows only when the token changes
	Revision   uint64 // counts writes, is kept by the store, never shown

	IssuedAt  time.Time // when the token was received; zero if there is none
	ExpiresAt time.Time // when the token ends; zero if never or there is none
	CreatedAt time.Time
	Renewable bool      // whether something is at hand to get the next token with
	RetryAt   time.Time // when a failed refresh may be tried again; zero if none failed
	// Lazy says that the token is renewed when somebody reads it and not ahead
	// of time; only what would die of disuse is renewed by itself. It follows
	// from `metadata.refresh`, which is "eager", the default, or "lazy": metadata
	// is the part of a credential that operators write and see unmasked.
	Lazy bool
	// Origins are where its secrets may be sent: those of the definition that it
	// was authorised with, see [Definition.origins]. "" where that is not known,
	// as of one that has no provider or was never refreshed.
	Origins string

	// Intent is set while a refresh is under way, durably, so that a crash
	// between the provider's answer and its commit is noticed.
	Intent *Intent

	// Hindrance says to a person why a refresh that is wanted is not made, where
	// that is not written down: one that thousands of credentials share is not
	// worth a write for each, and a store that cannot be written would not take
	// it. It is known to [Tokens] alone and never stored; "" if there is none.
	Hindrance string
}

// StatusAt returns the status as callers see it at now. Nobody is told that a
// credential is active whose renewal is hindered, or whose token ended though it
// was to be renewed ahead of that.
func (s Summary) StatusAt(now time.Time) Status {
	ended := !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt)
	switch {
	case !s.IsActive:
		return StatusDisabled
	case s.Status == StatusReauth:
		return s.Status
	case ended && !s.Renewable:
		return StatusExpired
	case ended && !s.Lazy, s.Hindrance != "":
		return StatusDegraded
	}
	return s.Status
}

// ReasonAt returns the reason for what StatusAt says.
func (c *Credential) ReasonAt(now time.Time) string {
	status := c.StatusAt(now)
	switch {
	case c.StatusReason != "", status != StatusDegraded:
		return c.StatusReason
	case c.Hindrance != "":
		return c.Hindrance
	}
	return "the token ended and is not renewed yet; its turn comes, or at once when somebody reads it"
}

// A Credential is a secret that somebody entrusted to the broker, with all that
// is stored of it.
type Credential struct {
	Summary
	StatusReason string // for a person; "" while all is well
	Description  string
	IsShared     bool
	Config       Config
	Metadata     map[string]any

	UpdatedAt     time.Time
	LastRefreshAt time.Time // zero if never
	LastUsedAt    time.Time // when its secret was last read; zero if never; written lazily
	ReadCount     uint64    // how often; written lazily
}

// An Intent says that the refresh token of a generation is about to be spent.
type Intent struct {
	Generation uint64
	At         time.Time
}

// GrantType returns the grant of an OAuth2 credential.
func (c *Credential) GrantType() GrantType {
	if g := c.Config.Text(KeyGrantType); g != "" {
		return GrantType(g)
	}
	return GrantAuthorizationCode
}

// Token returns the token that the credential holds, or false where its kind
// has none that would fit into one header or none was received yet.
func (c *Credential) Token() (Token, bool) {
	t := Token{
		CredentialID: c.ID, Provider: c.Provider, Type: TypeBearer, Generation: c.Generation,
		IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt,
	}
	switch c.AuthType {
	case AuthOAuth2:
		t.Access = c.Config.Secret(KeyAccessToken)
		t.Scope = c.Config.Text(KeyScope)
		t.Captured = c.Config.object(KeyCaptured)
	case AuthBearer:
		t.Access = c.Config.Secret(KeyToken)
	case AuthAPIKey:
		t.Access, t.Type = c.Config.Secret(KeyAPIKey), TypeAPIKey
	}
	return t, !t.Access.Empty()
}

// Apply takes over the tokens of an answer received at now: a new generation,
// in good standing, with no refresh in doubt. A refresh token, a scope and
// captured values that the answer does not bring are kept.
func (c *Credential) Apply(answer TokenResponse, now time.Time) {
	fields := c.Config.Reveal()
	fields[KeyAccessToken] = answer.AccessToken.Reveal()
	fields[KeyTokenType] = TypeBearer
	if !answer.RefreshToken.Empty() {
		fields[KeyRefreshToken] = answer.RefreshToken.Reveal()
	}
	if answer.Scope != "" {
		fields[KeyScope] = answer.Scope
	}
	if len(answer.Captured) > 0 {
		captured := c.Config.object(KeyCaptured)
		maps.Copy(captured, answer.Captured)
		fields[KeyCaptured] = captured
	}
	delete(fields, KeyExpiresAt)
	if !answer.ExpiresAt.IsZero() {
		fields[KeyExpiresAt] = answer.ExpiresAt.UTC().Format(time.RFC3339)
	}
	c.Config = newConfig(fields)

	c.Generation++
	c.IssuedAt, c.ExpiresAt = now, answer.ExpiresAt
	c.LastRefreshAt, c.UpdatedAt = now, now
	c.Status, c.StatusReason = StatusActive, ""
	c.RetryAt, c.Intent = time.Time{}, nil
	c.Renewable = c.renewable()
}

// Rotate takes over a refresh token alone: that which the provider gave for the
// stored one while another access token was written.
func (c *Credential) Rotate(refreshToken Secret) {
	c.Config = c.Config.With(KeyRefreshToken, refreshToken.Reveal())
	c.Intent = nil
}

// renewable reports whether the next token can be had without a person.
func (c *Credential) renewable() bool {
	return c.AuthType == AuthOAuth2 && c.Provider != "" &&
		(c.GrantType() == GrantClientCredentials || c.Config.Text(KeyRefreshToken) != "")
}
