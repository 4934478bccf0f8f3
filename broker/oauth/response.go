package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// maxLifetime is the longest life that an answer can give a token. Ten years are
// what vendors write for "as good as forever"; what is beyond is taken for that.
const maxLifetime = 10 * 365 * 24 * time.Hour

// A refusal is an answer that brings no token: code is what the vendor calls the
// reason, not cleaned yet; err is set where the answer is unusable.
type refusal struct {
	code any
	err  error
}

// readToken reads the answer of a token endpoint (RFC 6749, section 5) where the
// definition says its fields lie. Its success is any 2xx without an error, or
// what the definition's own check calls one. asked is when the request was made.
func readToken(d *broker.Definition, got answer, asked time.Time) (broker.TokenResponse, *refusal) {
	shape := &d.TokenResponse
	value, err := got.value()
	if err != nil {
		return broker.TokenResponse{}, &refusal{nil, err}
	}
	if code, refused := refusalIn(shape, got.status, value); refused {
		return broker.TokenResponse{}, &refusal{code, nil}
	}
	others, err := othersIn(d, value, asked)
	if err != nil {
		return broker.TokenResponse{}, &refusal{nil, err}
	}
	token, err := tokenIn(d, value, asked)
	if errors.Is(err, errNoAccessToken) && len(others) > 0 {
		// It has no first token: as Slack does where only a user's was asked for.
		name := slices.Min(slices.Collect(maps.Keys(others)))
		token, err = others[name], nil
		delete(others, name)
	}
	if err != nil {
		return broker.TokenResponse{}, &refusal{nil, err}
	}
	token.Captured, token.Others = captureAt(shape.Capture, value), others
	return token, nil
}

// tokenIn reads the token that an object holds.
func tokenIn(d *broker.Definition, value any, asked time.Time) (broker.TokenResponse, error) {
	shape := &d.TokenResponse
	access, err := tokenAt(value, pathsOr(shape.AccessToken, "access_token"))
	switch {
	case err != nil:
		return broker.TokenResponse{}, err
	case access == "":
		return broker.TokenResponse{}, errNoAccessToken
	case strings.Contains(access, " "):
		return broker.TokenResponse{}, errBadToken // RFC 6750, section 2.1: it is one word of a header
	}
	refresh, err := tokenAt(value, pathsOr(shape.RefreshToken, "refresh_token"))
	if err != nil {
		return broker.TokenResponse{}, err
	}
	scope, given := scopeAt(value, pathsOr(shape.Scope, "scope"), d.ScopeSeparator)
	return broker.TokenResponse{
		AccessToken:  broker.NewSecret(access),
		RefreshToken: broker.NewSecret(refresh),
		Scope:        scope,
		ScopeEmpty:   given && scope == "",
		ExpiresAt:    expiry(shape, value, access, asked),
	}, nil
}

// othersIn reads the further tokens that the definition names.
func othersIn(d *broker.Definition, value any, asked time.Time) (map[string]broker.TokenResponse, error) {
	others := map[string]broker.TokenResponse{}
	for name, path := range d.TokenResponse.Tokens {
		object, _ := lookup(value, path)
		token, err := tokenIn(d, object, asked)
		switch {
		case errors.Is(err, errNoAccessToken):
		case err != nil:
			return nil, err
		default:
			others[name] = token
		}
	}
	return others, nil
}

// value reads the body: a form where the answer says so and does not look like
// JSON, else JSON, however it is labelled. An error page may be anything.
func (a answer) value() (any, error) {
	parse := parseJSON
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	looksJSON := bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("{"))
	if (kind == "application/x-www-form-urlencoded" || kind == "text/plain") && !looksJSON {
		parse = parseForm
	}
	value, err := parse(a.body)
	if err != nil && a.status/100 != 2 {
		return nil, nil
	}
	return value, err
}

func parseForm(body []byte) (any, error) {
	values, err := url.ParseQuery(string(bytes.TrimSpace(body)))
	if err != nil {
		return nil, errNotJSON
	}
	object := map[string]any{}
	for name, all := range values {
		if len(all) > 1 {
			return nil, errDuplicate
		}
		object[name] = all[0]
	}
	return object, nil
}

// refusalIn tells success from failure. The code it returns is as the vendor
// wrote it, nil if there is none.
func refusalIn(shape *broker.TokenResponseShape, status int, value any) (code any, refused bool) {
	code = firstAt(value, append(slices.Clone(shape.ErrorCode), "error"))
	if status/100 != 2 {
		return code, true
	}
	if check := shape.Success; check != nil {
		got, _ := lookup(value, check.Path)
		return code, !sameJSON(got, check.Equals)
	}
	return code, code != nil && code != json.Number("0")
}

