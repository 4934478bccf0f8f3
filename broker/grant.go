package broker

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// A Grant is a capability: whoever presents its secret may do what its rule says,
// on either socket, besides what the policy gives them. What the policy denies
// stays denied.
type Grant struct {
	ID         ID
	Name       string
	Rule       Rule // its Name is "grant " and that of the grant
	CreatedAt  time.Time
	ExpiresAt  time.Time
	LastUsedAt time.Time // zero if never
	MAC        GrantMAC  // of the secret, which is kept nowhere
}

// A GrantMAC is HMAC-SHA256 of the secret of a grant.
type GrantMAC [sha256.Size]byte

// NewGrant returns a grant of a new id. It is bound to who, if that is not empty.
func NewGrant(name string, who Who, may Verbs, on On, expiresAt time.Time) Grant {
	return Grant{ID: NewID(), Name: name, ExpiresAt: expiresAt, Rule: Rule{Name: ruleGrant + name, Who: who, May: may, On: on}}
}

const (
	// MaxGrantLifetime is how long a grant may last.
	MaxGrantLifetime = 30 * 24 * time.Hour
	// grantPrefix begins every secret, so that people and scanners of leaked
	// secrets know what it is.
	grantPrefix = "ivg_"
	// maxGrants bounds how many there may be at once.
	maxGrants = 10_000
)

// grantable are the verbs that a grant may give: those that runners need. Whoever
// mints may do more, and must not be able to hand that on.
var grantable = []Verb{VerbToken, VerbResolve, VerbHeader, VerbRejected, VerbList, VerbRefresh}

// A GrantRequest says what a grant is to give, and to whom.
type GrantRequest struct {
	Name        string   // absent: "grant"
	Credentials []string // ids or names; they, or Providers, have to be given
	Providers   []string // all credentials of theirs, those to come included
	May         []string // verbs; absent: token
	UIDs        []uint32 // who may present it; absent, as the next two: anybody
	Units       []string // systemd units, as patterns
	Cgroups     []string // as patterns
	Lifetime    time.Duration
}

// grant checks a request and makes the grant of it.
func (r *GrantRequest) grant(find func(ref string) (ID, error), now time.Time) (Grant, error) {
	if r.Name == "" {
		r.Name = "grant"
	}
	if err := checkName(r.Name); err != nil {
		return Grant{}, err
	}
	switch {
	case r.Lifetime <= 0:
		return Grant{}, invalid("ttl", "say how long it lasts, such as 1h")
	case r.Lifetime > MaxGrantLifetime:
		return Grant{}, invalid("ttl", "at most %s: mint another one then", MaxGrantLifetime)
	case len(r.Credentials)+len(r.Providers) == 0:
		return Grant{}, invalid("credentials", "name at least one, or a provider")
	}
	may, err := r.verbs()
	if err != nil {
		return Grant{}, err
	}
	on := On{Providers: r.Providers}
	for _, ref := range r.Credentials {
		id, err := find(ref)
		if err != nil {
			return Grant{}, err
		}
		on.IDs = append(on.IDs, id)
	}
	who := Who{UIDs: r.UIDs}
	if who.Units, err = patterns("units", r.Units); err != nil {
		return Grant{}, err
	}
	if who.Cgroups, err = patterns("cgroups", r.Cgroups); err != nil {
		return Grant{}, err
	}
	g := NewGrant(r.Name, who, may, on, now.Add(r.Lifetime))
	g.CreatedAt = now
	return g, nil
}

func (r *GrantRequest) verbs() (Verbs, error) {
	if len(r.May) == 0 {
		r.May = []string{string(VerbToken)}
	}
	may, err := ParseVerbs(r.May...)
	if err != nil {
		return 0, invalid("may", "%v", err)
	}
	var all Verbs
	for _, v := range grantable {
		all |= v.bit()
	}
	if extra := may &^ all; extra != 0 {
		return 0, invalid("may", "a grant gives no %s; it may give %s", strings.Join(extra.each(), " or "), strings.Join(all.each(), ", "))
	}
	return may, nil
}

func patterns(field string, texts []string) (out []Pattern, err error) {
	for _, text := range texts {
		if text == "" {
			return nil, invalid(field, "must not be empty")
		}
		p, err := ParsePattern(text)
		if err != nil {
			return nil, invalid(field, "%v", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// newGrantSecret returns 256 random bits.
func newGrantSecret() Secret {
	var b [32]byte
	rand.Read(b[:])
	return NewSecret(grantPrefix + base64.RawURLEncoding.EncodeToString(b[:]))
}

func (b *Broker) grantMAC(secret Secret) GrantMAC {
	h := hmac.New(sha256.New, []byte(b.GrantKey.Reveal()))
	h.Write([]byte(secret.Reveal()))
	return GrantMAC(h.Sum(nil))
}

// errNoGrant is all that somebody hears whose grant is not in force.
var errNoGrant = fmt.Errorf("the grant that came with the request is not in force here: have another one minted: %w", ErrForbidden)
