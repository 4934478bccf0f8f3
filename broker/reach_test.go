package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// runner is somebody to whom only rules give anything.
var runner = broker.Caller{UID: 1001, GID: 1001, PID: 7, Attested: true}

func allow(on broker.On, may ...string) broker.Rule {
	set, err := broker.ParseVerbs(may...)
	if err != nil {
		panic(err)
	}
	return broker.Rule{Name: "allow", May: set, On: on}
}

func named(patterns ...broker.Pattern) broker.On { return broker.On{Names: patterns} }

func bearer(name string) broker.NewCredential {
	return broker.NewCredential{Name: name, AuthType: broker.AuthBearer, Config: map[string]any{"token": "t-" + name}}
}

func create(t *testing.T, b *broker.Broker, n broker.NewCredential) broker.View {
	t.Helper()
	c, err := b.CreateCredential(t.Context(), self, n)
	if err != nil {
		t.Fatalf("CreateCredential(%s): %v", n.Name, err)
	}
	return c
}

// TestPolicyOnCreation: what is made has to be within reach of who makes it.
func TestPolicyOnCreation(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	b.Policy.Use("f", []broker.Rule{allow(broker.On{Names: []broker.Pattern{"Work *"}, Workspaces: []string{"w"}, Metadata: map[string][]string{"team": {"a"}}}, "write", "connect")}, time.Now())
	for _, test := range []struct {
		name, workspace, team string
		want                  error
	}{
		{"Work 1", "w", "a", nil},
		{"Home 1", "w", "a", broker.ErrForbidden},
		{"Work 2", "", "a", broker.ErrForbidden},
		{"Work 3", "w", "b", broker.ErrForbidden},
	} {
		n := bearer(test.name)
		n.WorkspaceID, n.Metadata = test.workspace, map[string]any{"team": test.team}
		if _, err := b.CreateCredential(t.Context(), runner, n); !errors.Is(err, test.want) {
			t.Errorf("CreateCredential(%+v) = %v, want %v", test, err, test.want)
		}
	}
	if got := len(b.Tokens.All()); got != 1 {
		t.Errorf("%d credentials were made, want 1", got)
	}
}

// TestPolicyOnConnection decides when a flow starts and when it ends.
func TestPolicyOnConnection(t *testing.T) {
	p := &provider{}
	b, _ := newBroker(t, p)
	request := broker.StartRequest{ProviderID: "acme", CredentialName: "Work 1", ClientID: "id"}
	mayConnect := []broker.Rule{allow(broker.On{Names: []broker.Pattern{"Work *"}, Providers: []string{"acme"}}, "connect")}

	if _, err := b.StartAuthorization(t.Context(), runner, request); !errors.Is(err, broker.ErrForbidden) {
		t.Errorf("StartAuthorization without a rule = %v, want ErrForbidden", err)
	}
	b.Policy.Use("f", mayConnect, time.Now())
	other := request
	other.CredentialName = "Home"
	if _, err := b.StartAuthorization(t.Context(), runner, other); !errors.Is(err, broker.ErrForbidden) {
		t.Errorf("StartAuthorization of another name = %v, want ErrForbidden", err)
	}
	begin := func() broker.Callback {
		started, err := b.StartAuthorization(t.Context(), runner, request)
		if err != nil {
			t.Fatalf("StartAuthorization: %v", err)
		}
		return broker.Callback{State: started.State, Code: broker.NewSecret("c")}
	}
	if _, err := b.CompleteRedirect(t.Context(), begin()); err != nil {
		t.Errorf("CompleteRedirect = %v, want the connection", err)
	}
	redirected, handedOn := begin(), begin()
	b.Policy.Use("f", nil, time.Now())
	before := p.exchanges.Load()
	if _, err := b.CompleteRedirect(t.Context(), redirected); !errors.Is(err, broker.ErrForbidden) {
		t.Errorf("CompleteRedirect after the rule was taken away = %v, want ErrForbidden", err)
	}
	if _, err := b.CompleteAuthorization(t.Context(), runner, handedOn); !errors.Is(err, broker.ErrForbidden) {
		t.Errorf("CompleteAuthorization after the rule was taken away = %v, want ErrForbidden", err)
	}
	if got := p.exchanges.Load(); got != before {
		t.Errorf("%d codes were spent for somebody who may not connect", got-before)
	}
}

