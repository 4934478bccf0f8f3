package broker

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A placeholder is {name} in a URL or a parameter of a definition. Other braces,
// as GraphQL and JSON bodies have them, are left alone.
var placeholder = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// Expand puts inputs into the placeholders of a parameter. A name that has no
// value is left as it stands.
func Expand(template string, inputs map[string]string) string {
	return placeholder.ReplaceAllStringFunc(template, func(match string) string {
		if value, ok := inputs[match[1:len(match)-1]]; ok {
			return value
		}
		return match
	})
}

// ExpandURL puts inputs into a URL template. In the path and the query a value
// is escaped, and it cannot make a path climb; in the host it has to be made of
// host characters alone, so that it cannot end the host early and send secrets
// elsewhere.
func ExpandURL(template string, inputs map[string]string) (string, error) {
	scheme, host, path, ok := splitURL(template)
	if !ok {
		return "", fmt.Errorf("%q is no absolute URL", template)
	}
	for _, match := range placeholder.FindAllStringSubmatch(host, -1) {
		value, ok := inputs[match[1]]
		if !ok || !isHostText(value) {
			return "", invalid("inputs."+match[1], "is missing or has characters that no host name has")
		}
		host = strings.ReplaceAll(host, match[0], value)
	}
	query := strings.IndexByte(path, '?')
	var missing string
	path = replaceIndexed(path, func(at int, name, match string) string {
		value, ok := inputs[name]
		switch {
		case !ok:
			missing = name
			return match
		case query >= 0 && at > query:
			return url.QueryEscape(value)
		}
		return url.PathEscape(value)
	})
	if missing != "" {
		return "", invalid("inputs."+missing, "is missing")
	}
	expanded := scheme + "://" + host + path
	// What will be asked is what url.Parse makes of it, so that has to agree.
	u, err := url.Parse(expanded)
	if err != nil || u.Host != host || u.User != nil || climbs(u.Path) {
		return "", invalid("inputs", "do not make a usable URL of %s", template)
	}
	return expanded, nil
}

// splitURL cuts a URL template into its scheme, its host with the port, and all
// that follows.
func splitURL(template string) (scheme, host, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(template, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return scheme, rest[:end], rest[end:], ok
}

// climbs reports whether a path has a step that servers and proxies resolve to
// another path.
func climbs(path string) bool {
	for step := range strings.SplitSeq(path, "/") {
		if step == "." || step == ".." {
			return true
		}
	}
	return false
}

func replaceIndexed(s string, value func(at int, name, match string) string) string {
	var out strings.Builder
	last := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[last:m[0]])
		out.WriteString(value(m[0], s[m[2]:m[3]], s[m[0]:m[1]]))
		last = m[1]
	}
	out.WriteString(s[last:])
	return out.String()
}

func isHostText(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	})
}

// freeHosts are the inputs that choose freely whose host is spoken to: those in a
// host with fewer than two fixed labels behind them, unless the definition lists
// their values. Of "{shop}.example.com" the
// owner is known, of "{host}" and "{name}.com" whoever gives the input says it.
func (d *Definition) freeHosts() []string {
	var free []string
	for _, template := range d.endpoints() {
		_, rest, _ := strings.Cut(template, "://")
		host, _, _ := strings.Cut(rest, "/")
		for _, match := range placeholder.FindAllStringSubmatchIndex(host, -1) {
			fixed, _, _ := strings.Cut(placeholder.ReplaceAllString(host[match[1]:], ""), ":")
			name := host[match[2]:match[3]]
			if strings.Count(fixed, ".") < 2 && len(d.Inputs[name].Enum) == 0 {
				free = append(free, name)
			}
		}
	}
	return free
}

// completeInputs returns a value for each input of the definition: the given
// one, else the default; for one that the redirect brings there may be none yet.
// Names that the definition does not know are kept only if they are captured
// values, which it names too.
func (d *Definition) completeInputs(given map[string]string) (map[string]string, error) {
	out := maps.Clone(given)
	if out == nil {
		out = map[string]string{}
	}
	for name := range given {
		if _, known := d.Inputs[name]; !known && !d.Captures(name) {
			return nil, invalid("inputs."+name, "%s has no such input; it has %s", d.ID, listOf(slices.Sorted(maps.Keys(d.Inputs))))
		}
	}
	for name, input := range d.Inputs {
		value := cmp.Or(input.strip(out[name]), input.Default)
		switch {
		case value == "" && input.Callback != "":
			delete(out, name) // the redirect is going to bring it
			continue
		case value == "":
			return nil, invalid("inputs."+name, "%s needs it: %s", d.ID, input.Label)
		case !input.accepts(value):
			return nil, invalid("inputs."+name, "%s", input.wanted())
		}
		out[name] = value
	}
	return out, nil
}

func wholeMatch(pattern, s string) bool {
	re, err := wholePattern(pattern)
	return err == nil && re.MatchString(s)
}

// wholePattern compiles a pattern so that it matches whole strings only. The
// pattern has to stand by itself too: "a)|(?:b" would undo the anchors.
//
// Few patterns serve most definitions, and each connection needs its own again.
func wholePattern(pattern string) (*regexp.Regexp, error) {
	if re, ok := compiledPatterns.Load(pattern); ok {
		return re.(*regexp.Regexp), nil
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err == nil && patternCount.Add(1) <= maxPatterns {
		compiledPatterns.Store(pattern, re)
	}
	return re, err
}

// maxPatterns bounds how many compiled patterns are remembered.
const maxPatterns = 256

var (
	compiledPatterns sync.Map // of *regexp.Regexp, by what was written
	patternCount     atomic.Int64
)

func listOf(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
