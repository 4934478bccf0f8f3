package broker

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// redacted is what every way of printing a [Secret] or a [Config] yields.
const redacted = "[redacted]"

// A Secret is a string that does not print: every fmt verb, slog and the JSON
// and text encoders yield "[redacted]". [Secret.Reveal] is the one way out. The
// zero Secret is empty.
//
// The value lies behind a closure because fmt cannot call the methods of an
// unexported field and would print the bytes of a string or of what a pointer
// leads to; of a closure it prints an address.
type Secret struct{ reveal func() string }

// NewSecret wraps s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{func() string { return s }}
}

// Reveal returns the secret itself. Each call is a place to look at in review.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// Empty reports whether there is no secret.
func (s Secret) Empty() bool { return s.reveal == nil }

// Equal compares in constant time.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements [fmt.Formatter] for all verbs.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
