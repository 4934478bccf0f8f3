package broker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/invectd/invectd/broker"
)

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := broker.NewEvents()
		begin := events.Last()
		got := make(chan []broker.Event, 1)
		go func() {
			list, err := events.After(t.Context(), begin)
			if err != nil {
				t.Errorf("After: %v", err)
			}
			got <- list
		}()
		synctest.Wait() // it waits for the first event
		events.Publish(broker.Event{Type: broker.EventCreated, CredentialID: "a"})
		list := <-got
		if len(list) != 1 || list[0].CredentialID != "a" || list[0].ID != begin+1 || list[0].At.IsZero() {
			t.Errorf("After = %+v, want the one that was published", list)
		}
		for range 3000 {
			events.Publish(broker.Event{Type: broker.EventUpdated})
		}
		list, err := events.After(t.Context(), begin)
		if err != nil || len(list) < 512 || list[len(list)-1].ID != begin+3001 {
			t.Errorf("a slow listener gets %d events up to %d, %v; want the newest ones", len(list), list[len(list)-1].ID-begin, err)
		}
		for i := 1; i < len(list); i++ {
			if list[i].ID != list[i-1].ID+1 {
				t.Fatalf("ids %d and %d follow each other", list[i-1].ID, list[i].ID)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := events.After(ctx, events.Last()); !errors.Is(err, context.Canceled) {
			t.Errorf("After with a cancelled context = %v", err)
		}
	})
}
