package brokertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// TestStore holds a store to the contract of [broker.Store]. open returns an
// empty store for each t that it has not seen; called again with the same t, it
// closes the store that it returned before and opens it anew.
func TestStore(t *testing.T, open func(t *testing.T) broker.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s broker.Store, reopen func() broker.Store)
	}{
		{"credentials", testCredentials},
		{"update", testUpdate},
		{"concurrent updates", testConcurrentUpdates},
		{"concurrent creation", testConcurrentCreation},
		{"isolation", testIsolation},
		{"authorizations", testAuthorizations},
		{"taking an authorization once", testTakeOnce},
		{"expiry of authorizations", testExpiry},
		{"definitions", testDefinitions},
		{"kept definitions", testKept},
		{"apps", testApps},
		{"grants", testGrants},
		{"revocations", testRevocations},
		{"reopening", testReopening},
		{"ended contexts", testEndedContext},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, open(t), func() broker.Store { return open(t) })
		})
	}
}

// FullCredential returns a credential with a value in every field, as a store
// gives it back.
func FullCredential(id broker.ID) broker.Credential {
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	return broker.Credential{
		Summary: broker.Summary{
			ID: id, Name: "Work \"mail\" ✉", Type: "http-api", AuthType: broker.AuthOAuth2, Provider: "google",
			WorkspaceID: "w-1", IsActive: true, Status: broker.StatusDegraded, Generation: 7, Revision: 1,
			IssuedAt: at, ExpiresAt: at.Add(time.Hour), CreatedAt: at.Add(-time.Hour), Renewable: true, RetryAt: at.Add(time.Minute), Lazy: true,
			Origins: "https://accounts.google.com https://oauth2.googleapis.com",
			Intent:  &broker.Intent{Generation: 7, At: at},
		},
		StatusReason: "the provider is down", Description: "for reports", IsShared: true,
		Config: broker.NewConfig(map[string]any{
			"accessToken": "access-" + string(id), "refreshToken": "refresh-" + string(id),
			"limit": json.Number("12345678901234567890"), "captured": map[string]any{"list": []any{"a", true, nil}},
		}),
		Metadata:  map[string]any{"scopes": []any{"mail"}, "n": json.Number("1.50"), "empty": map[string]any{}},
		UpdatedAt: at.Add(1), LastRefreshAt: at.Add(2), LastUsedAt: at.Add(3), ReadCount: 9,
	}
}

func testCredentials(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Get of an absent id = %v, want ErrNotFound", err)
	}
	if err := s.Delete(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Delete of an absent id = %v, want ErrNotFound", err)
	}
	if _, err := s.Create(ctx, broker.Credential{}); err == nil {
		t.Error("Create without an id succeeded, want an error")
	}
	want := FullCredential("one")
	given := want
	given.Revision = 99 // the store's own business
	created, err := s.Create(ctx, given)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	sameCredential(t, "Create", created, want)
	sameCredential(t, "Get", get(t, s, "one"), want)
	if _, err := s.Create(ctx, want); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("second Create = %v, want ErrConflict", err)
	}
	if _, err := s.Create(ctx, broker.Credential{Summary: broker.Summary{ID: "bare"}}); err != nil {
		t.Fatalf("Create of a bare credential: %v", err)
	}
	sameCredential(t, "Get", get(t, s, "bare"), broker.Credential{Summary: broker.Summary{ID: "bare", Revision: 1}})
	sameSummaries(t, s, want.Summary, broker.Summary{ID: "bare", Revision: 1})
	if err := s.Delete(ctx, "one"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if _, err := s.Get(ctx, "one"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Get after Delete = %v, want ErrNotFound", err)
	}
	if err := s.Delete(ctx, "one"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("second Delete = %v, want ErrNotFound", err)
	}
	sameSummaries(t, s, broker.Summary{ID: "bare", Revision: 1})
	if err := s.Writable(ctx); err != nil {
		t.Errorf("Writable = %v, want nil", err)
	}
}

