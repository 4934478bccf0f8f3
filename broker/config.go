package broker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
)

// Mask stands for every secret in what operators are shown. Written back, it
// means "keep what is stored".
const Mask = "••••••••"

// The keys of [Config] that the broker itself reads or writes. The object is
// open: others are kept and, being strings, masked.
const (
	KeyProvider     = "oauth2Provider"
	KeyGrantType    = "grantType"
	KeyClientID     = "clientId"
	KeyClientSecret = "clientSecret"
	KeyAccessToken  = "accessToken"
	KeyRefreshToken = "refreshToken"
	KeyTokenType    = "tokenType"
	KeyScope        = "scope"
	KeyExpiresAt    = "expiresAt"
	KeyInputs       = "inputs"
	KeyCaptured     = "captured"
	KeyPrivateKey   = "privateKey"
	KeyPrivateKeyID = "privateKeyId"
	KeyCertificate  = "certificate"

	KeyIssuer              = "issuer"   // of an assertion; absent: the client
	KeySubject             = "subject"  // of an assertion; absent: its issuer
	KeyAudience            = "audience" // of an assertion, or of the token asked for
	KeyClaims              = "claims"   // further ones of an assertion
	KeyResource            = "resource"
	KeySubjectToken        = "subjectToken"
	KeySubjectTokenType    = "subjectTokenType"
	KeySubjectCredentialID = "subjectCredentialId" // whose token is the subject token
	KeyActorToken          = "actorToken"
	KeyActorTokenType      = "actorTokenType"
	KeyRequestedTokenType  = "requestedTokenType"

	KeyAPIKey    = "apiKey"
	KeyToken     = "token"
	KeyUsername  = "username"
	KeyPassword  = "password"
	KeyLocation  = "location"
	KeyParamName = "paramName"
	KeyHeaders   = "headers"
)

// shown are the keys whose strings are not masked.
var shown = []string{
	KeyProvider, KeyGrantType, KeyClientID, KeyTokenType, KeyScope, KeyExpiresAt,
	KeyLocation, KeyParamName, KeyUsername, "region", "service", "algorithm",
	"apiUrl", "baseUrl", "endpoint", KeyInputs, KeyCaptured,
}

// A Config is what a credential is made of: an open JSON object that holds its
// secrets. It is immutable and prints as "[redacted]". The zero Config is empty.
type Config struct{ fields func() map[string]any }

// NewConfig takes a copy of fields, whose values are those of encoding/json
// with numbers as [json.Number].
func NewConfig(fields map[string]any) Config {
	return newConfig(cloneObject(fields))
}

func newConfig(own map[string]any) Config {
	return Config{func() map[string]any { return own }}
}

func (c Config) raw() map[string]any {
	if c.fields == nil {
		return nil
	}
	return c.fields()
}

// Reveal returns a copy of the whole object, secrets included. It is for the
// store and for [Config.Masked]; callers see single fields.
func (c Config) Reveal() map[string]any { return cloneObject(c.raw()) }

// Text returns the string under key, "" if there is none or it is no string.
func (c Config) Text(key string) string {
	s, _ := c.raw()[key].(string)
	return s
}

// Secret returns the string under key as a [Secret].
func (c Config) Secret(key string) Secret { return NewSecret(c.Text(key)) }

// Texts returns the strings of the object under key, as `headers` and `inputs`
// hold them. Numbers and booleans are rendered; other values are left out.
func (c Config) Texts(key string) map[string]string {
	object, _ := c.raw()[key].(map[string]any)
	out := make(map[string]string, len(object))
	for name, value := range object {
		switch value := value.(type) {
		case string:
			out[name] = value
		case json.Number, bool:
			out[name] = fmt.Sprint(value)
		}
	}
	return out
}

// object returns a copy of the object under key; empty if there is none.
func (c Config) object(key string) map[string]any {
	object, _ := c.raw()[key].(map[string]any)
	return cloneObject(object)
}

// With returns a Config with key set to value, or removed where value is nil.
func (c Config) With(key string, value any) Config {
	own := cloneObject(c.raw())
	set(own, key, value)
	return newConfig(own)
}

// Merge applies patch key by key: null removes; the mask, or "" for a secret,
// keeps what is stored; an object under a key replaces the stored one, but for
// its masked values, which are kept.
func (c Config) Merge(patch map[string]any) Config {
	own := cloneObject(c.raw())
	for key, value := range patch {
		old, had := own[key]
		keep := value == Mask || value == "" && had && masked(key)
		if !keep {
			set(own, key, unmask(value, old))
			continue
		}
		if !had {
			delete(own, key)
		}
	}
	return newConfig(own)
}

// Masked returns a copy in which every string that may be secret is [Mask].
func (c Config) Masked() map[string]any {
	own := cloneObject(c.raw())
	for key, value := range own {
		if masked(key) {
			own[key] = mask(value)
		}
	}
	return own
}

// Format implements [fmt.Formatter] for all verbs.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements [slog.LogValuer].
func (c Config) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (c Config) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func masked(key string) bool { return !slices.Contains(shown, key) }

func set(object map[string]any, key string, value any) {
	if value == nil {
		delete(object, key)
		return
	}
	object[key] = value
}

// mask replaces every string within value, at any depth.
func mask(value any) any {
	switch value := value.(type) {
	case string:
		if value == "" {
			return value
		}
		return Mask
	case map[string]any:
		for key, inner := range value {
			value[key] = mask(inner)
		}
	case []any:
		for i, inner := range value {
			value[i] = mask(inner)
		}
	}
	return value
}

// unmask returns value with each mask inside it replaced by what old holds in
// the same place.
func unmask(value, old any) any {
	switch value := value.(type) {
	case string:
		if value == Mask {
			return old
		}
	case map[string]any:
		oldObject, _ := old.(map[string]any)
		out := make(map[string]any, len(value))
		for key, inner := range value {
			set(out, key, unmask(inner, oldObject[key]))
		}
		return out
	case []any:
		oldList, _ := old.([]any)
		out := make([]any, len(value))
		for i, inner := range value {
			var was any
			if i < len(oldList) {
				was = oldList[i]
			}
			out[i] = unmask(inner, was)
		}
		return out
	}
	return cloneValue(value)
}

func cloneObject(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for key, value := range object {
		out[key] = cloneValue(value)
	}
	return out
}

func cloneValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		return cloneObject(value)
	case []any:
		out := make([]any, len(value))
		for i, inner := range value {
			out[i] = cloneValue(inner)
		}
		return out
	}
	return value
}
