package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"
)

// A CredentialPatch changes the fields that are not nil, and of the config the
// keys that are there, as [Config.Merge] does.
type CredentialPatch struct {
	Name        *string
	Type        *string
	AuthType    *AuthType // may only repeat what it is
	Description *string
	Config      map[string]any
	Metadata    map[string]any
	IsActive    *bool
	IsShared    *bool
	WorkspaceID *string
}

// UpdateCredential changes a credential.
func (b *Broker) UpdateCredential(ctx context.Context, caller Caller, ref string, p CredentialPatch) (_ View, err error) {
	s, err := b.find(ctx, caller, VerbWrite, ref)
	if err != nil {
		return View{}, err
	}
	change, err := b.begin(s.entry)
	if err != nil {
		return View{}, err
	}
	defer change.end(&err)
	var move Decision
	view, err := b.update(ctx, s.ID, func(c *Credential) (err error) {
		before := c.subject()
		if err := p.apply(c, time.Now().UTC()); err != nil {
			return err
		}
		move, err = b.decideMove(caller, before, c.subject())
		return err
	})
	if errors.Is(err, ErrForbidden) {
		denied := s.entry
		denied.Rule = move.Rule
		b.Auditor.Denied(denied)
	}
	if err != nil {
		return View{}, fmt.Errorf("changing credential %q: %w", s.Name, err)
	}
	change.made(&view.Credential)
	return view, nil
}

func (p CredentialPatch) apply(c *Credential, now time.Time) error {
	if p.AuthType != nil && *p.AuthType != c.AuthType {
		return invalid("authType", "is %s and cannot change; create another credential", c.AuthType)
	}
	if p.Name != nil {
		if err := checkName(*p.Name); err != nil {
			return err
		}
		c.Name = *p.Name
	}
	if p.Type != nil && *p.Type == "" {
		return invalid("type", "must not be empty")
	}
	replace(&c.Type, p.Type)
	replace(&c.Description, p.Description)
	replace(&c.IsActive, p.IsActive)
	replace(&c.IsShared, p.IsShared)
	replace(&c.WorkspaceID, p.WorkspaceID)
	if p.Metadata != nil {
		c.Metadata = rewritten(c.Metadata, p.Metadata)
	}
	c.settleRefresh()
	config := c.Config.Merge(p.Config)
	if config.Text(KeyProvider) != c.Config.Text(KeyProvider) {
		return invalid("config."+KeyProvider, "cannot change, since the stored tokens are for %q; create another credential", c.Provider)
	}
	if config.Text(KeySubjectCredentialID) != c.Config.Text(KeySubjectCredentialID) {
		return invalid("config."+KeySubjectCredentialID, "cannot change, since whoever creates a credential must be allowed to read the other one; create another credential")
	}
	if !sameDeviceFlow(config, c.Config) {
		return invalid("config."+keyDeviceFlow, "cannot change; start another flow")
	}
	for _, key := range []string{KeyInputs, KeyCaptured} {
		// They can be part of a host, and the stored secrets are for the old one.
		if !maps.Equal(config.Texts(key), c.Config.Texts(key)) {
			return invalid("config."+key, "cannot change; reconnect with the new inputs, or create another credential")
		}
	}
	return c.rewrite(config, now)
}

func replace[T any](field *T, with *T) {
	if with != nil {
		*field = *with
	}
}

// rewrite gives the credential another config, and works out anew what follows
// from it: a new generation where the token is another, the expiry, the status.
func (c *Credential) rewrite(config Config, now time.Time) error {
	config = withServiceAccount(config)
	if err := checkConfig(c.AuthType, config); err != nil {
		return err
	}
	expiresAt, err := configTime(config, KeyExpiresAt)
	if err != nil {
		return err
	}
	old, had := c.Token()
	newGrant := !config.Secret(KeyRefreshToken).Equal(c.Config.Secret(KeyRefreshToken))
	newClient := !sameRequest(config, c.Config)
	if newGrant {
		config = config.With(keyDeviceFlow, nil) // what it was to bring has come another way
	}
	if !expiresAt.IsZero() {
		config = config.With(KeyExpiresAt, expiresAt.Format(time.RFC3339))
	}
	c.Config, c.ExpiresAt, c.UpdatedAt = config, expiresAt, now
	c.Renewable = c.renewable()

	token, has := c.Token()
	changed := has && !token.Access.Equal(old.Access)
	if changed {
		c.Generation++
		c.IssuedAt = now
	}
	if changed || newGrant || newClient {
		c.RetryAt = time.Time{}
	}
	if newGrant {
		c.Intent = nil // it was about the old one
	}
	waits := c.AuthType == AuthOAuth2 && !has
	// What a state becomes is drawn in the package comment of refresher.
	switch {
	case waits && (newGrant || c.Status != StatusReauth && (had || newClient)):
		c.Status, c.StatusReason = StatusPending, ""
	case waits:
	case changed, newGrant, c.Status == StatusPending, newClient && c.Status == StatusDegraded:
		c.Status, c.StatusReason = StatusActive, ""
	}
	return nil
}

// required are the config keys that each kind cannot do without.
var required = map[AuthType][]string{
	AuthAPIKey: {KeyAPIKey},
	AuthBearer: {KeyToken},
	AuthBasic:  {KeyUsername},
}

func checkConfig(t AuthType, config Config) error {
	for _, key := range required[t] {
		if config.Text(key) == "" {
			return invalid("config."+key, "a credential of type %s needs it", t)
		}
	}
	if t == AuthBasic && strings.Contains(config.Text(KeyUsername), ":") {
		return invalid("config."+KeyUsername, "must not have a colon (RFC 7617, section 2)")
	}
	for _, key := range []string{KeyAccessToken, KeyRefreshToken, KeyAPIKey, KeyToken, KeySubjectToken, KeyActorToken} {
		if secret := config.Text(key); strings.ContainsFunc(secret, unicode.IsControl) {
			return invalid("config."+key, "has control characters, such as a line end, which no request header can carry")
		}
	}
	if err := checkHeaders(config); err != nil {
		return err
	}
	if t != AuthOAuth2 {
		return nil
	}
	return checkGrant(config)
}

// checkHeaders refuses what would end a request header early and begin another.
func checkHeaders(config Config) error {
	if name := config.Text(KeyParamName); name != "" && !isHeaderName(name) {
		return invalid("config."+KeyParamName, "has characters that no header name has")
	}
	for name, value := range config.Texts(KeyHeaders) {
		if name != "" && !isHeaderName(name) || strings.ContainsFunc(value, unicode.IsControl) {
			return invalid("config."+KeyHeaders, "one of them has characters that no header has, such as a line end")
		}
	}
	return nil
}

// isHeaderName reports whether name is a token of RFC 9110, section 5.6.2.
func isHeaderName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// configTime reads an RFC 3339 time; zero where there is none.
func configTime(config Config, key string) (time.Time, error) {
	if value, ok := config.raw()[key]; !ok || value == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, config.Text(key))
	if at = at.UTC(); err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return time.Time{}, invalid("config."+key, "give a time as RFC 3339 has it, like 2026-11-23T15:04:05Z")
	}
	return at, nil
}