func testUpdate(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	create(t, s, "one")
	never := func(*broker.Credential) error { t.Error("change ran without a credential"); return nil }
	if _, err := s.Update(ctx, "absent", never); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("Update of an absent id = %v, want ErrNotFound", err)
	}
	refusal := errors.New("refused")
	_, err := s.Update(ctx, "one", func(c *broker.Credential) error {
		c.Name, c.Intent.Generation, c.Metadata["n"] = "changed", 8, "changed"
		return refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("Update that refuses = %v, want its error", err)
	}
	sameCredential(t, "Get after a refused Update", get(t, s, "one"), FullCredential("one"))

	updated, err := s.Update(ctx, "one", func(c *broker.Credential) error {
		sameCredential(t, "argument of change", *c, FullCredential("one"))
		c.ID, c.Revision = "other", 41 // not for change to decide
		c.Name, c.Intent = "changed", nil
		c.Config = c.Config.With("accessToken", "newer")
		return nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	want := FullCredential("one")
	want.Revision, want.Name, want.Intent = 2, "changed", nil
	want.Config = want.Config.With("accessToken", "newer")
	sameCredential(t, "Update", updated, want)
	sameCredential(t, "Get after Update", get(t, s, "one"), want)
	sameSummaries(t, s, want.Summary)
}

func testConcurrentUpdates(t *testing.T, s broker.Store, _ func() broker.Store) {
	create(t, s, "one")
	const writers, each = 16, 8
	revisions := make(chan uint64, writers*each)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				c, err := s.Update(t.Context(), "one", func(c *broker.Credential) error { c.ReadCount++; return nil })
				if err != nil {
					t.Errorf("Update: %v", err)
				}
				revisions <- c.Revision
			}
		})
	}
	wg.Wait()
	close(revisions)
	seen := map[uint64]bool{}
	for revision := range revisions {
		seen[revision] = true
	}
	c := get(t, s, "one")
	if want := uint64(9 + writers*each); c.ReadCount != want || c.Revision != 1+writers*each || len(seen) != writers*each {
		t.Errorf("after %d updates ReadCount = %d, Revision = %d, and %d revisions were seen", writers*each, c.ReadCount, c.Revision, len(seen))
	}
}

func testConcurrentCreation(t *testing.T, s broker.Store, _ func() broker.Store) {
	const callers = 32
	var won atomic.Int64
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			_, err := s.Create(t.Context(), FullCredential("contested"))
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, broker.ErrConflict):
				t.Errorf("Create = %v, want nil or ErrConflict", err)
			}
			if _, err := s.Create(t.Context(), FullCredential(broker.ID(fmt.Sprint("own-", n)))); err != nil {
				t.Errorf("Create of another id: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of %d creators of one id won, want 1", won.Load(), callers)
	}
	if n := len(summaries(t, s)); n != callers+1 {
		t.Errorf("Summaries yields %d, want %d", n, callers+1)
	}
}

func testIsolation(t *testing.T, s broker.Store, _ func() broker.Store) {
	given := FullCredential("one")
	created, err := s.Create(t.Context(), given)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	for _, c := range []broker.Credential{given, created, get(t, s, "one")} {
		c.Metadata["n"], c.Intent.Generation = "scribbled", 99
	}
	for _, summary := range summaries(t, s) {
		summary.Intent.Generation = 99
	}
	sameCredential(t, "Get", get(t, s, "one"), FullCredential("one"))
}

func testAuthorizations(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	if _, err := s.TakeAuthorization(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("TakeAuthorization of an unknown state = %v, want ErrNotFound", err)
	}
	want := fullAuthorization("state-1")
	if err := s.CreateAuthorization(ctx, want); err != nil {
		t.Fatalf("CreateAuthorization: %v", err)
	}
	if err := s.CreateAuthorization(ctx, want); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("second CreateAuthorization = %v, want ErrConflict", err)
	}
	got, err := s.TakeAuthorization(ctx, "state-1")
	if err != nil {
		t.Fatalf("TakeAuthorization: %v", err)
	}
	sameAuthorization(t, got, want)
	if _, err := s.TakeAuthorization(ctx, "state-1"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("second TakeAuthorization = %v, want ErrNotFound", err)
	}
}

