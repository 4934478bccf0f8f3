package refresher_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

// TestTokenHostMoves: a credential remembers the hosts that its first refresh
// went to. Where the definition names another, the provider is not asked, the
// token is served while it lives, and the refresh goes on once that is accepted.
func TestTokenHostMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		at := func(host string) broker.Definition {
			return broker.Definition{ID: "p", AuthorizationURL: "https://p.example/a", TokenURL: "https://" + host + "/token"}
		}
		w.definitions["p"] = at("p.example")
		id := w.expired()
		if origins := w.stored(id).Origins; origins != "" {
			t.Fatalf("origins = %q before any refresh, want none", origins)
		}
		w.mustRead(id, broker.Need{})
		w.wantCalls(1)
		if origins := w.stored(id).Origins; origins != "https://p.example" {
			t.Errorf("origins = %q after a refresh, want https://p.example", origins)
		}

		w.definitions["p"] = at("evil.example")
		generation := w.stored(id).Generation
		_, err := w.read(id, broker.Need{After: generation, Force: true})
		wantRetry(t, err, broker.ErrNotConfigured)
		w.wantCalls(1)
		c := w.stored(id)
		if c.Status != broker.StatusDegraded || !strings.Contains(c.StatusReason, "https://evil.example") || c.Intent != nil {
			t.Errorf("status = %s (%s), intent %v, want degraded, the host named and nothing in doubt", c.Status, c.StatusReason, c.Intent)
		}
		if token, ok := w.tokens.Token(id); !ok || token.ValidFor(time.Now()) == 0 {
			t.Error("the living token is not served any more")
		}

		if _, err := w.broker().AcceptProvider(t.Context(), root, "p", nil); err != nil {
			t.Fatalf("AcceptProvider: %v", err)
		}
		w.mustRead(id, broker.Need{After: generation})
		w.wantCalls(2)
		if c := w.stored(id); c.Status != broker.StatusActive {
			t.Errorf("status = %s (%s) once it was accepted, want active", c.Status, c.StatusReason)
		}
		w.wantOutcomes(refresher.OutcomeSuccess, refresher.OutcomeConfiguration, refresher.OutcomeSuccess)
	})
}
