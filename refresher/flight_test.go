package refresher_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

var reader = broker.Need{Validity: broker.DefaultValidity}

func TestReadersShareOneFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = time.Second
		id := w.expired()
		var readers sync.WaitGroup
		for range 1000 {
			readers.Go(func() {
				if token := w.mustRead(id, reader); token.Generation != 2 {
					t.Errorf("generation = %d, want 2", token.Generation)
				}
			})
		}
		readers.Wait()
		w.wantCalls(1)
		w.wantGeneration(id, 2)
		w.wantOutcomes(refresher.OutcomeSuccess)
	})
}

func TestStaggeredReaders(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = 2 * time.Second
		id := w.expired()
		var readers sync.WaitGroup
		for i := range 100 { // some before, some during, some after
			readers.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				w.mustRead(id, reader)
			})
		}
		readers.Wait()
		w.wantCalls(1)
	})
}

func TestFlightOutlivesItsCaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = 5 * time.Second
		id := w.expired()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Refresh(ctx, id, reader)
		wantRetry(t, err, broker.ErrWaitEnded)
		time.Sleep(10 * time.Second)
		w.wantGeneration(id, 2)
		w.wantCalls(1)
		if token, ok := w.tokens.Token(id); !ok || token.Generation != 2 {
			t.Errorf("published token = generation %d, %v, want 2", token.Generation, ok)
		}
	})
}

func TestForcedCallsCollapseByGeneration(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = time.Second
		id := w.connect("p", time.Hour)
		var runners sync.WaitGroup
		for i := range 100 { // over five seconds, far beyond the flight
			runners.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				w.mustRead(id, broker.Need{After: 1, Force: true})
			})
		}
		runners.Wait()
		w.wantCalls(1)
		w.mustRead(id, broker.Need{After: 2, Force: true})
		w.wantCalls(2)
		w.wantGeneration(id, 3)
	})
}

func TestJoinerWhoseNeedWasNotMetJoinsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = time.Second
		id := w.connect("p", time.Hour)
		var callers sync.WaitGroup
		callers.Go(func() { w.mustRead(id, broker.Need{After: 1, Force: true}) })
		synctest.Wait()
		callers.Go(func() {
			if token := w.mustRead(id, broker.Need{After: 2, Force: true}); token.Generation != 3 {
				t.Errorf("generation = %d, want 3", token.Generation)
			}
		})
		callers.Wait()
		w.wantCalls(2)
	})
}

func TestImpossibleNeedEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.connect("p", time.Hour)
		_, err := w.read(id, broker.Need{After: 1000, Force: true})
		wantRetry(t, err, broker.ErrWaitEnded)
		if calls := w.provider.callCount(); calls > 3 {
			t.Errorf("the provider was asked %d times, want 3 at most", calls)
		}
	})
}

func TestOrderOfSteps(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		var steps []string
		published := func() uint64 { s, _ := w.tokens.Get(id); return s.Generation }
		note := func(step string) error {
			steps = append(steps, step)
			if got := published(); got != 1 {
				t.Errorf("at %q generation %d is published, want 1", step, got)
			}
			return nil
		}
		w.store.setProbe(note)
		w.provider.asked = func() {
			note("ask")
			if c := w.stored(id); c.Intent == nil || c.Intent.Generation != 1 {
				t.Errorf("while asking the stored intent is %+v, want one of generation 1", c.Intent)
			}
		}
		w.mustRead(id, reader)
		if want := []string{"writable", "intent", "ask", "commit"}; !slices.Equal(steps, want) {
			t.Errorf("steps = %v, want %v", steps, want)
		}
		if got := published(); got != 2 {
			t.Errorf("after the flight generation %d is published, want 2", got)
		}
		if c := w.stored(id); c.Intent != nil || c.Status != broker.StatusActive {
			t.Errorf("after the flight intent = %v, status = %s, want none, active", c.Intent, c.Status)
		}
	})
}