func testTakeOnce(t *testing.T, s broker.Store, _ func() broker.Store) {
	if err := s.CreateAuthorization(t.Context(), fullAuthorization("state")); err != nil {
		t.Fatalf("CreateAuthorization: %v", err)
	}
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := s.TakeAuthorization(t.Context(), "state")
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, broker.ErrNotFound):
				t.Errorf("TakeAuthorization = %v, want nil or ErrNotFound", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 100 takers got the authorization, want 1", won.Load())
	}
}

func testExpiry(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for state, at := range map[string]time.Time{"old": now.Add(-time.Second), "older": now.Add(-time.Hour), "now": now, "later": now.Add(1)} {
		a := fullAuthorization(state)
		a.ExpiresAt = at
		if err := s.CreateAuthorization(ctx, a); err != nil {
			t.Fatalf("CreateAuthorization: %v", err)
		}
	}
	for _, want := range []int{2, 0} {
		if removed, err := s.ExpireAuthorizations(ctx, now); removed != want || err != nil {
			t.Errorf("ExpireAuthorizations = %d, %v, want %d", removed, err, want)
		}
	}
	for state, want := range map[string]error{"old": broker.ErrNotFound, "older": broker.ErrNotFound, "now": nil, "later": nil} {
		if _, err := s.TakeAuthorization(ctx, state); !errors.Is(err, want) {
			t.Errorf("TakeAuthorization(%q) = %v, want %v", state, err, want)
		}
	}
}

func testDefinitions(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	if err := s.DeleteDefinition(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("DeleteDefinition of an absent id = %v, want ErrNotFound", err)
	}
	sameDefinitions(t, s)
	b, a := fullDefinition("b"), fullDefinition("a")
	for _, d := range []broker.Definition{b, a} {
		if err := s.PutDefinition(ctx, d); err != nil {
			t.Fatalf("PutDefinition: %v", err)
		}
	}
	sameDefinitions(t, s, a, b)
	b.TokenURL = "https://elsewhere.example/token"
	if err := s.PutDefinition(ctx, b); err != nil {
		t.Fatalf("PutDefinition over another: %v", err)
	}
	sameDefinitions(t, s, a, b)
	if err := s.DeleteDefinition(ctx, "a"); err != nil {
		t.Fatalf("DeleteDefinition: %v", err)
	}
	sameDefinitions(t, s, b)
}

func testKept(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	if err := s.DropDefinition(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("DropDefinition of an absent id = %v, want ErrNotFound", err)
	}
	b, a := fullKept("b"), fullKept("a")
	for _, k := range []broker.KeptDefinition{b, a} {
		if err := s.KeepDefinition(ctx, k); err != nil {
			t.Fatalf("KeepDefinition: %v", err)
		}
	}
	sameKept(t, s, a, b)
	b.File = "elsewhere.yaml"
	if err := s.KeepDefinition(ctx, b); err != nil {
		t.Fatalf("KeepDefinition over another: %v", err)
	}
	sameKept(t, s, a, b)
	sameDefinitions(t, s) // they are not those of the API
	if err := s.DropDefinition(ctx, "a"); err != nil {
		t.Fatalf("DropDefinition: %v", err)
	}
	sameKept(t, s, b)
}