// TestPolicyOnMoves: a change moves nothing out of the reach of who makes it, nor
// into that of more of its verbs.
func TestPolicyOnMoves(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	inbox, work, home := create(t, b, bearer("Inbox 1")), create(t, b, bearer("Work 1")), create(t, b, bearer("Home 1"))
	b.Policy.Use("f", []broker.Rule{
		allow(named("Inbox *"), "write"),
		allow(named("Work *"), "write", "token"),
		allow(broker.On{Metadata: map[string][]string{"open": {"yes"}}}, "token"),
	}, time.Now())
	rename := func(name string) broker.CredentialPatch { return broker.CredentialPatch{Name: &name} }
	for _, test := range []struct {
		what  string
		id    broker.ID
		patch broker.CredentialPatch
		want  error
	}{
		{"within one rule", inbox.ID, rename("Inbox 2"), nil},
		{"to where it may read", inbox.ID, rename("Work 2"), broker.ErrForbidden},
		{"to where it may do less", work.ID, rename("Inbox 3"), nil},
		{"and back", work.ID, rename("Work 1"), broker.ErrForbidden},
		{"out of reach", inbox.ID, rename("Home 2"), broker.ErrForbidden},
		{"out of nowhere", home.ID, rename("Work 3"), broker.ErrNotFound},
		{"by a label", inbox.ID, broker.CredentialPatch{Metadata: map[string]any{"open": "yes"}}, broker.ErrForbidden},
	} {
		if _, err := b.UpdateCredential(t.Context(), runner, string(test.id), test.patch); !errors.Is(err, test.want) {
			t.Errorf("%s: UpdateCredential = %v, want %v", test.what, err, test.want)
		}
	}
	want := map[broker.ID]string{inbox.ID: "Inbox 2", work.ID: "Inbox 3", home.ID: "Home 1"}
	for _, s := range b.Tokens.All() {
		if s.Name != want[s.ID] {
			t.Errorf("afterwards a credential is named %q, want %q", s.Name, want[s.ID])
		}
	}
}

// TestOnlyWhatIsSeenCounts: two of a name or of a provider are none too many for
// somebody who sees one of them.
func TestOnlyWhatIsSeenCounts(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	var ids []broker.ID
	for _, workspace := range []string{"mine", "theirs", "theirs"} {
		n := bearer("mail")
		n.WorkspaceID, n.Provider = workspace, "acme"
		ids = append(ids, create(t, b, n).ID)
	}
	// A name that is another's id.
	decoy := bearer(string(ids[1]))
	decoy.WorkspaceID = "mine"
	create(t, b, decoy)
	b.Policy.Use("f", []broker.Rule{allow(broker.On{Workspaces: []string{"mine"}}, "token", "list")}, time.Now())
	read := broker.ReadRequest{MinValidity: time.Minute, Wait: time.Second}
	for _, ref := range []string{"mail", string(ids[0])} {
		if got, err := b.Token(t.Context(), runner, ref, read); err != nil || got.CredentialID != ids[0] {
			t.Errorf("Token(%s) = %v, %v, want that of the one in sight", ref, got.CredentialID, err)
		}
	}
	if got, err := b.Token(t.Context(), runner, string(ids[1]), read); err != nil || got.Access.Reveal() != "t-"+string(ids[1]) {
		t.Errorf("Token(id out of sight) = %v, want that of the one which bears it as its name", err)
	}
	if got, err := b.ProviderToken(t.Context(), runner, "acme", read); err != nil || got.CredentialID != ids[0] {
		t.Errorf("ProviderToken = %v, %v, want the one in sight", got.CredentialID, err)
	}
	if _, err := b.Token(t.Context(), self, "mail", read); !errors.Is(err, broker.ErrAmbiguousName) {
		t.Errorf("Token(mail) for who sees all = %v, want ErrAmbiguousName", err)
	}
	if _, err := b.ProviderToken(t.Context(), self, "acme", read); !errors.Is(err, broker.ErrAmbiguousProvider) {
		t.Errorf("ProviderToken for who sees all = %v, want ErrAmbiguousProvider", err)
	}
	census, err := b.Census(t.Context(), runner)
	if err != nil || census.Credentials[broker.StatusActive] != 2 || census.All[broker.StatusActive] != 4 {
		t.Errorf("Census = %+v, %v, want 2 of 4", census, err)
	}
	page, more, err := b.Credentials(t.Context(), runner, broker.Filter{Limit: 2})
	if err != nil || more || len(page) != 2 {
		t.Errorf("Credentials = %d, more %v, %v, want the 2 in sight and no more", len(page), more, err)
	}
}

