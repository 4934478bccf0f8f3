package client

import (
	"context"
	"time"
)

// A Policy is what is in force. Values that are absent are nil, and null in JSON.
type Policy struct {
	File     *string      `json:"file"`     // nil where there is none: then only root and the daemon's own user get in
	LoadedAt *time.Time   `json:"loadedAt"` // when the rules were read
	Fault    *string      `json:"fault"`    // why the file is not in force as it is now
	Rules    []PolicyRule `json:"rules"`
}

// A PolicyRule is a rule as the policy file has it.
type PolicyRule struct {
	Name   string    `json:"name"`
	Effect string    `json:"effect"` // "allow" or "deny"
	Who    PolicyWho `json:"who"`
	May    []string  `json:"may"`
	On     PolicyOn  `json:"on"`
}

// A PolicyWho chooses callers; an empty list matches all.
type PolicyWho struct {
	Users   []string `json:"users,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	UIDs    []uint32 `json:"uids,omitempty"`
	Units   []string `json:"units,omitempty"`
	Cgroups []string `json:"cgroups,omitempty"`
	Grants  []string `json:"grants,omitempty"`
}

// A PolicyOn chooses credentials; an empty list matches all.
type PolicyOn struct {
	IDs        []string            `json:"ids,omitempty"`
	Names      []string            `json:"names,omitempty"`
	Providers  []string            `json:"providers,omitempty"`
	Workspaces []string            `json:"workspaces,omitempty"`
	Metadata   map[string][]string `json:"metadata,omitempty"`
}

// A PolicyQuestion asks what the policy would say to a caller.
type PolicyQuestion struct {
	UID    *uint32  `json:"uid,omitempty"` // nil for somebody whom the kernel does not name
	GID    *uint32  `json:"gid,omitempty"` // nil for a group that no rule names
	Groups []uint32 `json:"groups,omitempty"`
	Unit   string   `json:"unit,omitempty"`
	Cgroup string   `json:"cgroup,omitempty"`
	Grant  string   `json:"grant,omitempty"`  // name or id of one that is presented
	Runner bool     `json:"runner,omitempty"` // over the runners' socket

	Verb       string         `json:"verb"`
	Credential string         `json:"credential,omitempty"` // id or name of one that there is
	Supposed   *PolicySubject `json:"supposed,omitempty"`   // one that there could be instead
}

// A PolicySubject is what a policy looks at of a credential.
type PolicySubject struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name,omitempty"`
	Provider    string         `json:"provider,omitempty"`
	WorkspaceID string         `json:"workspaceId,omitempty"`
	Metadata    map[string]any `json:"metadata,omitempty"`
}

// A PolicyDecision is what the policy says.
type PolicyDecision struct {
	Allowed bool     `json:"allowed"`
	Rule    string   `json:"rule"`    // the one that decides; or "root", "self", "default", "unattested"
	Visible bool     `json:"visible"` // the caller may do something with the credential, if not this
	Verbs   []string `json:"verbs"`   // all that it may do with it
}

// Policy returns what is in force.
func (c *Client) Policy(ctx context.Context) (out Policy, err error) {
	_, err = c.Do(ctx, "GET", "/policy", nil, nil, &out)
	return out, err
}

// TestPolicy returns what the policy in force would say.
func (c *Client) TestPolicy(ctx context.Context, q PolicyQuestion) (out PolicyDecision, err error) {
	_, err = c.Do(ctx, "POST", "/policy/test", nil, q, &out)
	return out, err
}