func testRevocations(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	never := func(*broker.Credential) (*broker.Revocation, error) {
		t.Error("revoke ran without a credential")
		return nil, nil
	}
	if err := s.DeleteRevoking(ctx, "absent", never); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("DeleteRevoking of an absent id = %v, want ErrNotFound", err)
	}
	if err := s.DeleteRevocation(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("DeleteRevocation of an absent id = %v, want ErrNotFound", err)
	}
	create(t, s, "one")
	create(t, s, "two")
	refusal := errors.New("refused")
	refuse := func(c *broker.Credential) (*broker.Revocation, error) {
		sameCredential(t, "argument of revoke", *c, FullCredential("one"))
		return new(fullRevocation("r")), refusal
	}
	if err := s.DeleteRevoking(ctx, "one", refuse); !errors.Is(err, refusal) {
		t.Errorf("DeleteRevoking that refuses = %v, want its error", err)
	}
	sameCredential(t, "Get after a refused DeleteRevoking", get(t, s, "one"), FullCredential("one"))
	sameRevocations(t, s)

	owed := fullRevocation("r")
	if err := s.DeleteRevoking(ctx, "one", func(*broker.Credential) (*broker.Revocation, error) { return &owed, nil }); err != nil {
		t.Fatalf("DeleteRevoking: %v", err)
	}
	if err := s.DeleteRevoking(ctx, "two", func(*broker.Credential) (*broker.Revocation, error) { return nil, nil }); err != nil {
		t.Fatalf("DeleteRevoking with nothing to revoke: %v", err)
	}
	sameSummaries(t, s)
	sameRevocations(t, s, owed)

	owed.Attempts, owed.Tokens = 4, nil
	if err := s.PutRevocation(ctx, owed); err != nil {
		t.Fatalf("PutRevocation over another: %v", err)
	}
	sameRevocations(t, s, owed)
	if err := s.DeleteRevocation(ctx, "r"); err != nil {
		t.Fatalf("DeleteRevocation: %v", err)
	}
	sameRevocations(t, s)
}

func fullKept(id string) broker.KeptDefinition {
	return broker.KeptDefinition{Definition: fullDefinition(id), File: "/etc/invectd/" + id + ".yaml"}
}

func fullRevocation(id string) broker.Revocation {
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	return broker.Revocation{
		ID: id, CredentialID: "c", Name: "Work \"mail\" ✉", Provider: "google", Origins: "https://oauth2.googleapis.com",
		Config: broker.NewConfig(map[string]any{"clientSecret": "cs", "inputs": map[string]any{"n": json.Number("1.50")}}),
		Tokens: []broker.RevocableToken{{Token: broker.NewSecret("rt"), Hint: "refresh_token"}, {Token: broker.NewSecret("at"), Hint: "access_token"}},
		EndsAt: at, Since: at.Add(1), RetryAt: at.Add(2), Attempts: 3, Reason: "it is away", GivenUpAt: at.Add(4),
	}
}

func sameKept(t *testing.T, s broker.Store, want ...broker.KeptDefinition) {
	t.Helper()
	got, err := s.KeptDefinitions(t.Context())
	if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("KeptDefinitions = %+v, %v, want %+v", got, err, want)
	}
}

func sameRevocations(t *testing.T, s broker.Store, want ...broker.Revocation) {
	t.Helper()
	got, err := s.Revocations(t.Context())
	if err != nil || len(got) != len(want) {
		t.Fatalf("Revocations = %d of them, %v, want %d", len(got), err, len(want))
	}
	for i := range want {
		got, want := plainRevocation(got[i]), plainRevocation(want[i])
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Revocations has %+v, want %+v", got, want)
		}
	}
}

// plainRevocation returns a revocation as something that can be compared.
func plainRevocation(r broker.Revocation) any {
	config, tokens := r.Config.Reveal(), []string{}
	for _, token := range r.Tokens {
		tokens = append(tokens, token.Hint+" "+token.Token.Reveal())
	}
	r.Config, r.Tokens = broker.Config{}, nil
	return []any{r, config, tokens}
}

