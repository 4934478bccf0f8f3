package broker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// mint mints a grant as the daemon's own user.
func mint(t *testing.T, b *broker.Broker, r broker.GrantRequest) (broker.Grant, broker.Secret) {
	t.Helper()
	if r.Lifetime == 0 {
		r.Lifetime = time.Hour
	}
	g, secret, err := b.CreateGrant(t.Context(), self, r)
	if err != nil {
		t.Fatalf("CreateGrant(%+v) = %v", r, err)
	}
	return g, secret
}

var grantable = []string{"token", "resolve", "header", "rejected", "refresh", "list"}

// some returns a random part of all.
func some(r *rand.Rand, all []string) (part []string) {
	for _, one := range all {
		if r.IntN(2) == 0 {
			part = append(part, one)
		}
	}
	return part
}

// TestGrantsAreTheModel holds what callers may do with random grants, beside
// random rules that name or overrule them, against what a person would say.
func TestGrantsAreTheModel(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 300
	}
	b, _ := newBroker(t, &provider{})
	names := []string{"one", "two", "three"}
	for _, name := range names {
		create(t, b, bearer(name))
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	allowed := 0
	for range rounds {
		on, may := some(r, names), some(r, grantable)
		if len(on) == 0 {
			on = names[:1]
		}
		request := broker.GrantRequest{Name: "g", Credentials: on, May: may}
		if len(may) == 0 {
			may = []string{"token"}
		}
		if r.IntN(2) == 0 {
			request.UIDs = []uint32{2000}
		}
		g, secret := mint(t, b, request)
		revoked := r.IntN(4) == 0
		if revoked {
			if err := b.DeleteGrant(t.Context(), self, g.ID); err != nil {
				t.Fatal(err)
			}
		}
		// A rule for whoever has the grant gives more, one for all takes away.
		extra, taken := some(r, grantable), some(r, grantable)
		rules := []broker.Rule{allow(named("three"), extra...), allow(named("two"), taken...)}
		rules[0].Who.Grants = []string{[]string{"g", string(g.ID)}[r.IntN(2)]}
		rules[1].Deny = true
		b.Policy.Use("f", rules, time.Now())

		caller := broker.Caller{UID: uint32(2000 + r.IntN(2)), Attested: r.IntN(3) > 0, Runner: r.IntN(2) == 0}
		bound := len(request.UIDs) == 0 || caller.Attested && caller.UID == 2000
		with, err := b.WithGrant(caller, secret)
		if inForce := bound && !revoked; (err == nil) != inForce || err != nil && !errors.Is(err, broker.ErrForbidden) {
			t.Fatalf("seed %d: WithGrant(%+v) of %+v, revoked %t = %v", seed, caller, g, revoked, err)
		}
		for _, name := range names {
			var held []string
			if err == nil {
				if slices.Contains(on, name) {
					held = append(held, may...)
				}
				if name == "three" {
					held = append(held, extra...)
				}
				if name == "two" {
					held = slices.DeleteFunc(held, func(verb string) bool { return slices.Contains(taken, verb) })
				}
			}
			for _, verb := range []string{"token", "resolve", "header", "rejected", "refresh", "read", "write"} {
				want := "hidden"
				if slices.Contains(held, verb) {
					want = "allowed"
					allowed++
				} else if len(held) > 0 {
					want = "denied"
				}
				if got := ask(t, b, with, verb, name); got != want {
					t.Fatalf("seed %d: %s %s by %+v with %v on %v, besides %v and but %v = %s, want %s", seed, verb, name, caller, may, on, extra, taken, got, want)
				}
			}
		}
		if !revoked {
			if err := b.DeleteGrant(t.Context(), self, g.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if allowed == 0 {
		t.Error("nothing was ever allowed")
	}
}

// TestGrantsEnd: one that is over is of no use at once, and is removed by Run.
func TestGrantsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, store := newBroker(t, &provider{})
		create(t, b, bearer("mail"))
		_, secret := mint(t, b, broker.GrantRequest{Credentials: []string{"mail"}, Lifetime: 90 * time.Second})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = b.Run(ctx) })
		time.Sleep(89 * time.Second) // virtual
		if _, err := b.WithGrant(runner, secret); err != nil {
			t.Errorf("WithGrant before the end = %v", err)
		}
		time.Sleep(time.Second)
		_, over := b.WithGrant(runner, secret)
		_, never := b.WithGrant(runner, broker.NewSecret("ivg_never"))
		if over == nil || never == nil || over.Error() != never.Error() {
			t.Errorf("WithGrant = %v of one that is over and %v of one that never was, want the same error", over, never)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if left, err := store.Grants(ctx); err != nil || len(left) != 0 {
			t.Errorf("the store has %d grants, %v, want none", len(left), err)
		}
		stop()
		running.Wait()
	})
}

