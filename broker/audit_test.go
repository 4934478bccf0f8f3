package broker_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// A fullAudit cannot be written.
type fullAudit struct {
	brokertest.Unaudited
	reads int
}

func (*fullAudit) Begin(broker.AuditEntry) (uint64, error) {
	return 0, fmt.Errorf("%w: writing the audit log", broker.ErrStoreUnavailable)
}

func (a *fullAudit) Read(broker.AuditEntry, broker.Handout) { a.reads++ }

// TestNoChangeWithoutAudit: what cannot be written down is not done, and reads go
// on.
func TestNoChangeWithoutAudit(t *testing.T) {
	b, store := newBroker(t, &provider{})
	mail := create(t, b, bearer("mail"))
	g, _ := mint(t, b, broker.GrantRequest{Credentials: []string{"mail"}})
	full := new(fullAudit)
	b.Auditor = full
	ctx, id := t.Context(), string(mail.ID)
	for what, change := range map[string]func() error{
		"create": func() error { _, err := b.CreateCredential(ctx, self, bearer("other")); return err },
		"update": func() error {
			_, err := b.UpdateCredential(ctx, self, id, broker.CredentialPatch{Name: new("x")})
			return err
		},
		"delete": func() error { return b.DeleteCredential(ctx, self, id, false) },
		"start": func() error {
			_, err := b.StartAuthorization(ctx, self, broker.StartRequest{ProviderID: "acme"})
			return err
		},
		"app": func() error {
			_, err := b.PutApp(ctx, self, broker.App{ProviderID: "acme", Client: broker.Client{ID: "c"}})
			return err
		},
		"delete app":      func() error { return b.DeleteApp(ctx, self, "acme") },
		"provider":        func() error { _, err := b.PutProvider(ctx, self, broker.Definition{ID: "x"}, true, false); return err },
		"delete provider": func() error { return b.DeleteProvider(ctx, self, "x") },
		"accept":          func() error { _, err := b.AcceptProvider(ctx, self, "acme", nil); return err },
		"send": func() error {
			_, err := b.SendRequest(ctx, self, "", broker.APIRequest{URL: "https://a.example/"})
			return err
		},
		"backup":      func() error { return b.Backup(ctx, self, nil) },
		"add key":     func() error { _, err := b.AddKey(ctx, self, broker.Secret{}); return err },
		"retire keys": func() error { _, err := b.RetireKeys(ctx, self); return err },
		"grant": func() error {
			_, _, err := b.CreateGrant(ctx, self, broker.GrantRequest{Credentials: []string{"mail"}, Lifetime: 1})
			return err
		},
		"delete grant": func() error { return b.DeleteGrant(ctx, self, g.ID) },
	} {
		if err := change(); !errors.Is(err, broker.ErrStoreUnavailable) {
			t.Errorf("%s without an audit = %v, want that the store is unavailable", what, err)
		}
	}
	if c, err := store.Get(ctx, mail.ID); err != nil || c.Revision != mail.Revision {
		t.Errorf("the credential has revision %d, %v, want %d", c.Revision, err, mail.Revision)
	}
	if left, err := store.Grants(ctx); err != nil || len(left) != 1 {
		t.Errorf("there are %d grants, %v, want 1", len(left), err)
	}
	if _, err := b.Token(ctx, self, "mail", broker.ReadRequest{}); err != nil || full.reads != 1 {
		t.Errorf("Token without an audit = %v, and %d reads are told of, want nil and 1", err, full.reads)
	}
}