func testApps(t *testing.T, s broker.Store, _ func() broker.Store) {
	ctx := t.Context()
	if _, err := s.App(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("App of an unknown provider = %v, want ErrNotFound", err)
	}
	if err := s.DeleteApp(ctx, "absent"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("DeleteApp of an unknown provider = %v, want ErrNotFound", err)
	}
	b, a := fullApp("b"), fullApp("a")
	for _, app := range []broker.App{b, a} {
		if err := s.PutApp(ctx, app); err != nil {
			t.Fatalf("PutApp: %v", err)
		}
	}
	b.Client.Secret = broker.NewSecret("newer")
	if err := s.PutApp(ctx, b); err != nil {
		t.Fatalf("PutApp over another: %v", err)
	}
	got, err := s.App(ctx, "b")
	if err != nil {
		t.Fatalf("App: %v", err)
	}
	sameApps(t, []broker.App{got}, b)
	all, err := s.Apps(ctx)
	if err != nil {
		t.Fatalf("Apps: %v", err)
	}
	sameApps(t, all, a, b)
	if err := s.DeleteApp(ctx, "b"); err != nil {
		t.Fatalf("DeleteApp: %v", err)
	}
	if _, err := s.App(ctx, "b"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("App after DeleteApp = %v, want ErrNotFound", err)
	}
}

func testReopening(t *testing.T, s broker.Store, reopen func() broker.Store) {
	ctx := t.Context()
	var want []broker.Summary
	for n := range 20 {
		id := broker.ID(fmt.Sprint("id-", n))
		create(t, s, id)
		if n%5 == 0 {
			if err := s.Delete(ctx, id); err != nil {
				t.Fatalf("Delete: %v", err)
			}
			continue
		}
		c, err := s.Update(ctx, id, func(c *broker.Credential) error { c.Name = fmt.Sprint(id); return nil })
		if err != nil {
			t.Fatalf("Update: %v", err)
		}
		want = append(want, c.Summary)
	}
	owed := fullRevocation("owed")
	if err := errors.Join(s.PutDefinition(ctx, fullDefinition("d")), s.KeepDefinition(ctx, fullKept("k")), s.PutRevocation(ctx, owed), s.PutApp(ctx, fullApp("a")), s.CreateAuthorization(ctx, fullAuthorization("state"))); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	sameSummaries(t, s, want...)
	c := FullCredential("id-1")
	c.Revision, c.Name = 2, "id-1"
	sameCredential(t, "Get after reopening", get(t, s, "id-1"), c)
	sameDefinitions(t, s, fullDefinition("d"))
	sameKept(t, s, fullKept("k"))
	sameRevocations(t, s, owed)
	apps, err := s.Apps(ctx)
	if err != nil {
		t.Fatalf("Apps: %v", err)
	}
	sameApps(t, apps, fullApp("a"))
	if _, err := s.TakeAuthorization(ctx, "state"); err != nil {
		t.Errorf("TakeAuthorization after reopening: %v", err)
	}
	s = reopen()
	if _, err := s.TakeAuthorization(ctx, "state"); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("TakeAuthorization of one taken before reopening = %v, want ErrNotFound", err)
	}
}

func sameDefinitions(t *testing.T, s broker.Store, want ...broker.Definition) {
	t.Helper()
	got, err := s.StoredDefinitions(t.Context())
	if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("StoredDefinitions = %+v, %v, want %+v", got, err, want)
	}
}

func sameSummaries(t *testing.T, s broker.Store, want ...broker.Summary) {
	t.Helper()
	got := summaries(t, s)
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(index(want)))) || !reflect.DeepEqual(got, index(want)) {
		t.Errorf("Summaries = %+v, want %+v", got, want)
	}
}

func index(all []broker.Summary) map[broker.ID]broker.Summary {
	byID := map[broker.ID]broker.Summary{}
	for _, s := range all {
		byID[s.ID] = s
	}
	return byID
}

func summaries(t *testing.T, s broker.Store) map[broker.ID]broker.Summary {
	t.Helper()
	all := map[broker.ID]broker.Summary{}
	for summary, err := range s.Summaries(t.Context()) {
		if err != nil {
			t.Fatalf("Summaries: %v", err)
		}
		if _, twice := all[summary.ID]; twice {
			t.Errorf("Summaries yields %q twice", summary.ID)
		}
		all[summary.ID] = summary
	}
	return all
}
