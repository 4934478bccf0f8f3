package client

import (
	"context"
	"time"

	"github.com/invectd/invectd/broker"
)

const grantsPath = "/grants"

// GrantHeader is the header that presents the secret of a grant.
const GrantHeader = "Invect-Grant"

// UseGrant presents a grant with every request from now on. It must not be called
// concurrently with them.
func (c *Client) UseGrant(secret broker.Secret) { c.grant = secret }

// A Grant is a capability. Who, May and On are as in a policy.
type Grant struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Who        PolicyWho  `json:"who"` // who may present it; empty: anybody
	May        []string   `json:"may"`
	On         PolicyOn   `json:"on"`
	CreatedAt  time.Time  `json:"createdAt"`
	ExpiresAt  time.Time  `json:"expiresAt"`
	LastUsedAt *time.Time `json:"lastUsedAt"`
}

// A MintedGrant is a grant with its secret, which is shown this once.
type MintedGrant struct {
	Grant
	Secret string `json:"secret"`
}

// A GrantInput says what a grant is to give, and to whom.
type GrantInput struct {
	Name        string   `json:"name,omitempty"`
	Credentials []string `json:"credentials,omitempty"` // ids or names
	Providers   []string `json:"providers,omitempty"`   // all of theirs, or those of the credentials that are theirs
	May         []string `json:"may,omitempty"`         // absent: token
	UIDs        []uint32 `json:"uids,omitempty"`
	Units       []string `json:"units,omitempty"`
	Cgroups     []string `json:"cgroups,omitempty"`
	TTL         string   `json:"ttl"` // such as "1h", at most 720h
}

// Grants returns the grants that are not over, the oldest first.
func (c *Client) Grants(ctx context.Context) (out []Grant, err error) {
	_, err = c.Do(ctx, "GET", grantsPath, nil, nil, &out)
	return out, err
}

// Grant returns one grant.
func (c *Client) Grant(ctx context.Context, id string) (out Grant, err error) {
	_, err = c.Do(ctx, "GET", below(grantsPath, id), nil, nil, &out)
	return out, err
}

// CreateGrant mints a grant.
func (c *Client) CreateGrant(ctx context.Context, in GrantInput) (out MintedGrant, err error) {
	_, err = c.Do(ctx, "POST", grantsPath, nil, in, &out)
	return out, err
}

// DeleteGrant revokes a grant at once.
func (c *Client) DeleteGrant(ctx context.Context, id string) error {
	_, err := c.Do(ctx, "DELETE", below(grantsPath, id), nil, nil, nil)
	return err
}
