package refresher_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// An edge is one line of the diagram in the package comment.
type edge struct {
	from  broker.Status
	event string
}

// drawn reads the diagram whose arrows have that shaft.
func drawn(t *testing.T, shaft string) map[edge]broker.Status {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	edges := map[edge]broker.Status{}
	for _, line := range regexp.MustCompile(`(?m)^//\t(\w+) +`+shaft+`(\w+)`+shaft+`> +(\w+)$`).FindAllSubmatch(source, -1) {
		edges[edge{broker.Status(line[1]), string(line[2])}] = broker.Status(line[3])
	}
	return edges
}

// A happening is how an event of the diagram comes about.
type happening struct {
	event string
	make  func(w *world, id broker.ID)
}

func (w *world) force(id broker.ID) {
	c := w.stored(id)
	w.Refresh(w.Context(), id, broker.Need{After: c.Generation, Force: true})
}

// write is what an operator's PUT does.
func (w *world) write(id broker.ID, config map[string]any) {
	w.Helper()
	if _, err := w.broker().UpdateCredential(w.Context(), root, string(id), broker.CredentialPatch{Config: config}); err != nil {
		w.Errorf("UpdateCredential = %v", err)
	}
}

var happenings = map[string]happening{
	"a refresh that succeeds": {"token", func(w *world, id broker.ID) {
		answer := w.provider.consent()
		w.write(id, map[string]any{broker.KeyRefreshToken: answer.RefreshToken.Reveal()})
		w.force(id)
	}},
	"a token that is written": {"token", func(w *world, id broker.ID) {
		w.write(id, map[string]any{broker.KeyAccessToken: "written"})
	}},
	"a person who consents": {"token", func(w *world, id broker.ID) {
		w.change(id, func(c *broker.Credential) { c.Apply(w.provider.consent(), time.Now()) })
	}},
	"an outage": {"failed", func(w *world, id broker.ID) {
		w.provider.fail(outage(503, 0))
		w.force(id)
	}},
	"silence": {"failed", func(w *world, id broker.ID) {
		w.provider.fail(fault{hangs: true})
		w.force(id)
	}},
	"a refused client": {"failed", func(w *world, id broker.ID) {
		w.provider.fail(fault{err: refusal("invalid_client")})
		w.force(id)
	}},
	"no definition": {"failed", func(w *world, id broker.ID) {
		delete(w.definitions, "p")
		w.force(id)
	}},
	"a refused grant": {"refused", func(w *world, id broker.ID) {
		w.provider.fail(fault{err: refusal("invalid_grant")})
		w.force(id)
	}},
	"another client secret": {"client", func(w *world, id broker.ID) {
		w.write(id, map[string]any{broker.KeyClientSecret: "another"})
	}},
	"another refresh token": {"grant", func(w *world, id broker.ID) {
		w.write(id, map[string]any{broker.KeyRefreshToken: "another"})
	}},
	"another name": {"rename", func(w *world, id broker.ID) { w.write(id, nil) }},
	"a full disk": {"no space", func(w *world, id broker.ID) {
		w.store.setProbe(func(string) error { return fmt.Errorf("disk full") })
		w.force(id)
		w.store.setProbe(nil)
	}},
}

// TestStates takes every state through every event, and wants what the diagram
// says.
func TestStates(t *testing.T) {
	diagram := drawn(t, "--")
	met := map[edge]bool{}
	for _, from := range []broker.Status{broker.StatusPending, broker.StatusActive, broker.StatusDegraded, broker.StatusReauth} {
		for name, h := range happenings {
			for _, tokenless := range []bool{false, true} {
				if tokenless && from == broker.StatusActive || !tokenless && from == broker.StatusPending {
					continue // there is no such thing
				}
				want, ok := diagram[edge{from, h.event}]
				if !ok {
					want = from
				}
				met[edge{from, h.event}] = true
				if tokenless && want == broker.StatusActive && h.event != "token" {
					want = broker.StatusPending
				}
				t.Run(fmt.Sprintf("%s/%s/tokenless=%v", from, name, tokenless), func(t *testing.T) {
					inBubble(t, func(t *testing.T) { wantTransition(t, from, tokenless, h, want) })
				})
			}
		}
	}
	for e, to := range diagram {
		if !met[e] {
			t.Errorf("nothing makes %s become %s by %q", e.from, to, e.event)
		}
	}
	if len(diagram) != 11 {
		t.Errorf("the diagram has %d edges that could be read, want 11", len(diagram))
	}
}

