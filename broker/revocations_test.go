package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// A flakyRevoker is a provider whose answers to revocations are those of a script,
// then nil.
type flakyRevoker struct {
	broker.AuthorizationServer
	mu      sync.Mutex
	answers []error                             // guarded by mu
	always  error                               // guarded by mu: where the script has ended
	asked   []time.Time                         // guarded by mu
	tokens  []string                            // guarded by mu
	bad     string                              // a token that is always refused
	during  func(ctx context.Context, call int) // called first, if not nil
}

func (r *flakyRevoker) Revoke(ctx context.Context, _ broker.Connection, token broker.Secret, _ string) error {
	r.mu.Lock()
	r.asked, r.tokens = append(r.asked, time.Now()), append(r.tokens, token.Reveal())
	call, err := len(r.asked), r.always
	if len(r.answers) > 0 {
		err, r.answers = r.answers[0], r.answers[1:]
	} else if token.Reveal() == r.bad {
		err = refused("invalid_request")
	}
	r.mu.Unlock()
	if r.during != nil {
		r.during(ctx, call)
	}
	return err
}

func (r *flakyRevoker) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

// A revocationWorld is a broker that runs, on a store that outlives it.
type revocationWorld struct {
	*broker.Broker
	store   *brokertest.MemStore
	server  *flakyRevoker
	log     *bytes.Buffer // to be read once it was stopped
	results map[broker.RevocationResult]int
	stop    func()
}

func runRevoking(t *testing.T, store *brokertest.MemStore, server *flakyRevoker) *revocationWorld {
	t.Helper()
	w := &revocationWorld{store: store, server: server, log: new(bytes.Buffer), results: map[broker.RevocationResult]int{}}
	var mu sync.Mutex
	w.Broker = broker.New(broker.Parts{
		Store: store, Server: server, Refresher: idle{}, Auditor: brokertest.Unaudited{}, Tokens: broker.NewTokens(), Events: broker.NewEvents(),
		Definitions: definitions{"acme": moved(func(d *broker.Definition) { d.RevocationURL = "https://token.acme.example/revoke" })},
		Policy:      broker.NewPolicy(self.UID), Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Trace: broker.Trace{Revocation: func(_ string, result broker.RevocationResult) {
			mu.Lock()
			defer mu.Unlock()
			w.results[result]++
		}},
	})
	if err := w.LoadRevocations(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		if strings.Contains(w.log.String(), "the-token") {
			t.Errorf("the log shows a token: %s", w.log)
		}
	})
	return w
}

// connect stores a credential and returns its id.
func (w *revocationWorld) connect(t *testing.T, name string) broker.ID {
	t.Helper()
	c, err := w.CreateCredential(t.Context(), self, broker.NewCredential{Name: name, Provider: "acme", AuthType: broker.AuthOAuth2,
		Config: map[string]any{"clientId": "app", "clientSecret": "cs", "refreshToken": "the-token-of-" + name}})
	if err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func (w *revocationWorld) revoke(t *testing.T, id broker.ID) {
	t.Helper()
	if err := w.DeleteCredential(t.Context(), self, string(id), true); err != nil {
		t.Fatalf("DeleteCredential = %v, want it deleted", err)
	}
	if _, err := w.Credential(t.Context(), self, string(id)); !errors.Is(err, broker.ErrNotFound) {
		t.Fatalf("Credential afterwards = %v, want ErrNotFound", err)
	}
}

func (w *revocationWorld) queued(t *testing.T, want int) []broker.Revocation {
	t.Helper()
	all, err := w.store.Revocations(t.Context())
	if err != nil || len(all) != want {
		t.Fatalf("%d revocations are stored, %v, want %d", len(all), err, want)
	}
	return all
}

func sick(retryAfter time.Duration) error {
	return &broker.ProviderError{Op: "revoke", Provider: "acme", Host: "token.acme.example", Status: 503, Sent: broker.SentAnswered, RetryAfter: retryAfter}
}

func refused(code string) error {
	return &broker.ProviderError{Op: "revoke", Provider: "acme", Host: "token.acme.example", Status: 400, Code: code, Sent: broker.SentAnswered}
}

func TestRevocationIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runRevoking(t, new(brokertest.MemStore), &flakyRevoker{answers: []error{sick(0), sick(10 * time.Minute), sick(0)}})
		defer w.stop()
		w.revoke(t, w.connect(t, "mine"))
		w.queued(t, 1)
		if census, err := w.Census(t.Context(), self); err != nil || len(census.Problems) != 1 {
			t.Errorf("Census has the problems %v, %v, want the revocation", census.Problems, err)
		}
		if !w.RevocationsUse("acme") {
			t.Error("RevocationsUse = false, want the definition kept")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		w.queued(t, 0)
		asked := w.server.asked
		if len(asked) != 4 || asked[2].Sub(asked[1]) < 10*time.Minute {
			t.Errorf("asked at %v, want 4 times and Retry-After honoured", asked)
		}
		if census, _ := w.Census(t.Context(), self); len(census.Problems) > 0 || w.RevocationsUse("acme") {
			t.Errorf("Census has the problems %v afterwards, want none", census.Problems)
		}
		if w.results[broker.RevocationFailed] != 3 || w.results[broker.Revoked] != 1 {
			t.Errorf("the trace has %v, want 3 failures and a success", w.results)
		}
	})
}

