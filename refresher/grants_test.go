package refresher_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

// repeating adds a credential whose grant needs no person.
func (w *world) repeating(id broker.ID, grant broker.GrantType, fields map[string]any) broker.ID {
	w.Helper()
	fields[broker.KeyGrantType] = string(grant)
	return w.add(broker.Credential{
		Summary: broker.Summary{
			ID: id, Name: string(id), AuthType: broker.AuthOAuth2, Provider: "p", IsActive: true,
			Status: broker.StatusPending, Renewable: true,
		},
		Config: broker.NewConfig(fields),
	})
}

// TestRepeatedGrants: the first token comes without anybody reading it, the next
// ones by the same request, and a refresh token that the answer has anyway is
// neither kept nor spent.
func TestRepeatedGrants(t *testing.T) {
	for _, grant := range []broker.GrantType{broker.GrantClientCredentials, broker.GrantJWTBearer, broker.GrantTokenExchange} {
		t.Run(string(grant), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				id := w.repeating("job", grant, map[string]any{broker.KeyScope: "a b", broker.KeySubjectToken: "mine"})
				time.Sleep(time.Second)
				w.wantGeneration(id, 1)
				w.provider.fail(outage(503, 0))
				time.Sleep(time.Hour)
				w.wantGeneration(id, 2)
				w.wantOutcomes(refresher.OutcomeSuccess, refresher.OutcomeTransient, refresher.OutcomeSuccess)
				for _, c := range w.provider.calls {
					if !slices.Equal(c.scopes, []string{"a", "b"}) || grant == broker.GrantTokenExchange && c.subject != "mine" {
						t.Errorf("asked with scopes %v, subject %q", c.scopes, c.subject)
					}
				}
				if kept := w.stored(id).Config.Text(broker.KeyRefreshToken); kept != "" {
					t.Errorf("a refresh token is kept: %q", kept)
				}
				// What an operator has to mend is tried slowly, and at once when mended.
				w.provider.fail(fault{err: &broker.ProviderError{Op: "assert", Provider: "p", Sent: broker.SentAnswered, Status: 400, Code: "invalid_grant"}})
				w.force(id)
				if c := w.stored(id); c.Status != broker.StatusDegraded {
					t.Errorf("it is %s (%s), want degraded", c.Status, c.StatusReason)
				}
				w.write(id, map[string]any{broker.KeySubjectToken: "another"})
				if c := w.stored(id); c.Status != broker.StatusActive || !c.RetryAt.IsZero() {
					t.Errorf("it is %s, next at %v, want active", c.Status, c.RetryAt)
				}
				if err := stop(); err != nil {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

// TestSubjectCredential: the token of another credential is traded, which is
// renewed first where it has ended, and whose failures are told as its own.
func TestSubjectCredential(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		subject := w.expired()
		id := w.repeating("trader", broker.GrantTokenExchange, map[string]any{broker.KeySubjectCredentialID: string(subject)})
		w.mustRead(id, reader)
		renewed := w.stored(subject).Config.Text(broker.KeyAccessToken)
		if got := w.provider.calls[1].subject; got != renewed || w.provider.callCount() != 2 {
			t.Errorf("%q was exchanged, want the renewed %q", got, renewed)
		}

		time.Sleep(2 * time.Hour)
		w.provider.revokeAll()
		_, err := w.read(id, reader)
		c := w.stored(id)
		if wantRetry(t, err, nil); c.Status != broker.StatusDegraded || !strings.Contains(c.StatusReason, "needs a person to consent again") {
			t.Errorf("it is %s (%s), want degraded since the other needs a person", c.Status, c.StatusReason)
		}

		if err := w.broker().DeleteCredential(w.Context(), root, string(subject), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := w.read(id, reader); err == nil || !strings.Contains(err.Error(), "is gone; create this one anew") {
			t.Errorf("reading = %v, want that the other is gone", err)
		}
	})
}

// TestSubjectsDoNotWaitForEachOther: however two credentials came to trade each
// other's tokens, it ends.
func TestSubjectsDoNotWaitForEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.repeating("a", broker.GrantTokenExchange, map[string]any{broker.KeySubjectCredentialID: "b"})
		w.repeating("b", broker.GrantTokenExchange, map[string]any{broker.KeySubjectCredentialID: "a"})
		if _, err := w.read(a, reader); err == nil || !strings.Contains(err.Error(), "exchanges another one's itself") {
			t.Errorf("reading = %v, want that it says so", err)
		}
		w.wantCalls(0)
	})
}
