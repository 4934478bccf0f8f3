package refresher_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// TestCrowdAfterAStart starts with very many tokens that ended long ago. Those
// that still live come first, those who are read at once, and the others spread
// out.
func TestCrowdAfterAStart(t *testing.T) {
	count := 100_000
	if testing.Short() {
		count = 5000
	}
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.provider.takes, w.provider.lifetime = 100*time.Millisecond, 24*time.Hour
		for i := range 10 {
			w.define(fmt.Sprint("p", i))
		}
		ids := make([]broker.ID, count)
		for i := range ids {
			ids[i] = w.connect(fmt.Sprint("p", i%10), time.Hour)
		}
		living := make([]broker.ID, 100)
		for i := range living {
			living[i] = w.connect("p", time.Hour+time.Minute)
		}
		time.Sleep(time.Hour)
		w.restart()
		begun := time.Now()
		stop := w.start()
		over := time.Duration(count/50) * time.Second

		time.Sleep(5 * time.Second)
		for _, id := range living {
			w.wantGeneration(id, 2)
		}
		var readers sync.WaitGroup
		for range 300 { // more than there are workers, and more than a provider has
			readers.Go(func() {
				id := ids[rand.IntN(len(ids))]
				asked := time.Now()
				w.mustRead(id, reader)
				if waited := time.Since(asked); waited > 200*time.Millisecond {
					t.Errorf("a reader waited %v for a refresh of 100ms", waited)
				}
			})
		}
		readers.Wait()

		time.Sleep(over + time.Minute)
		for _, id := range ids {
			if got := w.stored(id).Generation; got != 2 {
				t.Fatalf("generation of %s = %d after %v, want 2", id, got, time.Since(begun))
			}
		}
		w.wantCalls(count + len(living))
		halves := [2]int{}
		w.provider.mu.Lock()
		for _, c := range w.provider.calls {
			halves[min(1, int(2*c.at.Sub(begun)/over))]++
		}
		w.provider.mu.Unlock()
		if share := float64(halves[0]) / float64(count); share < 0.45 || share > 0.6 {
			t.Errorf("in the two halves of %v the providers were asked %v times, want about as often", over, halves)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestLazy reads a lazy credential once in a while: nothing else renews it, but
// what would die of disuse.
func TestLazy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		lazy, eager := w.connect("p", time.Hour), w.connect("p", time.Hour)
		patch := func(id broker.ID, when any) error {
			_, err := w.broker().UpdateCredential(t.Context(), root, string(id), broker.CredentialPatch{Metadata: map[string]any{"refresh": when}})
			return err
		}
		if err := patch(lazy, "lazy"); err != nil {
			t.Fatal(err)
		}
		if due := w.Due(lazy); !due.IsZero() {
			t.Errorf("Due = %v of a lazy one, want never", due)
		}
		time.Sleep(3 * time.Hour)
		w.wantGeneration(lazy, 1)
		if c := w.stored(eager); c.Generation < 3 {
			t.Errorf("generation of an eager one = %d, want 3 at least", c.Generation)
		}
		w.mustRead(lazy, reader)
		w.wantGeneration(lazy, 2)

		d := w.definitions["p"]
		d.Refresh.IdleLifetime = broker.Duration(20 * time.Hour)
		w.definitions["p"] = d
		if err := patch(lazy, "lazy"); err != nil { // and so the schedule looks again
			t.Fatal(err)
		}
		time.Sleep(20 * time.Hour)
		w.wantGeneration(lazy, 3)

		if err := patch(lazy, "eager"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if c := w.stored(lazy); c.Generation < 5 || c.Lazy {
			t.Errorf("made eager: generation %d, lazy %v, want 5 at least", c.Generation, c.Lazy)
		}
		if err := patch(lazy, "sometimes"); err != nil || w.stored(lazy).Lazy {
			t.Errorf(`metadata.refresh "sometimes" = %v, lazy %v, want that it is taken and means nothing`, err, w.stored(lazy).Lazy)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