// TestGrantsOverRestarts: they are there, with their last use, and what was
// revoked is not.
func TestGrantsOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, store := newBroker(t, &provider{})
		create(t, b, bearer("mail"))
		kept, secret := mint(t, b, broker.GrantRequest{Name: "kept", Credentials: []string{"mail"}})
		gone, goneSecret := mint(t, b, broker.GrantRequest{Name: "gone", Credentials: []string{"mail"}})
		for _, s := range []broker.Secret{secret, goneSecret} {
			if _, err := b.WithGrant(runner, s); err != nil {
				t.Fatalf("WithGrant = %v", err)
			}
		}
		used := time.Now().UTC()
		if err := b.DeleteGrant(t.Context(), self, gone.ID); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := b.Run(ctx); err != nil { // writes the last uses down
			t.Fatal(err)
		}
		again := broker.New(broker.Parts{
			Store: store, Tokens: b.Tokens, Policy: b.Policy, Auditor: brokertest.Unaudited{}, Events: b.Events,
		})
		if err := again.LoadGrants(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := again.ListGrants(self)
		if err != nil || len(list) != 1 || list[0].ID != kept.ID || !list[0].LastUsedAt.Equal(used) {
			t.Errorf("ListGrants = %+v, %v, want only %s, used at %v", list, err, kept.ID, used)
		}
		if with, err := again.WithGrant(runner, secret); err != nil || with.Grant.ID != kept.ID {
			t.Errorf("WithGrant after a restart = %v", err)
		}
		if _, err := again.WithGrant(runner, goneSecret); err == nil {
			t.Error("WithGrant = nil of one that was revoked before the restart")
		}
	})
}

// TestRevocationThatFails does not say that a grant is gone which the next start
// would bring back.
func TestRevocationThatFails(t *testing.T) {
	b, store := newBroker(t, &provider{})
	create(t, b, bearer("mail"))
	g, secret := mint(t, b, broker.GrantRequest{Credentials: []string{"mail"}})
	store.Fail(errors.New("full"))
	if err := b.DeleteGrant(t.Context(), self, g.ID); !errors.Is(err, broker.ErrStoreUnavailable) {
		t.Errorf("DeleteGrant = %v, want that the store is unavailable", err)
	}
	if _, err := b.WithGrant(runner, secret); err != nil {
		t.Errorf("WithGrant of one that could not be revoked = %v", err)
	}
	store.Fail(nil)
	if err := b.DeleteGrant(t.Context(), self, g.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.WithGrant(runner, secret); err == nil {
		t.Error("WithGrant = nil of one that is revoked")
	}
}

// TestGrantSecretIsKeptNowhere: not in the grant, however it is printed, and not
// in two alike.
func TestGrantSecretIsKeptNowhere(t *testing.T) {
	b, store := newBroker(t, &provider{})
	create(t, b, bearer("mail"))
	_, one := mint(t, b, broker.GrantRequest{Credentials: []string{"mail"}})
	_, two := mint(t, b, broker.GrantRequest{Credentials: []string{"mail"}})
	if one.Equal(two) || len(one.Reveal()) != 47 || !strings.HasPrefix(one.Reveal(), "ivg_") {
		t.Errorf("the secrets %d and %d bytes long are alike or not 256 bits", len(one.Reveal()), len(two.Reveal()))
	}
	kept, err := store.Grants(t.Context())
	if err != nil || strings.Contains(fmt.Sprintf("%#v", kept), one.Reveal()) {
		t.Errorf("the store holds a secret, or cannot be read: %v", err)
	}
	if _, _, err := b.CreateGrant(t.Context(), runner, broker.GrantRequest{Credentials: []string{"mail"}, Lifetime: time.Hour}); !errors.Is(err, broker.ErrForbidden) {
		t.Errorf("CreateGrant by a runner = %v, want forbidden", err)
	}
}
