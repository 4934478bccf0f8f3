package store

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// KeySize is the length of the operator's key in bytes.
const KeySize = 32

// A Key is the operator's encryption key, which opens the keyring. It prints as
// "[redacted]" in every way. The zero Key opens nothing.
//
// The bytes lie behind a closure for the reason given at [broker.Secret].
type Key struct{ reveal func() []byte }

const newKeyHint = "`invectd secret` prints a new one"

// ParseKey reads a key as operators write it: standard padded base64 of 32
// bytes. White space around it is trimmed. The error is one line, says what is
// wrong, and holds nothing of the key.
func ParseKey(s string) (Key, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Key{}, fmt.Errorf("the encryption key is empty; %s", newKeyHint)
	}
	if strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return Key{}, fmt.Errorf("the encryption key has a line break inside; %s", newKeyHint)
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return Key{}, keySyntaxError(s)
	}
	if len(decoded) != KeySize {
		return Key{}, fmt.Errorf("the encryption key has %d bytes and needs %d; %s", len(decoded), KeySize, newKeyHint)
	}
	if [KeySize]byte(decoded) == ([KeySize]byte{}) {
		return Key{}, fmt.Errorf("the encryption key is all zeros; %s", newKeyHint)
	}
	return Key{func() []byte { return decoded }}, nil
}

// keySyntaxError tells near misses apart from what is no base64 at all.
func keySyntaxError(s string) error {
	if _, err := base64.RawStdEncoding.DecodeString(s); err == nil {
		return errors.New("the encryption key lacks its base64 padding: add = until its length is a multiple of 4")
	}
	if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "=")); err == nil {
		return errors.New("the encryption key is url-safe base64: write + for - and / for _")
	}
	return fmt.Errorf("the encryption key is not base64 of %d bytes; %s", KeySize, newKeyHint)
}

// Format implements [fmt.Formatter] for all verbs.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// LogValue implements [slog.LogValuer].
func (k Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText implements [encoding.TextMarshaler].
func (k Key) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
