package main

import (
	"errors"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// TestRevocationSurvivesKills kills the daemon right after it acknowledged a
// revocation: the grant is of no use afterwards, and one that was not revoked is.
func TestRevocationSurvivesKills(t *testing.T) {
	p := startChild(t)
	name := "mail"
	c, err := p.CreateCredential(t.Context(), client.CredentialInput{
		Name: &name, AuthType: new("bearer"), Config: map[string]any{"token": "t"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var revoked, kept []client.MintedGrant
	for range 3 {
		for _, into := range []*[]client.MintedGrant{&revoked, &kept} {
			minted, err := p.CreateGrant(t.Context(), client.GrantInput{Credentials: []string{c.ID}, TTL: "1h"})
			if err != nil {
				t.Fatalf("CreateGrant = %v", err)
			}
			*into = append(*into, minted)
		}
		if err := p.DeleteGrant(t.Context(), revoked[len(revoked)-1].ID); err != nil {
			t.Fatalf("DeleteGrant = %v", err)
		}
		p.kill()
		p.start()
	}
	use := func(g client.MintedGrant) error {
		own := client.New(p.socket)
		defer own.Close()
		own.UseGrant(broker.NewSecret(g.Secret))
		_, err := own.Token(t.Context(), c.ID, client.ReadOptions{})
		return err
	}
	for i := range revoked {
		if refused, ok := errors.AsType[*client.Error](use(revoked[i])); !ok || refused.Code != client.CodeForbidden {
			t.Errorf("Token with a revoked grant = %v, want forbidden", refused)
		}
		if err := use(kept[i]); err != nil {
			t.Errorf("Token with a grant in force = %v", err)
		}
	}
	verifyChild(t, p)
}
