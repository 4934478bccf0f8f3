package refresher_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

var lostAnswer = fault{lost: true, err: &broker.ProviderError{Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentUnknown}}

// inGrace gives a provider a window in which a spent refresh token works again.
func (w *world) inGrace(grace time.Duration) {
	w.definitions["p"] = broker.Definition{ID: "p", Refresh: broker.RefreshPolicy{ReuseGrace: broker.Duration(grace)}}
	w.provider.grace = grace
}

// TestLostAnswerIsSavedWithinGrace: a rotation whose answer is lost is asked for
// again while the provider still takes the old token, whatever else the schedule
// has to do and though others have found the endpoint dead.
func TestLostAnswerIsSavedWithinGrace(t *testing.T) {
	for name, during := range map[string]func(w *world){
		"alone":                func(*world) {},
		"after many failures":  func(w *world) { w.provider.fail(outage(503, 0), outage(503, 0), outage(503, 0)) },
		"with an open circuit": func(w *world) { w.openCircuit(); w.provider.down(time.Now(), "p") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.inGrace(30 * time.Second)
				id := w.expired()
				w.provider.fail(lostAnswer)
				_, err := w.read(id, reader)
				wantRetry(t, err, nil)
				if c := w.stored(id); !strings.Contains(c.StatusReason, "may be spent") || c.Intent == nil {
					t.Errorf("status reason %q, intent %v, want it told that the token is in doubt", c.StatusReason, c.Intent)
				}
				during(w)
				stop := w.start()
				time.Sleep(30 * time.Second)
				w.wantGeneration(id, 2)
				if c := w.stored(id); c.Status != broker.StatusActive || c.Intent != nil {
					t.Errorf("status = %s (%s), intent %v, want active and none", c.Status, c.StatusReason, c.Intent)
				}
				if err := stop(); err != nil {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

// TestSilenceIsSavedWithinGrace: a request is not waited for so long that nothing
// is left of the window.
func TestSilenceIsSavedWithinGrace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.inGrace(30 * time.Second)
		id := w.expired()
		w.provider.fail(fault{swallows: true})
		stop := w.start()
		time.Sleep(30 * time.Second)
		w.wantGeneration(id, 2)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestDoubtComesFirst: after a crash what is in doubt does not queue behind
// hundreds that have only ended.
func TestDoubtComesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.inGrace(30 * time.Second)
		for range 500 {
			w.connect("p", time.Second)
		}
		id := w.expired()
		w.change(id, func(c *broker.Credential) { c.Intent = &broker.Intent{Generation: 1, At: time.Now()} })
		w.provider.takes = 5 * time.Second
		w.restart()
		stop := w.start()
		time.Sleep(6 * time.Second)
		w.wantGeneration(id, 2)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestNothingIsSpentThatDoesNotRotate: where a provider never rotates, a lost
// answer puts nothing in doubt, and a refusal later is no interrupted rotation.
func TestNothingIsSpentThatDoesNotRotate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.definitions["p"] = broker.Definition{ID: "p", Refresh: broker.RefreshPolicy{Rotation: "never"}}
		id := w.expired()
		w.provider.fail(fault{hangs: true}, fault{err: refusal("invalid_grant")})
		_, err := w.Refresh(t.Context(), id, reader)
		time.Sleep(wantRetry(t, err, nil))
		if c := w.stored(id); c.Intent != nil || strings.Contains(c.StatusReason, "spent") {
			t.Errorf("intent %v, reason %q, want no doubt", c.Intent, c.StatusReason)
		}
		_, err = w.read(id, reader)
		if got := fmt.Sprint(err); !strings.Contains(got, "invalid_grant") || strings.Contains(got, "interrupted") {
			t.Errorf("Refresh = %v, want a plain refusal", err)
		}
	})
}
