package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

func TestScheduleRenewsAheadOfTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		id := w.connect("p", time.Hour)
		begun := time.Now()
		if early := begun.Add(time.Hour).Sub(w.Due(id)); early < 12*time.Minute || early > 15*time.Minute {
			t.Errorf("due %v before the end, want 12 to 15 minutes", early)
		}
		for range 24 * 60 {
			time.Sleep(time.Minute)
			if token, ok := w.tokens.Token(id); !ok || token.ValidFor(time.Now()) < broker.DefaultValidity {
				t.Fatalf("after %v the token lives %v", time.Since(begun), token.ValidFor(time.Now()))
			}
		}
		if calls := w.provider.callCount(); calls < 24 || calls > 33 {
			t.Errorf("asked %d times in a day, want about 30", calls)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestShortLivesDoNotStorm(t *testing.T) {
	for _, life := range []time.Duration{time.Second, 2 * time.Second, 10 * time.Second, time.Minute, 119 * time.Second, 5 * time.Minute} {
		t.Run(life.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.provider.lifetime = life
				stop := w.start()
				w.connect("p", life)
				time.Sleep(20 * life)
				if calls := w.provider.callCount(); calls < 19 || calls > 60 {
					t.Errorf("asked %d times in 20 lifetimes, want at most three in each", calls)
				}
				if err := stop(); err != nil {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

func TestSlowProviderDoesNotHoldUpOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(c *refresher.Config) { c.Workers, c.PerProvider = 4, 2 })
		w.define("slow")
		for range 100 {
			w.connect("slow", time.Second)
		}
		quick := make([]broker.ID, 10)
		for i := range quick {
			provider := fmt.Sprintf("quick-%d", i)
			w.define(provider)
			quick[i] = w.connect(provider, time.Second)
		}
		time.Sleep(time.Minute)
		// Two of slow are asked first, and hang.
		w.provider.asked = func() {
			w.provider.mu.Lock()
			last := w.provider.calls[len(w.provider.calls)-1]
			w.provider.mu.Unlock()
			if last.provider == "slow" {
				time.Sleep(20 * time.Second)
			}
		}
		stop := w.start()
		time.Sleep(time.Second)
		for _, id := range quick {
			w.wantGeneration(id, 2)
		}
		w.wantCalls(2 + len(quick))
		time.Sleep(100 / 2 * 20 * time.Second)
		w.wantCalls(100 + len(quick))
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestScheduleBoundsItsWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, func(c *refresher.Config) { c.Workers, c.PerProvider = 3, 2 })
		for i := range 10 {
			provider := fmt.Sprintf("p%d", i)
			w.define(provider)
			for range 5 {
				w.connect(provider, time.Second)
			}
		}
		time.Sleep(time.Minute)
		w.provider.takes = 10 * time.Second
		stop := w.start()
		for step := range 17 {
			synctest.Wait()
			w.wantCalls(min(3*(step+1), 50))
			time.Sleep(10 * time.Second)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestStopWaitsForFlights(t *testing.T) {
	// begin starts a flight of a credential, by one of the ways there are.
	for name, begin := range map[string]func(w *world) broker.ID{
		"of the schedule": func(w *world) broker.ID {
			id := w.connect("p", 2*time.Second)
			time.Sleep(1500 * time.Millisecond)
			return id
		},
		"of a reader who left": func(w *world) broker.ID {
			id := w.connect("p", time.Hour)
			left, leave := context.WithCancel(context.Background())
			leave()
			_, err := w.Refresh(left, id, broker.Need{After: 1, Force: true})
			if !errors.Is(err, broker.ErrWaitEnded) {
				w.Errorf("Refresh = %v, want ErrWaitEnded", err)
			}
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.provider.takes = 20 * time.Second
				stop := w.start()
				id, other := begin(w), w.connect("p", time.Hour)
				synctest.Wait()
				w.wantCalls(1)
				ended := make(chan error, 1)
				go func() { ended <- stop() }()
				synctest.Wait()
				if _, err := w.read(other, broker.Need{After: 1, Force: true}); !errors.Is(err, broker.ErrShuttingDown) {
					t.Errorf("Refresh while stopping = %v, want ErrShuttingDown", err)
				}
				select {
				case err := <-ended:
					t.Fatalf("Run = %v while a flight is under way", err)
				default:
				}
				if err := <-ended; err != nil {
					t.Errorf("Run = %v", err)
				}
				w.wantGeneration(id, 2)
				w.wantGeneration(other, 1)
			})
		})
	}
}

func TestScheduleFollowsTheNewestSummary(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.connect("p", time.Hour)
		old := w.stored(id).Summary
		answer := w.provider.consent()
		answer.ExpiresAt = time.Now().Add(10 * time.Hour)
		w.change(id, func(c *broker.Credential) { c.Apply(answer, time.Now()) })
		want := w.Due(id)
		w.Schedule(old) // told late
		if got := w.Due(id); got != want {
			t.Errorf("Due = %v after an older summary, want %v", got, want)
		}
		w.change(id, func(c *broker.Credential) { c.IsActive = false })
		if got := w.Due(id); !got.IsZero() {
			t.Errorf("Due = %v of one that is switched off, want never", got)
		}
		w.tokens.Delete(id)
		w.Forget(id)
		w.Schedule(old)
		if got := w.Due(id); !got.IsZero() {
			t.Errorf("Due = %v of a deleted one, want never", got)
		}
	})
}

func TestNewChecksItsConfig(t *testing.T) {
	if _, err := refresher.New(refresher.Config{}); err == nil {
		t.Error("New of an empty Config succeeded")
	}
	w := newWorld(t)
	w.config.Workers = -1
	if _, err := refresher.New(w.config); err == nil {
		t.Error("New with -1 workers succeeded")
	}
}

// A caller's flight may land while the schedule is about to join it.
func TestScheduleDoesNotRepeatACallersFlight(t *testing.T) {
	for range 200 {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			id := w.expired()
			done := make(chan struct{})
			go func() {
				defer close(done)
				w.mustRead(id, reader)
			}()
			stop := w.start()
			<-done
			time.Sleep(time.Second)
			w.wantCalls(1)
			if err := stop(); err != nil {
				t.Errorf("Run = %v", err)
			}
		})
	}
}
