package broker

import (
	"maps"
	"slices"
	"strings"
)

// An AuthorizationRequestShape says how an authorization URL differs from RFC
// 6749, section 4.1.1. What is added to it is in AdditionalAuthParams.
type AuthorizationRequestShape struct {
	// ResponseType replaces "code"; "none" leaves the parameter out.
	ResponseType string `json:"responseType,omitempty"`
	// Rename is from a name of the RFC to the vendor's: of client_id,
	// redirect_uri, response_type and scope.
	Rename map[string]string `json:"rename,omitempty"`
}

// NoResponseType is the ResponseType that leaves the parameter out.
const NoResponseType = "none"

// A Lookup is a GET with the new token that fetches what a connection needs to
// know besides: the id of a tenant, or where its API is.
type Lookup struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	Capture map[string]string `json:"capture"` // name to path, as in tokenResponse
}

// An Input is a value that a connection gives for {name} in the definition.
type Input struct {
	Label   string `json:"label,omitempty"`
	Default string `json:"default,omitempty"`
	Pattern string `json:"pattern,omitempty"` // a whole-string regular expression (RE2)
	// Enum are all values that there are.
	Enum []string `json:"enum,omitempty"`
	// StripPrefix and StripSuffix are what people paste around the value: that
	// of acme in https://acme.example.com.
	StripPrefix string `json:"stripPrefix,omitempty"`
	StripSuffix string `json:"stripSuffix,omitempty"`
	// Callback is the parameter of the redirect that brings the value, so that
	// nobody has to give it. It is among what is captured, too.
	Callback string `json:"callback,omitempty"`
}

// Captures reports whether a provider's answers give {name}, and not a person.
func (d *Definition) Captures(name string) bool {
	if _, ok := d.TokenResponse.Capture[name]; ok {
		return true
	}
	if d.Lookup == nil {
		return false
	}
	_, ok := d.Lookup.Capture[name]
	return ok
}

// strip takes off what people paste around a value.
func (i Input) strip(value string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(value), i.StripPrefix), i.StripSuffix)
}

// accepts reports whether a value can be given for an input.
func (i Input) accepts(value string) bool {
	return (len(i.Enum) == 0 || slices.Contains(i.Enum, value)) && (i.Pattern == "" || wholeMatch(i.Pattern, value))
}

// wanted says what an input accepts.
func (i Input) wanted() string {
	if len(i.Enum) > 0 {
		return "has to be one of " + strings.Join(i.Enum, ", ")
	}
	return "has to match " + i.Pattern
}

// takeCallback adds to the inputs of a flow what the redirect brought of them,
// and returns that, to be captured. A provider says so itself which of its hosts
// a person is at home, so its word replaces what was given.
func (a *Authorization) takeCallback(params map[string]string) (map[string]any, error) {
	captured := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(a.Definition.Inputs)) {
		input := a.Definition.Inputs[name]
		value := input.strip(params[input.Callback])
		switch {
		case input.Callback == "":
			continue
		case value != "" && !input.accepts(value):
			return nil, invalid("params."+input.Callback, "%s", input.wanted())
		case value != "":
			a.Inputs = maps.Clone(a.Inputs)
			if a.Inputs == nil {
				a.Inputs = map[string]string{}
			}
			a.Inputs[name], captured[name] = value, value
		case a.Inputs[name] == "" && input.Default == "" && strings.Contains(a.Definition.TokenURL, "{"+name+"}"):
			return nil, invalid("params."+input.Callback, "is missing: %s sends it with the code, and it has to be handed on", a.Definition.ID)
		}
	}
	return captured, nil
}
