package refresher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// TestDeadEndpointIsProbed has ten thousand credentials become due while their
// endpoint is down, and another provider's beside them.
func TestDeadEndpointIsProbed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.define("other")
		w.provider.takes = 100 * time.Millisecond
		count := 10_000
		if testing.Short() {
			count = 1000
		}
		ids := make([]broker.ID, count)
		for i := range ids {
			ids[i] = w.connect("p", 10*time.Minute)
		}
		other := w.connect("other", 10*time.Minute)
		begun := time.Now()
		back := begun.Add(40 * time.Minute)
		w.provider.down(back, "p")
		stop := w.start()

		time.Sleep(20 * time.Minute)
		w.wantGeneration(other, 2)
		err := w.readError(ids[7])
		if after := wantRetry(t, err, nil); after < time.Second || after > time.Minute {
			t.Errorf("retry after %v, want when the next probe is due", after)
		}
		calls := w.provider.callCount()
		w.mustRead(other, reader)
		for _, id := range ids {
			w.readError(id)
		}
		if more := w.provider.callCount() - calls; more > 1 {
			t.Errorf("%d readers made %d requests, want one probe at most", count, more)
		}
		outages := w.Outages()
		if len(outages) != 1 || outages[0].Host != "p" || outages[0].Failure == "" || outages[0].Since.Sub(begun) > 10*time.Minute {
			t.Errorf("Outages = %+v, want one of p since before the tokens ended", outages)
		} else if waits := outages[0].Waiting["p"]; waits < count-10 {
			t.Errorf("%d wait for it, want nearly all of %d", waits, count)
		}
		if degraded := w.tokens.CountByStatus(time.Now())[broker.StatusDegraded]; degraded != count {
			t.Errorf("%d are shown as degraded, want all of %d", degraded, count)
		}
		revisions := 0
		for _, id := range ids {
			revisions += int(w.stored(id).Revision) - 1
		}
		if revisions > 200 {
			t.Errorf("%d writes for %d credentials that wait, want a handful for each probe", revisions, count)
		}
		written := w.stored(ids[7]).Revision
		time.Sleep(time.Until(back))
		if now := w.stored(ids[7]).Revision; now > written+2 {
			t.Errorf("waiting wrote a credential %d times", now-written)
		}
		if calls := w.callsPerMinute("p", begun.Add(10*time.Minute), back); calls > 6 {
			t.Errorf("a dead endpoint was asked %.1f times a minute, want a handful", calls)
		} else {
			t.Logf("%d credentials asked a dead endpoint %.1f times a minute", count, calls)
		}

		time.Sleep(6 * time.Minute)
		late := 0
		for _, id := range ids {
			if w.stored(id).Generation < 2 {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d of %d are not renewed six minutes after the endpoint is back", late, count)
		}
		w.provider.mu.Lock()
		perSecond, peak, last := map[int]int{}, 0, time.Duration(0)
		for _, c := range w.provider.calls {
			if c.provider == "p" && c.at.After(back) {
				perSecond[int(c.at.Sub(back)/time.Second)]++
			}
			if len(perSecond) > 0 && c.provider == "p" {
				last = c.at.Sub(back)
			}
		}
		w.provider.mu.Unlock()
		for _, n := range perSecond {
			peak = max(peak, n)
		}
		if peak > 8*10 {
			t.Errorf("%d requests in one second, want no more than eight at once", peak)
		}
		if outages := w.Outages(); len(outages) != 0 {
			t.Errorf("Outages = %+v once it is back, want none", outages)
		}
		for _, line := range []string{"a token endpoint fails for every credential", "a token endpoint works again"} {
			if n := strings.Count(w.log.String(), line); n != 1 {
				t.Errorf("the log says %q %d times, want once", line, n)
			}
		}
		t.Logf("all were renewed within %v, at most %d in a second", last.Round(time.Second), peak)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// readError asks as a reader does who gets nothing.
func (w *world) readError(id broker.ID) error {
	w.Helper()
	token, err := w.Refresh(context.Background(), id, reader)
	if err == nil {
		w.Errorf("Refresh = generation %d, want an error", token.Generation)
	}
	return err
}

func (w *world) callsPerMinute(provider string, from, to time.Time) float64 {
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	n := 0
	for _, c := range w.provider.calls {
		if c.provider == provider && !c.at.Before(from) && c.at.Before(to) {
			n++
		}
	}
	return float64(n) / to.Sub(from).Minutes()
}

// A reader who comes first after the endpoint is back is the probe, and gets a
// token; so does the operator who forces one.
func TestReaderProbes(t *testing.T) {
	for _, need := range []broker.Need{reader, {After: 1, Force: true}} {
		t.Run(fmt.Sprintf("force=%v", need.Force), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				ids := make([]broker.ID, 10)
				for i := range ids {
					ids[i] = w.connect("p", time.Second)
				}
				time.Sleep(time.Second)
				w.provider.down(time.Now().Add(time.Minute), "p")
				var after time.Duration
				for _, id := range ids {
					_, err := w.read(id, need)
					after = wantRetry(t, err, nil)
				}
				if need.Force {
					w.wantCalls(10) // an operator's word is a probe
				} else {
					w.wantCalls(5)
				}
				for range 20 {
					if !need.Force {
						time.Sleep(after)
					} else if time.Sleep(time.Minute); after == 0 {
						t.Error("retry at once")
					}
					token, err := w.read(ids[9], need)
					if err == nil {
						if token.Generation != 2 {
							t.Errorf("generation = %d, want 2", token.Generation)
						}
						w.mustRead(ids[8], need) // closed
						return
					}
					after = wantRetry(t, err, nil)
				}
				t.Error("no reader became a probe that succeeded")
			})
		})
	}
}

// TestUselessProbe: an answer that nobody can make anything of is no reason for
// thousands to probe one right after the other.
func TestUselessProbe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes = 100 * time.Millisecond
		for range 200 {
			w.connect("p", 10*time.Minute)
		}
		w.provider.down(time.Now().Add(time.Hour), "p")
		stop := w.start()
		time.Sleep(10 * time.Minute)
		for range 1000 { // a firewall says no, to everybody
			w.provider.fail(fault{err: &broker.ProviderError{Op: "refresh", Provider: "p", Host: "p.example", Sent: broker.SentAnswered, Status: 403}})
		}
		w.provider.down(time.Now(), "p")
		before := w.provider.callCount()
		time.Sleep(10 * time.Minute)
		if calls := w.provider.callCount() - before; calls > 60 {
			t.Errorf("%d requests in ten minutes of useless answers, want a probe now and then", calls)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