// TestRevocationSurvives: a process that dies leaves what it owes to the next.
func TestRevocationSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, server := new(brokertest.MemStore), &flakyRevoker{always: sick(0)}
		w := runRevoking(t, store, server)
		w.revoke(t, w.connect(t, "mine"))
		w.stop()
		before := server.calls()
		server.always = nil
		w = runRevoking(t, store, server)
		defer w.stop()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		w.queued(t, 0)
		if server.calls() != before+1 || server.tokens[before] != "the-token-of-mine" {
			t.Errorf("the next process asked for %q, want the token once", server.tokens[before:])
		}
	})
}

func TestRevocationIsGivenUp(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer error
		within time.Duration
		calls  int // at most
	}{
		{"after a week", sick(0), 8 * 24 * time.Hour, 400},
		{"at once", refused("unsupported_token_type"), time.Minute, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := runRevoking(t, new(brokertest.MemStore), &flakyRevoker{answers: []error{sick(0)}, always: test.answer})
				defer w.stop()
				before := w.Events.Last()
				id := w.connect(t, "mine")
				w.revoke(t, id)
				time.Sleep(test.within)
				synctest.Wait()
				given := w.queued(t, 1)[0]
				if given.GivenUpAt.IsZero() || len(given.Tokens) > 0 || len(given.Config.Reveal()) > 0 {
					t.Errorf("the revocation is %+v, want it given up and its secrets gone", given)
				}
				if n := w.server.calls(); n > test.calls {
					t.Errorf("asked %d times, want %d at most", n, test.calls)
				}
				events, _ := w.Events.After(t.Context(), before)
				if last := events[len(events)-1]; last.Type != broker.EventRevocationFailed || last.CredentialID != id || last.Reason == "" {
					t.Errorf("the last event is %+v, want the failure with its reason", last)
				}
				if census, _ := w.Census(t.Context(), self); len(census.Problems) != 1 || !strings.Contains(census.Problems[0].What, `"mine"`) {
					t.Errorf("Census has the problems %v, want the credential named", census.Problems)
				}
				if w.results[broker.RevocationGivenUp] != 1 {
					t.Errorf("the trace has %v, want one given up", w.results)
				}
				time.Sleep(8 * 24 * time.Hour)
				synctest.Wait()
				w.queued(t, 0)
			})
		})
	}
}

// TestSickProviderIsNotStormed: however many were deleted, one request at a time
// finds out whether the provider is back, and then all are revoked.
func TestSickProviderIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &flakyRevoker{always: sick(0)}
		w := runRevoking(t, new(brokertest.MemStore), server)
		defer w.stop()
		const count = 500
		for n := range count {
			w.revoke(t, w.connect(t, fmt.Sprint("c", n)))
		}
		before := server.calls()
		time.Sleep(24 * time.Hour)
		if n := server.calls() - before; n > 200 {
			t.Errorf("a provider that is away for a day is asked %d times for %d tokens, want a probe now and then", n, count)
		}
		server.mu.Lock()
		server.always = nil
		server.mu.Unlock()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		w.queued(t, 0)
	})
}

