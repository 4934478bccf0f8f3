package broker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/invectd/invectd/broker"
)

func (p *provider) StartDevice(context.Context, broker.Connection, []string) (broker.DeviceAuthorization, error) {
	return broker.DeviceAuthorization{
		DeviceCode: broker.NewSecret("dc"), UserCode: "ABCD", VerificationURI: "https://acme.example/activate",
		ExpiresAt: time.Now().Add(time.Minute), Interval: 5 * time.Second,
	}, p.err
}

// TestUnconnectedIsRemoved: what a device flow was to fill and did not is removed
// after ten minutes, a restart in between or not; what was there before, and what
// got tokens, stays.
func TestUnconnectedIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, store := newBroker(t, &provider{})
		definition := b.Definitions.(definitions)["acme"]
		definition.DeviceAuthorizationURL = "https://acme.example/device"
		b.Definitions.(definitions)["acme"] = definition
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			return func() {
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Run = %v", err)
				}
			}
		}
		stop := run()
		begin := func(existing string) broker.StartedDevice {
			started, err := b.StartDevice(t.Context(), self, broker.StartRequest{ProviderID: "acme", ClientID: "c", ExistingCredentialID: existing})
			if err != nil {
				t.Fatalf("StartDevice = %v", err)
			}
			return started
		}
		end := func(id broker.ID, status broker.DeviceStatus) {
			c, err := store.Update(t.Context(), id, func(c *broker.Credential) error {
				d, _ := c.DeviceFlow()
				if status == broker.DeviceComplete {
					c.Apply(broker.TokenResponse{AccessToken: broker.NewSecret("at")}, time.Now())
					return nil
				}
				d.Status, d.ExpiresAt = status, time.Now()
				c.Status, c.StatusReason, c.RetryAt = broker.StatusReauth, "it ended", time.Time{}
				c.SetDeviceFlow(d)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			b.Tokens.Put(c)
		}
		there, err := b.CreateCredential(t.Context(), self, broker.NewCredential{Name: "there", AuthType: broker.AuthOAuth2, Provider: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		denied, complete, again, pending := begin(""), begin(""), begin(""), begin("")
		begin(string(there.ID))
		end(denied.CredentialID, broker.DeviceDenied)
		end(complete.CredentialID, broker.DeviceComplete)
		end(again.CredentialID, broker.DeviceExpired)
		end(there.ID, broker.DeviceDenied)
		begin(string(again.CredentialID)) // a second try on what the first one left
		end(again.CredentialID, broker.DeviceExpired)

		time.Sleep(9 * time.Minute)
		if status, id, err := b.DeviceFlow(t.Context(), self, denied.DeviceFlowID); err != nil || status != broker.DeviceDenied || id != denied.CredentialID {
			t.Errorf("DeviceFlow = %v, %v, %v, want denied", status, id, err)
		}
		stop()
		stop = run() // what it knew is gone
		time.Sleep(2 * time.Minute)
		for name, want := range map[string]struct {
			id    broker.ID
			there bool
		}{
			"denied": {denied.CredentialID, false}, "expired twice": {again.CredentialID, false}, "complete": {complete.CredentialID, true},
			"pending": {pending.CredentialID, true}, "there before": {there.ID, true},
		} {
			_, err := store.Get(t.Context(), want.id)
			if _, known := b.Tokens.Get(want.id); known != want.there || (err == nil) != want.there {
				t.Errorf("%s: known %v, Get = %v, want that it is there: %v", name, known, err, want.there)
			}
		}
		if _, _, err := b.DeviceFlow(t.Context(), self, denied.DeviceFlowID); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("DeviceFlow of one that is removed = %v, want ErrNotFound", err)
		}
		stranger := broker.Caller{UID: 4711, Attested: true}
		if _, _, err := b.DeviceFlow(t.Context(), stranger, pending.DeviceFlowID); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("DeviceFlow for a stranger = %v, want ErrNotFound", err)
		}
		if _, err := b.StartDevice(t.Context(), stranger, broker.StartRequest{ProviderID: "acme"}); !errors.Is(err, broker.ErrForbidden) {
			t.Errorf("StartDevice for a stranger = %v, want ErrForbidden", err)
		}
		stop()
	})
}
