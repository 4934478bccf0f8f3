package refresher_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

func TestTransientFailure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.fail(outage(503, 0), outage(500, 0))
		_, err := w.read(id, reader)
		after := wantRetry(t, err, nil)
		if p, ok := errors.AsType[*broker.ProviderError](err); !ok || p.Status != 503 {
			t.Errorf("Refresh = %v, want the provider's 503", err)
		}
		c := w.stored(id)
		if c.Status != broker.StatusDegraded || c.StatusReason == "" || c.Intent != nil || !c.RetryAt.Equal(time.Now().Add(after)) {
			t.Errorf("stored status %s, reason %q, intent %v, retry at %v, want degraded, with a reason, none, in %v", c.Status, c.StatusReason, c.Intent, c.RetryAt, after)
		}
		if s, _ := w.tokens.Get(id); s.Status != broker.StatusDegraded {
			t.Errorf("published status = %s, want degraded", s.Status)
		}
		for range 100 { // during the pause nobody is asked
			_, err = w.read(id, reader)
		}
		if got := wantRetry(t, err, nil); got != after {
			t.Errorf("retry after %v, want the %v that are left", got, after)
		}
		w.wantCalls(1)
		_, err = w.read(id, broker.Need{After: 1, Force: true}) // force asks
		w.wantCalls(2)
		time.Sleep(wantRetry(t, err, nil))
		w.mustRead(id, reader)
		if c := w.stored(id); c.Status != broker.StatusActive || c.StatusReason != "" || !c.RetryAt.IsZero() {
			t.Errorf("stored status %s, reason %q, retry at %v, want active and clean", c.Status, c.StatusReason, c.RetryAt)
		}
		w.wantOutcomes(refresher.OutcomeTransient, refresher.OutcomeTransient, refresher.OutcomeSuccess)
	})
}

func TestBackoffGrowsAndRecovers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		for range 1000 {
			w.provider.fail(outage(502, 0))
		}
		stop := w.start()
		id := w.expired()
		time.Sleep(2 * time.Hour)
		// After some ten doublings it is asked once in two and a half minutes.
		if calls := w.provider.callCount(); calls < 30 || calls > 90 {
			t.Errorf("asked %d times in two hours of outage, want about 60", calls)
		}
		w.provider.mu.Lock()
		w.provider.script = nil
		w.provider.mu.Unlock()
		time.Sleep(6 * time.Minute)
		w.wantGeneration(id, 2)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.fail(outage(429, 10*time.Minute))
		stop := w.start()
		id := w.expired()
		time.Sleep(9 * time.Minute)
		_, err := w.read(id, reader)
		if after := wantRetry(t, err, nil); after > 2*time.Minute {
			t.Errorf("retry after %v, want about one minute", after)
		}
		w.wantCalls(1)
		if due := w.Due(id); due.Before(time.Now()) {
			t.Errorf("Due = %v, want later", due)
		}
		time.Sleep(2 * time.Minute)
		w.wantCalls(2)
		w.wantGeneration(id, 2)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestLivingTokenIsKeptThroughFailures(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.connect("p", time.Hour)
		w.provider.fail(outage(503, 0))
		_, err := w.read(id, broker.Need{After: 1, Force: true})
		wantRetry(t, err, nil)
		// The pause is no reason to refuse a token that is there.
		if token := w.mustRead(id, broker.Need{}); token.Generation != 1 {
			t.Errorf("generation = %d, want 1", token.Generation)
		}
	})
}

func TestRefusedGrant(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.revokeAll()
		stop := w.start()
		time.Sleep(time.Minute)
		w.wantCalls(1)
		for range 24 {
			time.Sleep(time.Hour)
			_, err := w.read(id, reader)
			e, ok := errors.AsType[*broker.ReauthorizeError](err)
			if !ok || !strings.Contains(e.Reason, "invalid_grant") || e.ID != id || e.Name != "work" || e.Provider != "p" {
				t.Fatalf("Refresh = %#v, want a ReauthorizeError with the reason", err)
			}
		}
		w.wantCalls(1)
		c := w.stored(id)
		if c.Status != broker.StatusReauth || strings.Contains(c.StatusReason, "interrupted") || c.Intent != nil {
			t.Errorf("status = %s (%s), intent %v, want reauth_required", c.Status, c.StatusReason, c.Intent)
		}
		if c.Config.Text(broker.KeyRefreshToken) == "" || c.Config.Text(broker.KeyAccessToken) == "" {
			t.Error("tokens were wiped")
		}
		if due := w.Due(id); !due.IsZero() {
			t.Errorf("Due = %v, want never", due)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
		w.wantOutcomes(refresher.OutcomeGrantRefused)

		w.restart()
		if _, err := w.read(id, reader); !errors.Is(err, broker.ErrReauthorize) {
			t.Errorf("after a restart Refresh = %v, want ErrReauthorize", err)
		}
		w.wantCalls(1)
	})
}

func TestForceMayShowARefusedGrantAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.fail(fault{err: refusal("invalid_grant")}, outage(503, 0))
		forced := broker.Need{After: 1, Force: true}
		for range 100 { // a crowd, once
			if _, err := w.read(id, forced); !errors.Is(err, broker.ErrReauthorize) {
				t.Fatalf("Refresh = %v, want ErrReauthorize", err)
			}
		}
		w.wantCalls(1)
		time.Sleep(time.Minute)
		_, err := w.read(id, forced)
		wantRetry(t, err, nil)
		if c := w.stored(id); c.Status != broker.StatusReauth || !c.RetryAt.IsZero() {
			t.Errorf("after an outage status = %s, retry at %v, want reauth_required for good", c.Status, c.RetryAt)
		}
		w.mustRead(id, forced) // the provider was wrong
		if c := w.stored(id); c.Status != broker.StatusActive {
			t.Errorf("status = %s, want active", c.Status)
		}
		w.wantCalls(3)
	})
}

func TestReconnectedGrantWorks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.revokeAll()
		_, _ = w.read(id, reader)
		answer := w.provider.consent()
		answer.ExpiresAt = time.Now().Add(time.Second)
		w.change(id, func(c *broker.Credential) { c.Apply(answer, time.Now()) })
		time.Sleep(time.Second)
		w.mustRead(id, reader)
		w.wantGeneration(id, 3)
	})
}

func TestInterruptedRotation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		silence := &broker.ProviderError{Op: "refresh", Provider: "p", Sent: broker.SentUnknown, Timeout: true}
		w.provider.fail(fault{err: silence, lost: true}, outage(503, 0))
		for range 2 {
			_, err := w.read(id, reader)
			time.Sleep(wantRetry(t, err, nil))
			if c := w.stored(id); c.Intent == nil || c.Intent.Generation != 1 {
				t.Errorf("intent = %+v, want that of generation 1 left open", c.Intent)
			}
		}
		_, err := w.read(id, reader)
		if e, ok := errors.AsType[*broker.ReauthorizeError](err); !ok || !strings.Contains(e.Reason, "interrupted_rotation") {
			t.Errorf("Refresh = %v, want a ReauthorizeError that names interrupted_rotation", err)
		}
		if c := w.stored(id); !strings.Contains(c.StatusReason, "interrupted_rotation") || c.Intent != nil {
			t.Errorf("reason = %q, intent = %v", c.StatusReason, c.Intent)
		}
		w.provider.reused = nil // it was in doubt whether the token was spent
	})
}

func TestOpenIntentAtStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.connect("p", time.Hour)
		w.change(id, func(c *broker.Credential) {
			c.Intent = &broker.Intent{Generation: 1, At: time.Now()}
			c.RetryAt = time.Now().Add(time.Hour)
		})
		for range 20 {
			w.provider.fail(outage(503, 30*time.Minute))
		}
		w.restart()
		stop := w.start()
		time.Sleep(10 * time.Second)
		w.wantCalls(1) // at once, and then as always
		time.Sleep(20 * time.Minute)
		w.wantCalls(1)
		if c := w.stored(id); c.Intent == nil {
			t.Error("the intent is closed, want it open until an answer decides")
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestRetryAtOutlivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.fail(outage(503, 30*time.Minute))
		_, _ = w.read(id, reader)
		w.restart()
		stop := w.start()
		time.Sleep(20 * time.Minute)
		w.wantCalls(1)
		w.mustRead(id, reader) // whoever needs it may ask
		w.wantCalls(2)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestRefusedClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		for range 100 {
			w.provider.fail(fault{err: refusal("invalid_client")})
		}
		stop := w.start()
		id := w.expired()
		time.Sleep(time.Hour)
		if calls := w.provider.callCount(); calls < 3 || calls > 5 {
			t.Errorf("asked %d times in an hour, want every 15 minutes", calls)
		}
		if c := w.stored(id); c.Status != broker.StatusDegraded {
			t.Errorf("status = %s, want degraded", c.Status)
		}
		w.provider.mu.Lock()
		w.provider.script = nil
		w.provider.mu.Unlock()
		// An operator writes the right secret: the broker clears RetryAt.
		w.change(id, func(c *broker.Credential) { c.RetryAt, c.Status = time.Time{}, broker.StatusActive })
		time.Sleep(time.Second)
		w.wantGeneration(id, 2)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestBadConfiguration(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		unknown := w.expired()
		delete(w.definitions, "p")
		_, err := w.read(unknown, reader)
		wantRetry(t, err, broker.ErrNotConfigured)
		w.define("p")
		clientless := w.expired()
		if err := w.store.DeleteApp(t.Context(), "p"); err != nil {
			t.Fatalf("DeleteApp = %v", err)
		}
		_, err = w.read(clientless, reader)
		wantRetry(t, err, broker.ErrNotConfigured)
		if _, ok := errors.AsType[*broker.InvalidError](err); ok || !strings.Contains(err.Error(), "clientId") {
			t.Errorf("Refresh = %v, want what is missing, but not as if the reader had asked wrongly", err)
		}
		for _, id := range []broker.ID{unknown, clientless} {
			if c := w.stored(id); c.Status != broker.StatusDegraded || c.Intent != nil {
				t.Errorf("status = %s, intent = %v, want degraded and none", c.Status, c.Intent)
			}
		}
		w.wantCalls(0)
	})
}

func TestHangingProvider(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.fail(fault{hangs: true})
		begun := time.Now()
		_, err := w.Refresh(t.Context(), id, reader)
		wantRetry(t, err, nil)
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("the flight took %v, want 30s", took)
		}
		if c := w.stored(id); c.Status != broker.StatusDegraded || c.Intent == nil {
			t.Errorf("status = %s, intent = %v, want degraded and in doubt", c.Status, c.Intent)
		}
	})
}

func TestPanicIsAnError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.fail(fault{panics: true})
		_, err := w.read(id, reader)
		after := wantRetry(t, err, nil)
		if c := w.stored(id); c.Status != broker.StatusDegraded || c.Intent == nil {
			t.Errorf("status = %s, intent = %v, want degraded and in doubt", c.Status, c.Intent)
		}
		stop := w.start()
		time.Sleep(after)
		synctest.Wait()
		w.wantGeneration(id, 2)
		if log := w.log.String(); !strings.Contains(log, "panic in a refresh") || strings.Contains(log, "access-secret") {
			t.Errorf("log = %s, want the panic without what was thrown", log)
		}
		w.store.setProbe(func(string) error { panic("store") })
		_, err = w.read(id, broker.Need{After: 2, Force: true})
		after = wantRetry(t, err, nil)
		w.store.setProbe(nil)
		time.Sleep(after)
		w.mustRead(id, broker.Need{After: 2, Force: true})
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestTokenWithoutLife(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		for range 1000 {
			w.provider.fail(fault{expired: true})
		}
		stop := w.start()
		id := w.expired()
		time.Sleep(time.Hour)
		if calls := w.provider.callCount(); calls > 60 {
			t.Errorf("asked %d times in an hour for tokens without life, want a backoff", calls)
		}
		if _, err := w.read(id, reader); err == nil {
			t.Error("Refresh handed out a token that had expired")
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestEvents shows what listeners are told of a refresh that fails, recovers and
// is refused in the end.
func TestEvents(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		begin := w.events.Last()
		w.provider.fail(outage(503, 0))
		w.read(id, broker.Need{After: 1, Force: true})
		w.mustRead(id, broker.Need{After: 1, Force: true})
		w.provider.revokeAll()
		w.read(id, broker.Need{After: 2, Force: true})
		events, err := w.events.After(t.Context(), begin)
		if err != nil {
			t.Fatal(err)
		}
		var got []broker.EventType
		for _, e := range events {
			if e.CredentialID != id || e.Status == "" {
				t.Errorf("event %+v, want one of %s with its status", e, id)
			}
			got = append(got, e.Type)
		}
		want := []broker.EventType{broker.EventRefreshFailed, broker.EventRefreshed, broker.EventRecovered, broker.EventReauth}
		if !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}