func TestNothingIsSpentThatCannotBeStored(t *testing.T) {
	for _, failing := range []string{"writable", "intent"} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			id := w.expired()
			w.store.setProbe(func(step string) error {
				if step == failing {
					return errors.New("disk full")
				}
				return nil
			})
			_, err := w.read(id, reader)
			after := wantRetry(t, err, broker.ErrStoreUnavailable)
			w.wantCalls(0)
			w.wantOutcomes(refresher.OutcomeStoreUnavailable)
			if lines := strings.Count(w.log.String(), "disk full"); lines != 1 {
				t.Errorf("%s failed: %d lines in the log, want 1", failing, lines)
			}
			if after <= 0 || after > 5*time.Second {
				t.Errorf("%s failed: retry after %v, want within five seconds", failing, after)
			}
			w.store.setProbe(nil)
			time.Sleep(after)
			w.mustRead(id, reader)
			w.wantCalls(1)
		})
	}
}

func TestUnreadableStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.store.Fail(errors.New("broken disk"))
		_, err := w.read(id, reader)
		time.Sleep(wantRetry(t, err, broker.ErrStoreUnavailable))
		w.wantCalls(0)
		w.store.Fail(nil)
		w.mustRead(id, reader)
	})
}

// failCommits has the store refuse new tokens, and nothing else.
func failCommits(step string) error {
	if step == "commit" {
		return errors.New("disk full")
	}
	return nil
}

func TestTokensThatCannotBeStoredAreKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		id := w.connect("p", 2*time.Second) // the schedule comes after one
		w.store.setProbe(failCommits)
		for range 60 {
			time.Sleep(time.Second)
			for _, need := range []broker.Need{reader, {After: 1, Force: true}} {
				if token, err := w.read(id, need); err == nil && token.Generation > 1 {
					t.Fatalf("Refresh(%+v) handed out generation %d, which is not stored", need, token.Generation)
				} else if err != nil {
					wantRetry(t, err, broker.ErrStoreUnavailable)
				}
			}
			w.wantGeneration(id, 1)
		}
		w.wantCalls(1)
		if log := w.log.String(); !strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, "access-") || strings.Contains(log, "refresh-") {
			t.Errorf("log = %s, want errors without secrets", log)
		}
		w.store.setProbe(nil)
		time.Sleep(10 * time.Second)
		w.wantGeneration(id, 2)
		w.wantCalls(1)
		w.mustRead(id, reader)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestReadCommitsKeptTokens(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.store.setProbe(failCommits)
		_, err := w.read(id, reader)
		time.Sleep(wantRetry(t, err, broker.ErrStoreUnavailable))
		w.store.setProbe(nil)
		if token := w.mustRead(id, reader); token.Generation != 2 {
			t.Errorf("generation = %d, want 2", token.Generation)
		}
		w.wantCalls(1)
	})
}

// TestFailedButPersisted: the store says that a write failed, and it is there
// once the store is back. The new tokens are recognised, told and served; what
// was spent is not spent again, and an intent that nobody followed leaves no doubt.
func TestFailedButPersisted(t *testing.T) {
	for _, step := range []string{"intent", "commit", "outcome"} {
		t.Run(step, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.expired()
				if step == "outcome" {
					w.provider.fail(outage(503, 0))
				}
				begin := w.events.Last()
				w.store.setAfter(func(at string) error {
					if at != step {
						return nil
					}
					w.store.Fail(errors.New("the disk is sick")) // until it was opened again
					return errors.New("the disk is sick")
				})
				_, err := w.read(id, reader)
				time.Sleep(wantRetry(t, err, nil))
				w.store.setAfter(nil)
				w.store.Fail(nil)
				if step == "intent" {
					w.provider.fail(fault{err: refusal("invalid_grant")})
					_, err := w.read(id, reader)
					if e, ok := errors.AsType[*broker.ReauthorizeError](err); !ok || strings.Contains(e.Reason, "interrupted_rotation") {
						t.Errorf("Refresh = %v, want a refusal that knows of no interruption", err)
					}
					w.wantCalls(1)
					return
				}
				if token := w.mustRead(id, reader); token.Generation != 2 {
					t.Errorf("generation = %d, want 2", token.Generation)
				}
				w.wantGeneration(id, 2)
				if c := w.stored(id); c.Intent != nil || c.Status != broker.StatusActive || c.Hindrance != "" {
					t.Errorf("intent %v, status %s, want none, active", c.Intent, c.Status)
				}
				calls := 1
				if step == "outcome" {
					calls = 2
				}
				w.wantCalls(calls)
				events, err := w.events.After(t.Context(), begin)
				if err != nil || !slices.ContainsFunc(events, func(e broker.Event) bool { return e.Type == broker.EventRefreshed }) {
					t.Errorf("events = %v (%v), want one of the refresh", events, err)
				}
			})
		})
	}
}

func TestKeptTokensThatEndedAreRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.store.setProbe(failCommits)
		_, err := w.read(id, reader)
		wantRetry(t, err, broker.ErrStoreUnavailable)
		time.Sleep(2 * time.Hour)
		w.store.setProbe(nil)
		if token := w.mustRead(id, reader); token.Generation != 3 {
			t.Errorf("generation = %d, want 3", token.Generation)
		}
		w.wantCalls(2)
	})
}

func TestStopStoresKeptTokens(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.store.setProbe(failCommits)
		stop := w.start()
		synctest.Wait()
		w.wantGeneration(id, 1)
		w.wantCalls(1)
		time.AfterFunc(5*time.Second, func() { w.store.setProbe(nil) })
		if err := stop(); err != nil {
			t.Errorf("Run = %v, want the tokens stored", err)
		}
		w.wantGeneration(id, 2)
	})
}

func TestStopSaysWhatIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.expired()
		w.store.setProbe(failCommits)
		stop := w.start()
		synctest.Wait()
		w.wantCalls(1)
		begun := time.Now()
		if err := stop(); err == nil || !strings.Contains(err.Error(), "1 credentials are lost") {
			t.Errorf("Run = %v, want an error that counts one", err)
		}
		if took := time.Since(begun); took > 45*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}

func TestReconnectWins(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = time.Second
		id := w.expired()
		time.AfterFunc(500*time.Millisecond, func() {
			answer := w.provider.consent()
			w.change(id, func(c *broker.Credential) { c.Apply(answer, time.Now()) })
		})
		token := w.mustRead(id, reader)
		if c := w.stored(id); token.Generation != 2 || !token.Access.Equal(c.Config.Secret(broker.KeyAccessToken)) || token.Access.Reveal() != "access-2" {
			t.Errorf("token = generation %d %q, want the reconnected one", token.Generation, token.Access.Reveal())
		}
		w.wantCalls(1)
		w.wantOutcomes(refresher.OutcomeSuperseded)
	})
}

func TestReconnectWinsOverRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.fail(fault{takes: time.Second, err: refusal("invalid_grant")})
		time.AfterFunc(500*time.Millisecond, func() {
			answer := w.provider.consent()
			w.change(id, func(c *broker.Credential) { c.Apply(answer, time.Now()) })
		})
		w.mustRead(id, reader)
		if c := w.stored(id); c.Status != broker.StatusActive {
			t.Errorf("status = %s (%s), want active", c.Status, c.StatusReason)
		}
	})
}

func TestNewRefreshTokenWins(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = time.Second
		id := w.expired()
		given := w.provider.consent().RefreshToken.Reveal()
		time.AfterFunc(500*time.Millisecond, func() {
			w.change(id, func(c *broker.Credential) { c.Config = c.Config.With(broker.KeyRefreshToken, given) })
		})
		w.mustRead(id, reader)
		w.wantCalls(2) // the second with the token that was given
		w.wantOutcomes(refresher.OutcomeSuperseded, refresher.OutcomeSuccess)
	})
}

func TestDeletedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = time.Second
		id := w.expired()
		stop := w.start()
		time.AfterFunc(500*time.Millisecond, func() {
			if err := w.store.Delete(context.Background(), id); err != nil {
				t.Errorf("Delete = %v", err)
			}
			w.tokens.Delete(id)
			w.Forget(id)
		})
		if _, err := w.read(id, broker.Need{After: 1, Force: true}); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("Refresh = %v, want ErrNotFound", err)
		}
		if due := w.Due(id); !due.IsZero() {
			t.Errorf("Due = %v, want never", due)
		}
		calls := w.provider.callCount()
		time.Sleep(time.Hour)
		w.wantCalls(calls)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestSwitchedOffMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = time.Second
		id := w.expired()
		time.AfterFunc(500*time.Millisecond, func() {
			w.change(id, func(c *broker.Credential) { c.IsActive = false })
		})
		if _, err := w.read(id, reader); !errors.Is(err, broker.ErrDisabled) {
			t.Errorf("Refresh = %v, want ErrDisabled", err)
		}
		w.wantGeneration(id, 2) // what was spent is stored all the same
	})
}

func TestWhatIsNeverAsked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		off, spent, waits := w.expired(), w.expired(), w.add(broker.Credential{Summary: broker.Summary{
			ID: "waits", Name: "waits", AuthType: broker.AuthOAuth2, Provider: "p", IsActive: true, Status: broker.StatusPending,
		}})
		w.change(off, func(c *broker.Credential) { c.IsActive = false })
		w.change(spent, func(c *broker.Credential) {
			c.Config, c.Renewable = c.Config.With(broker.KeyRefreshToken, nil), false
		})
		for id, want := range map[broker.ID]error{
			off: broker.ErrDisabled, spent: broker.ErrReauthorize, waits: broker.ErrAuthorizationPending, "nobody": broker.ErrNotFound,
		} {
			for _, need := range []broker.Need{reader, {After: 1, Force: true}} {
				if _, err := w.read(id, need); !errors.Is(err, want) {
					t.Errorf("Refresh(%s, %+v) = %v, want %v", id, need, err, want)
				}
			}
			if due := w.Due(id); !due.IsZero() {
				t.Errorf("Due(%s) = %v, want never", id, due)
			}
		}
		w.wantCalls(0)
	})
}

func TestClientCredentials(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		fetch := func(id broker.ID, fields map[string]any) []string {
			fields[broker.KeyGrantType] = string(broker.GrantClientCredentials)
			w.add(broker.Credential{
				Summary: broker.Summary{
					ID: id, Name: "job", AuthType: broker.AuthOAuth2, Provider: "p", IsActive: true,
					Status: broker.StatusPending, Renewable: true,
				},
				Config: broker.NewConfig(fields),
			})
			time.Sleep(time.Second) // nobody reads it
			w.wantGeneration(id, 1)
			w.mustRead(id, reader)
			return w.provider.calls[w.provider.callCount()-1].scopes
		}
		if got := fetch("plain", map[string]any{}); !slices.Equal(got, []string{"default"}) {
			t.Errorf("scopes = %v, want the default ones", got)
		}
		if got := fetch("scoped", map[string]any{broker.KeyScope: "a b"}); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("scopes = %v, want a and b", got)
		}
		w.wantCalls(2)
		time.Sleep(time.Hour)
		w.wantCalls(4)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestTokenWrittenMeanwhile: an access token that an operator writes during a
// refresh stays, but the refresh token that the provider gave is not lost with
// the answer, for the stored one is spent.
func TestTokenWrittenMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.fail(fault{takes: 10 * time.Second})
		var readers sync.WaitGroup
		readers.Go(func() {
			if token := w.mustRead(id, reader); token.Access.Reveal() != "written" {
				t.Errorf("the reader got %q, want the token that was written", token.Access.Reveal())
			}
		})
		time.Sleep(5 * time.Second)
		w.change(id, func(c *broker.Credential) {
			c.Config = c.Config.With(broker.KeyAccessToken, "written")
			c.Generation++
			c.IssuedAt, c.ExpiresAt = time.Now(), time.Now().Add(time.Hour)
		})
		readers.Wait()
		w.mustRead(id, broker.Need{After: 2, Force: true}) // spends the new one
		w.wantGeneration(id, 3)
		w.wantCalls(2)
	})
}
