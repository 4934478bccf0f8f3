package broker

import "time"

// A Token is what a runner gets: an access token or another secret that goes
// into one header, and what is known of its life.
type Token struct {
	CredentialID ID
	Provider     string // id of the definition; "" outside OAuth2
	Access       Secret
	Type         string // "Bearer" or "ApiKey"
	Scope        string // space-separated; "" if unknown
	IssuedAt     time.Time
	ExpiresAt    time.Time // zero: never
	Generation   uint64
	Captured     map[string]any // what the provider's answers brought beside it; not to be changed
}

// The token types that callers see.
const (
	TypeBearer = "Bearer"
	TypeAPIKey = "ApiKey"
)

// ValidFor returns how much longer the token lives at now; never negative, and
// the longest duration where it does not expire.
func (t Token) ValidFor(now time.Time) time.Duration {
	if t.ExpiresAt.IsZero() {
		return forever
	}
	return max(0, t.ExpiresAt.Sub(now))
}

const forever = time.Duration(1<<63 - 1)

// A Need says which token is good enough. The zero Need is met by any token
// that has not expired.
type Need struct {
	// Validity is how much longer the token has to live. No token has to live
	// longer than half of its own lifetime, or short ones could never serve.
	Validity time.Duration
	// After is the newest generation that is not good enough.
	After uint64
	// Force asks the provider even in the pause after a failure. It is an
	// operator's; runners would undo the pause by their number.
	Force bool
}

// Met reports whether t satisfies n at now.
func (n Need) Met(t Token, now time.Time) bool {
	if t.Access.Empty() || t.Generation <= n.After && n.After > 0 {
		return false
	}
	if t.ExpiresAt.IsZero() {
		return true
	}
	if FromFuture(t.IssuedAt, now) {
		return false
	}
	left := t.ExpiresAt.Sub(now)
	return left > 0 && left >= n.required(t)
}

// clockTolerance is how far the clock may be set back without anybody minding.
const clockTolerance = time.Minute

// FromFuture reports whether at lies so far ahead of now that the clock has been
// set back since. A token that was issued then ends earlier than its ExpiresAt,
// and nobody knows by how much.
func FromFuture(at, now time.Time) bool { return at.After(now.Add(clockTolerance)) }

// required is the smaller of Validity and half of the token's lifetime.
func (n Need) required(t Token) time.Duration {
	if t.IssuedAt.IsZero() {
		return n.Validity
	}
	return min(n.Validity, t.ExpiresAt.Sub(t.IssuedAt)/2)
}