// TestEventsInSight: an event of a credential is for those who may list it, even
// if it is the last.
func TestEventsInSight(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	b.Policy.Use("f", []broker.Rule{allow(broker.On{Metadata: map[string][]string{"team": {"a"}}}, "list")}, time.Now())
	after, err := b.LastEvent(runner)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := bearer("mine"), bearer("theirs")
	mine.Metadata, theirs.Metadata = map[string]any{"team": "a"}, map[string]any{"team": "b"}
	first, second := create(t, b, mine).ID, create(t, b, theirs).ID
	for _, id := range []broker.ID{second, first} {
		if err := b.DeleteCredential(t.Context(), self, string(id), false); err != nil {
			t.Fatal(err)
		}
	}
	kept := create(t, b, mine).ID
	events, last, err := b.EventsAfter(t.Context(), runner, after)
	var got []broker.ID
	for _, e := range events {
		got = append(got, e.CredentialID)
	}
	// What it was when it was made nobody knows any more once it is deleted.
	if want := []broker.ID{first, kept}; err != nil || !slices.Equal(got, want) || last != b.Events.Last() {
		t.Errorf("EventsAfter = %v up to %d, %v, want the deletion of %v up to %d", got, last, err, want, b.Events.Last())
	}
	if _, err := b.LastEvent(broker.Caller{UID: 5, Attested: true}); err != nil {
		t.Errorf("LastEvent for whom the rule is too = %v", err)
	}
	b.Policy.Use("f", nil, time.Now())
	if events, _, err := b.EventsAfter(t.Context(), runner, after); err != nil || len(events) != 0 {
		t.Errorf("EventsAfter once the rule is gone = %v, %v, want none", events, err)
	}
}

// A ledger keeps the denials that it is told of.
type ledger struct {
	brokertest.Unaudited
	mu      sync.Mutex
	entries []broker.AuditEntry
}

func (l *ledger) Denied(e broker.AuditEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
}

// TestDenialsAreWrittenDown: each denial once, with the rule, and the same way
// whether there is such a credential or not.
func TestDenialsAreWrittenDown(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	mail := create(t, b, bearer("mail"))
	work := create(t, b, bearer("work"))
	book := new(ledger)
	b.Auditor = book
	deny := allow(named("mail"), "*")
	deny.Name, deny.Deny = "not this", true
	b.Policy.Use("f", []broker.Rule{allow(named("work"), "header"), deny}, time.Now())
	gone := runner
	gone.Attested, gone.Unattested = false, "it has ended"
	for _, test := range []struct {
		caller broker.Caller
		ref    string
		err    error
		id     broker.ID
		rule   string
	}{
		{runner, "mail", broker.ErrNotFound, mail.ID, "not this"},
		{runner, "nothing", broker.ErrNotFound, "", "default"},
		{runner, "work", broker.ErrForbidden, work.ID, "default"},
		{gone, "work", broker.ErrForbidden, work.ID, "unattested"},
	} {
		book.entries = nil
		_, err := b.Token(t.Context(), test.caller, test.ref, broker.ReadRequest{})
		if len(book.entries) != 1 || !errors.Is(err, test.err) {
			t.Errorf("Token(%v, %s) = %v with %d records, want %v with one", test.caller, test.ref, err, len(book.entries), test.err)
			continue
		}
		target := test.ref
		if test.id == "" {
			target = "" // it may be a token that somebody took for a name
		}
		if e := book.entries[0]; e.Rule != test.rule || e.CredentialID != test.id || e.Target != target {
			t.Errorf("Token(%v, %s) is written down as %+v, want a denial by %q of %q", test.caller, test.ref, e, test.rule, test.id)
		}
	}
}

// TestPolicySwap swaps the policy under readers: each is judged by the one or the
// other, and never by both.
func TestPolicySwap(t *testing.T) {
	b, _ := newBroker(t, &provider{})
	b.Log = slog.New(slog.DiscardHandler)
	create(t, b, bearer("one"))
	create(t, b, bearer("two"))
	policies := [][]broker.Rule{{allow(named("one"), "list")}, {allow(named("two"), "list")}}
	b.Policy.Use("f", policies[0], time.Now())
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				views, _, err := b.Credentials(t.Context(), runner, broker.Filter{})
				if err != nil || len(views) != 1 {
					t.Errorf("Credentials = %d, %v, want the one that either policy shows", len(views), err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		b.Policy.Use("f", policies[i%2], time.Now())
	}
	stop()
	wg.Wait()
}