// TestOneRefusalHoldsUpNobody: a token that the provider does not take is no reason
// to leave the others alone.
func TestOneRefusalHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &flakyRevoker{bad: "the-token-of-bad", answers: []error{sick(0)}}
		w := runRevoking(t, new(brokertest.MemStore), server)
		defer w.stop()
		w.revoke(t, w.connect(t, "bad"))
		time.Sleep(5 * 24 * time.Hour)
		server.mu.Lock()
		server.answers = []error{sick(0)}
		server.mu.Unlock()
		w.revoke(t, w.connect(t, "good"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if all := w.queued(t, 1); all[0].Name != "bad" {
			t.Errorf("%q waits, want that bad alone does", all[0].Name)
		}
	})
}

// TestRevocationHangs: a provider that does not answer holds a deletion up for ten
// seconds and no longer.
func TestRevocationHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &flakyRevoker{answers: []error{context.DeadlineExceeded}}
		server.during = func(ctx context.Context, call int) {
			if call == 1 {
				<-ctx.Done()
			}
		}
		w := runRevoking(t, new(brokertest.MemStore), server)
		defer w.stop()
		id, begun := w.connect(t, "mine"), time.Now()
		w.revoke(t, id)
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("DeleteCredential took %s, want 10s", took)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		w.queued(t, 0)
	})
}

// TestRefreshedWhileRevoked: tokens that a refresh brings between the revocation
// and the deletion are revoked too.
func TestRefreshedWhileRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := new(flakyRevoker)
		w := runRevoking(t, new(brokertest.MemStore), server)
		defer w.stop()
		id := w.connect(t, "mine")
		server.during = func(ctx context.Context, call int) {
			if call > 1 {
				return
			}
			_, err := w.store.Update(ctx, id, func(c *broker.Credential) error {
				c.Apply(broker.TokenResponse{AccessToken: broker.NewSecret("a"), RefreshToken: broker.NewSecret("the-token-after")}, time.Now())
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		w.revoke(t, id)
		if got := strings.Join(server.tokens, " "); got != "the-token-of-mine the-token-after" {
			t.Errorf("revoked %q, want both refresh tokens", got)
		}
		w.queued(t, 0)
	})
}

// TestRefusedRevocation: where the provider says no, somebody has to act, and
// nothing is deleted.
func TestRefusedRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runRevoking(t, new(brokertest.MemStore), &flakyRevoker{always: refused("invalid_client")})
		defer w.stop()
		id := w.connect(t, "mine")
		err := w.DeleteCredential(t.Context(), self, string(id), true)
		if p, ok := errors.AsType[*broker.ProviderError](err); !ok || p.Code != "invalid_client" {
			t.Errorf("DeleteCredential = %v, want the refusal", err)
		}
		if _, err := w.Credential(t.Context(), self, string(id)); err != nil {
			t.Errorf("Credential = %v afterwards, want it there", err)
		}
		w.queued(t, 0)
	})
}

// TestRevocationNeedsTheStore: what could not be deleted is not revoked.
func TestRevocationNeedsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runRevoking(t, new(brokertest.MemStore), new(flakyRevoker))
		defer w.stop()
		id := w.connect(t, "mine")
		w.store.Fail(errors.New("full"))
		if err := w.DeleteCredential(t.Context(), self, string(id), true); !errors.Is(err, broker.ErrStoreUnavailable) || w.server.calls() > 0 {
			t.Errorf("DeleteCredential = %v after %d revocations, want ErrStoreUnavailable and none", err, w.server.calls())
		}
		w.store.Fail(nil)
	})
}

// TestAccessTokenEndsInTheQueue: a provider that knows an access token no more says
// nothing about the grant behind it.
func TestAccessTokenEndsInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runRevoking(t, new(brokertest.MemStore), &flakyRevoker{answers: []error{sick(2 * time.Hour)}})
		defer w.stop()
		c, err := w.CreateCredential(t.Context(), self, broker.NewCredential{Name: "short", Provider: "acme", AuthType: broker.AuthOAuth2,
			Config: map[string]any{"clientId": "app", "accessToken": "the-token", "expiresAt": time.Now().Add(30 * time.Minute).UTC().Format(time.RFC3339)}})
		if err != nil {
			t.Fatal(err)
		}
		w.revoke(t, c.ID)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if given := w.queued(t, 1)[0]; given.GivenUpAt.IsZero() || !strings.Contains(given.Reason, "ended before") || w.server.calls() != 1 {
			t.Errorf("after %d requests the revocation is %+v, want it given up since the token ended", w.server.calls(), given)
		}
	})
}
