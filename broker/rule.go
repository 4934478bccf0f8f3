package broker

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Rule says that some callers may, or may not, do something with some
// credentials. It applies where all of Who, May and On do.
type Rule struct {
	Name string
	Deny bool // it takes away, whatever other rules give
	Who  Who
	May  Verbs
	On   On
}

// Who chooses callers: those that every list matches which is not empty, as all
// do that has one match.
type Who struct {
	Users   []Principal // user ids that the policy names
	Groups  []Principal // first or supplementary group ids that the policy names
	UIDs    []uint32
	Units   []Pattern
	Cgroups []Pattern
	Grants  []string // ids or names of grants
}

// A Principal is a user or a group of this machine.
type Principal struct {
	Name string
	ID   uint32
}

// On chooses credentials, as [Who] does callers.
type On struct {
	IDs        []ID
	Names      []Pattern
	Providers  []string
	Workspaces []string
	// Metadata are keys of a credential's metadata with the values that each may
	// have, one at least; see [Labels].
	Metadata map[string][]string
}

// A Pattern is a shell pattern as [path.Match] has it, in which "*" stands for
// slashes too.
type Pattern string

// ParsePattern returns the pattern, or an error if it is malformed.
func ParsePattern(text string) (Pattern, error) {
	if _, err := path.Match(text, ""); err != nil {
		return "", fmt.Errorf("%q is no pattern: * stands for any text, ? for any character, [a-z] for one of several, \\ takes the meaning from the next", text)
	}
	return Pattern(text), nil
}

// Match reports whether the pattern matches the whole of a text.
func (p Pattern) Match(text string) bool {
	// Most patterns are a text, or the beginning of one.
	special := strings.IndexAny(string(p), `*?[\`)
	switch {
	case special < 0:
		return string(p) == text
	case !strings.HasPrefix(text, string(p[:special])):
		return false
	case p[special:] == "*":
		return true
	}
	// A slash is special to path.Match, and NUL is in no name, unit or cgroup.
	matched, err := path.Match(unslashed(string(p)), unslashed(text))
	return matched && err == nil
}

func unslashed(text string) string { return strings.ReplaceAll(text, "/", "\x00") }

func matchAny(patterns []Pattern, text string) bool {
	return slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Match(text) })
}

// identifies reports whether the choice asks for more than a grant.
func (w *Who) identifies() bool {
	return len(w.Users)+len(w.Groups)+len(w.UIDs)+len(w.Units)+len(w.Cgroups) > 0
}

// matches reports whether c is one of those. Of an unattested caller nothing is
// known but its grant, and the cgroup of others may be unknown: then the answer
// is ifUnknown.
func (w *Who) matches(c *Caller, ifUnknown bool) bool {
	if len(w.Grants) > 0 && (c.Grant == nil || !slices.Contains(w.Grants, c.Grant.Name) && !slices.Contains(w.Grants, string(c.Grant.ID))) {
		return false
	}
	switch {
	case !w.identifies():
		return true
	case !c.Attested:
		return ifUnknown
	case len(w.Users) > 0 && !slices.ContainsFunc(w.Users, func(p Principal) bool { return p.ID == c.UID }),
		len(w.Groups) > 0 && !slices.ContainsFunc(w.Groups, func(p Principal) bool { return c.inGroup(p.ID) }),
		len(w.UIDs) > 0 && !slices.Contains(w.UIDs, c.UID):
		return false
	case len(w.Units)+len(w.Cgroups) == 0:
		return true
	case c.Cgroup == "":
		return ifUnknown
	}
	return (len(w.Units) == 0 || c.Unit != "" && matchAny(w.Units, c.Unit)) &&
		(len(w.Cgroups) == 0 || matchAny(w.Cgroups, c.Cgroup))
}

// all reports whether the choice is every credential, those to come included.
func (o *On) all() bool {
	return len(o.IDs)+len(o.Names)+len(o.Providers)+len(o.Workspaces)+len(o.Metadata) == 0
}

func (o *On) matches(s *Subject) bool {
	return (len(o.IDs) == 0 || slices.Contains(o.IDs, s.ID)) &&
		(len(o.Names) == 0 || matchAny(o.Names, s.Name)) &&
		(len(o.Providers) == 0 || slices.Contains(o.Providers, s.Provider)) &&
		(len(o.Workspaces) == 0 || slices.Contains(o.Workspaces, s.WorkspaceID)) &&
		o.matchesMetadata(s.Labels)
}

func (o *On) matchesMetadata(labels map[string]string) bool {
	for key, values := range o.Metadata {
		if value, ok := labels[key]; !ok || !slices.Contains(values, value) {
			return false
		}
	}
	return true
}
