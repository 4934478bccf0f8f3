package brokertest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// Grants implements [broker.GrantStore].
func (m *MemStore) Grants(ctx context.Context) ([]broker.Grant, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return ordered(m.grants, cloneGrant), nil
}

// PutGrant implements [broker.GrantStore].
func (m *MemStore) PutGrant(ctx context.Context, g broker.Grant) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.grants[g.ID] = cloneGrant(g)
	return nil
}

// DeleteGrant implements [broker.GrantStore].
func (m *MemStore) DeleteGrant(ctx context.Context, id broker.ID) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	return remove(m.grants, id)
}

func cloneGrant(g broker.Grant) broker.Grant {
	for _, t := range []*time.Time{&g.CreatedAt, &g.ExpiresAt, &g.LastUsedAt} {
		*t = t.Round(0).UTC()
	}
	g.Rule.On.IDs = slices.Clone(g.Rule.On.IDs)
	return g
}

func fullGrant(id broker.ID) broker.Grant {
	at := time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	return broker.Grant{
		ID: id, Name: "nightly", CreatedAt: at, ExpiresAt: at.Add(time.Hour), LastUsedAt: at.Add(time.Minute), MAC: broker.GrantMAC{1, 2},
		Rule: broker.Rule{
			Name: "grant nightly", May: 3,
			Who: broker.Who{UIDs: []uint32{1000}, Units: []broker.Pattern{"web*.service"}, Cgroups: []broker.Pattern{"/a/*"}},
			On:  broker.On{IDs: []broker.ID{"c1"}, Providers: []string{"p"}},
		},
	}
}

func sameGrants(t *testing.T, s broker.Store, want ...broker.Grant) {
	t.Helper()
	got, err := s.Grants(t.Context())
	if err != nil || len(got) != len(want) {
		t.Fatalf("Grants = %d, %v, want %d", len(got), err, len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("grant = %+v, want %+v", got[i], want[i])
		}
	}
}

func testGrants(t *testing.T, s broker.Store, reopen func() broker.Store) {
	ctx := t.Context()
	if err := s.DeleteGrant(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("DeleteGrant of an unknown one = %v, want ErrNotFound", err)
	}
	b, a := fullGrant("b"), fullGrant("a")
	if err := errors.Join(s.PutGrant(ctx, b), s.PutGrant(ctx, a)); err != nil {
		t.Fatalf("PutGrant: %v", err)
	}
	b.Name = "other"
	if err := s.PutGrant(ctx, b); err != nil {
		t.Fatalf("PutGrant over another: %v", err)
	}
	sameGrants(t, s, a, b)
	if err := s.DeleteGrant(ctx, "a"); err != nil {
		t.Fatalf("DeleteGrant: %v", err)
	}
	sameGrants(t, reopen(), b)
}