// sameJSON compares values that may come from JSON, from YAML or from Go.
func sameJSON(a, b any) bool {
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(first, second)
}

func pathsOr(paths broker.Paths, standard string) broker.Paths {
	if len(paths) == 0 {
		return broker.Paths{standard}
	}
	return paths
}

// tokenAt returns the token at the first path that has one, "" for none. RFC
// 6749, appendix A, makes tokens of visible ASCII and spaces; anything else could
// end a header early.
func tokenAt(value any, paths broker.Paths) (string, error) {
	found := firstAt(value, paths)
	if found == nil {
		return "", nil
	}
	token, ok := found.(string)
	if !ok || strings.ContainsFunc(token, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return "", errBadToken
	}
	return token, nil
}

// unreadableLifetime is what a token gets whose answer has a lifetime that is no
// number. It is what most vendors give. To refuse the answer would lose the
// refresh token in it, which may be the only one left.
const unreadableLifetime = time.Hour

// expiry returns when a token dies: by the answer, else by the token itself if
// it is a JWT, else by the definition; zero is never.
func expiry(shape *broker.TokenResponseShape, value any, access string, asked time.Time) time.Time {
	given := firstAt(value, pathsOr(shape.ExpiresIn, "expires_in"))
	if seconds, ok := number(given); ok {
		return asked.Add(lifetime(seconds))
	}
	if at, ok := moment(firstAt(value, shape.ExpiresAt)); ok {
		return asked.Add(lifetime(at - float64(asked.UnixMilli())/1000))
	}
	if at, ok := jwtExpiry(access); ok {
		return asked.Add(lifetime(at - float64(asked.Unix())))
	}
	switch {
	case shape.DefaultExpiresIn > 0:
		return asked.Add(lifetime(float64(shape.DefaultExpiresIn)))
	case given != nil:
		return asked.Add(unreadableLifetime)
	}
	return time.Time{}
}

// moment reads a time, as seconds since 1970: RFC 3339, or a number of seconds or,
// where that would be beyond the year 5000, of milliseconds.
func moment(value any) (seconds float64, ok bool) {
	if text, isText := value.(string); isText {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return float64(at.Unix()), true
		}
	}
	seconds, ok = number(value)
	if seconds > 1e11 {
		seconds /= 1000
	}
	return seconds, ok
}

// lifetime clamps seconds to what a token can live.
func lifetime(seconds float64) time.Duration {
	seconds = math.Floor(min(max(seconds, 0), maxLifetime.Seconds()))
	return time.Duration(seconds) * time.Second
}

// number reads a JSON number or a string that holds one. One too large for a
// float64 is infinite.
func number(value any) (float64, bool) {
	var text string
	switch value := value.(type) {
	case string:
		text = strings.TrimSpace(value)
	case json.Number:
		text = value.String()
	}
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') || !json.Valid([]byte(text)) {
		return 0, false
	}
	f, _ := json.Number(text).Float64() // its error can only be one of range
	return f, true
}

// jwtExpiry reads `exp` of a token that looks like a JWT (RFC 7519, section
// 4.1.4). The signature is the resource server's business.
func jwtExpiry(token string) (seconds float64, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return 0, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return 0, false
	}
	claims, err := parseJSON(payload)
	if err != nil {
		return 0, false
	}
	exp, _ := lookup(claims, "exp")
	return number(exp)
}

// scopeAt returns a scope as RFC 6749, section 3.3, writes it, whether it was a
// list, or separated by commas or as the definition separates; and whether there
// was one.
func scopeAt(value any, paths broker.Paths, separator string) (scope string, given bool) {
	var words []string
	switch found := firstAt(value, paths).(type) {
	case string:
		words = splitScope(found, separator)
	case []any:
		for _, one := range found {
			if text, ok := one.(string); ok {
				words = append(words, splitScope(text, separator)...)
			}
		}
	}
	given = slices.ContainsFunc(paths, func(path string) bool {
		found, _ := lookup(value, path)
		_, isText := found.(string)
		_, isList := found.([]any)
		return isText || isList
	})
	return strings.Join(words, " "), given
}

func splitScope(text, separator string) []string {
	if separator != "" {
		text = strings.ReplaceAll(text, separator, " ")
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r < 0x21 || r > 0x7e })
}

// captureAt returns what lies at paths, by the names that they are given for.
func captureAt(paths map[string]string, value any) map[string]any {
	var captured map[string]any
	for name, path := range paths {
		if found, ok := lookup(value, path); ok && found != nil {
			if captured == nil {
				captured = map[string]any{}
			}
			captured[name] = found
		}
	}
	return captured
}