// A showing is how a fact comes about that shows another state than the stored.
var showings = map[string]struct {
	fact string
	make func(w *world, id broker.ID)
}{
	"a full disk": {"hindered", func(w *world, id broker.ID) {
		w.store.setProbe(func(string) error { return fmt.Errorf("disk full") })
		w.force(id)
	}},
	"an open circuit, in the schedule": {"hindered", func(w *world, id broker.ID) {
		w.openCircuit()
		w.change(id, func(c *broker.Credential) {
			c.IssuedAt, c.ExpiresAt = time.Now().Add(-time.Hour), time.Now().Add(30*time.Second)
		})
		stop := w.start()
		time.Sleep(100 * time.Millisecond)
		if err := stop(); err != nil {
			w.Errorf("Run = %v", err)
		}
	}},
	"an open circuit, for a reader": {"hindered", func(w *world, id broker.ID) {
		w.openCircuit()
		w.read(id, broker.Need{After: 1})
	}},
	"a renewal that does not come": {"ended", func(w *world, id broker.ID) { time.Sleep(2 * time.Hour) }},
	"the last token": {"over", func(w *world, id broker.ID) {
		w.change(id, func(c *broker.Credential) {
			c.Config, c.Renewable = c.Config.With(broker.KeyRefreshToken, nil), false
		})
		time.Sleep(2 * time.Hour)
	}},
	"a switch": {"off", func(w *world, id broker.ID) { w.change(id, func(c *broker.Credential) { c.IsActive = false }) }},
}

// openCircuit has enough other credentials find the endpoint dead.
func (w *world) openCircuit() {
	w.Helper()
	w.provider.down(time.Now().Add(time.Hour), "p")
	for range 5 {
		w.readError(w.expired())
	}
	if len(w.Outages()) != 1 {
		w.Fatalf("Outages = %v, want that of p", w.Outages())
	}
}

// TestShownStates has every state meet every fact that shows another one, and
// wants the stored one untouched.
func TestShownStates(t *testing.T) {
	diagram := drawn(t, "~~")
	met := map[edge]bool{}
	for _, from := range []broker.Status{broker.StatusPending, broker.StatusActive, broker.StatusDegraded, broker.StatusReauth} {
		for name, s := range showings {
			if from == broker.StatusPending && (s.fact == "ended" || s.fact == "over") {
				continue // there is nothing that could end
			}
			want, ok := diagram[edge{from, s.fact}]
			if !ok {
				want = from
			}
			met[edge{from, s.fact}] = true
			t.Run(fmt.Sprintf("%s/%s", from, name), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := newWorld(t)
					id := w.inState(from, from == broker.StatusPending)
					s.make(w, id)
					view, err := w.broker().Credential(t.Context(), root, string(id))
					if err != nil || view.Status != want || want == broker.StatusDegraded && view.Credential.StatusReason == "" {
						t.Errorf("%s is shown as %s, %q (%v), want %s with a reason", from, view.Status, view.Credential.StatusReason, err, want)
					}
					listed, _, err := w.broker().Credentials(t.Context(), root, broker.Filter{Status: want})
					if err != nil || !slices.ContainsFunc(listed, func(v broker.View) bool { return v.Credential.ID == id }) {
						t.Errorf("it is not among those listed as %s: %v, %v", want, listed, err)
					}
					if stored := w.stored(id).Status; stored != from {
						t.Errorf("%s is stored, want %s as before", stored, from)
					}
				})
			})
		}
	}
	for e, to := range diagram {
		if !met[e] {
			t.Errorf("nothing makes %s be shown as %s by %q", e.from, to, e.event)
		}
	}
	if len(diagram) != 9 {
		t.Errorf("the diagram has %d showings that could be read, want 9", len(diagram))
	}
}

func wantTransition(t *testing.T, from broker.Status, tokenless bool, h happening, want broker.Status) {
	w := newWorld(t)
	id := w.inState(from, tokenless)
	h.make(w, id)
	c := w.stored(id)
	if c.Status != want {
		t.Errorf("%s becomes %s, want %s", from, c.Status, want)
	}
	if s, _ := w.tokens.Get(id); s.Status != c.Status {
		t.Errorf("published is %s, stored %s", s.Status, c.Status)
	}
	if well := c.Status == broker.StatusActive || c.Status == broker.StatusPending; well != (c.StatusReason == "") {
		t.Errorf("%s has the reason %q", c.Status, c.StatusReason)
	}
	if c.Status == broker.StatusDegraded && c.RetryAt.IsZero() {
		t.Error("degraded, and no other attempt is planned")
	}
	w.provider.reused = nil
}

// inState makes a credential that is in a state, with a token or without one.
func (w *world) inState(from broker.Status, tokenless bool) broker.ID {
	w.Helper()
	id := w.connect("p", time.Hour)
	w.change(id, func(c *broker.Credential) {
		c.Status = from
		if tokenless {
			c.Config = c.Config.With(broker.KeyAccessToken, nil).With(broker.KeyExpiresAt, nil)
			c.ExpiresAt = time.Time{}
		}
		switch from {
		case broker.StatusDegraded:
			c.StatusReason, c.RetryAt = "it failed before", time.Now().Add(time.Minute)
		case broker.StatusReauth:
			c.StatusReason = "it was refused before"
		}
	})
	return id
}
