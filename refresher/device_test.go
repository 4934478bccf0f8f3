package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

// pollEvery is the interval of the scripted provider.
const pollEvery = 5 * time.Second

func awaitDevice(c *broker.Credential, life time.Duration) {
	now := time.Now().UTC()
	c.RetryAt = now.Add(pollEvery)
	c.SetDeviceFlow(broker.DeviceFlow{
		ID: "flow", Status: broker.DevicePending, Code: broker.NewSecret("code"), Interval: pollEvery, ExpiresAt: now.Add(life),
	})
}

func (p *provider) StartDevice(context.Context, broker.Connection, []string) (broker.DeviceAuthorization, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := fmt.Sprintf("code-%d", len(p.devices)+1)
	if p.devices == nil {
		p.devices = map[string]bool{}
	}
	p.devices[code] = false
	return broker.DeviceAuthorization{
		DeviceCode: broker.NewSecret(code), UserCode: "ABCD", VerificationURI: "https://p.example/activate",
		ExpiresAt: time.Now().UTC().Add(10 * time.Minute), Interval: pollEvery,
	}, nil
}

// agree is a person who consents.
func (p *provider) agree() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for code := range p.devices {
		p.devices[code] = true
	}
}

func (p *provider) PollDevice(ctx context.Context, k broker.Connection, code broker.Secret) (broker.TokenResponse, error) {
	f, err := p.begin(ctx, call{at: time.Now(), provider: k.Definition.ID})
	if err != nil {
		return broker.TokenResponse{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.err != nil && !f.lost {
		return broker.TokenResponse{}, f.err
	}
	consented, known := p.devices[code.Reveal()]
	switch {
	case !known:
		return broker.TokenResponse{}, refusal("invalid_grant")
	case !consented:
		return broker.TokenResponse{}, refusal("authorization_pending")
	}
	delete(p.devices, code.Reveal())
	answer := p.issue(new(bool))
	if f.lost {
		return broker.TokenResponse{}, f.err
	}
	return answer, nil
}

// device begins a device grant and returns its flow and its credential.
func (w *world) device() (flow string, id broker.ID) {
	w.Helper()
	started, err := w.broker().StartDevice(w.Context(), root, broker.StartRequest{ProviderID: "p"})
	if err != nil {
		w.Fatalf("StartDevice = %v", err)
	}
	return started.DeviceFlowID, started.CredentialID
}

func (w *world) wantFlow(flow string, want broker.DeviceStatus) {
	w.Helper()
	if got, _, err := w.broker().DeviceFlow(w.Context(), root, flow); err != nil || got != want {
		w.Errorf("DeviceFlow = %v, %v, want %v", got, err, want)
	}
}

// gaps returns how long the polls were apart, in seconds.
func (w *world) gaps() (out []int) {
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	for i := 1; i < len(w.provider.calls); i++ {
		out = append(out, int(w.provider.calls[i].at.Sub(w.provider.calls[i-1].at).Seconds()))
	}
	return out
}

func (w *world) wantPending(id broker.ID) {
	w.Helper()
	before := w.provider.callCount()
	if _, err := w.read(id, reader); !errors.Is(err, broker.ErrAuthorizationPending) {
		w.Errorf("reading = %v, want that it is pending", err)
	}
	if _, err := w.read(id, broker.Need{Force: true}); !errors.Is(err, broker.ErrAuthorizationPending) {
		w.Errorf("forcing = %v, want that it is pending", err)
	}
	w.wantCalls(before)
	if c := w.stored(id); c.Status != broker.StatusPending || c.StatusReason != "" {
		w.Errorf("it is %s (%s), want pending", c.Status, c.StatusReason)
	}
}

func TestDeviceConsent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		flow, id := w.device()
		time.Sleep(time.Second)
		for range 4 {
			time.Sleep(pollEvery)
			w.wantPending(id)
			w.wantFlow(flow, broker.DevicePending)
		}
		w.provider.fail(fault{err: refusal("slow_down")})
		w.provider.agree()
		time.Sleep(pollEvery)
		w.wantPending(id) // told to slow down
		time.Sleep(2 * pollEvery)
		w.wantFlow(flow, broker.DeviceComplete)
		w.wantGeneration(id, 1)
		if gaps := fmt.Sprint(w.gaps()); gaps != "[5 5 5 5 10]" {
			t.Errorf("the polls are %s seconds apart, want [5 5 5 5 10]", gaps)
		}
		w.mustRead(id, reader)
		if c := w.stored(id); c.Status != broker.StatusActive || !c.RetryAt.IsZero() || strings.Contains(fmt.Sprint(c.Config.Reveal()), "code-1") {
			t.Errorf("it is %s, next at %v, %v, want an active one without a code", c.Status, c.RetryAt, c.Config.Masked())
		}
		time.Sleep(time.Hour)
		w.wantGeneration(id, 2) // by its refresh token
		if _, _, err := w.broker().DeviceFlow(w.Context(), root, flow); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("DeviceFlow of long ago = %v, want ErrNotFound", err)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestDeviceEnds has flows end in every way, and wants what is told of it.
func TestDeviceEnds(t *testing.T) {
	gone := &broker.ProviderError{Op: "poll_device", Provider: "p", Host: "p.example", Sent: broker.SentUnknown, Err: errors.New("the connection broke")}
	for name, test := range map[string]struct {
		faults []fault
		agrees bool
		after  time.Duration
		want   broker.DeviceStatus
		reason string
	}{
		"no":                  {[]fault{{err: refusal("access_denied")}}, false, pollEvery, broker.DeviceDenied, "said no"},
		"the provider's time": {[]fault{{err: refusal("expired_token")}}, false, pollEvery, broker.DeviceExpired, "nobody consented in time"},
		"our time":            {nil, false, 10*time.Minute + pollEvery, broker.DeviceExpired, "nobody consented in time"},
		"an unknown code":     {[]fault{{err: refusal("invalid_grant")}}, false, pollEvery, broker.DeviceExpired, "knows the code no more"},
		"a refused client":    {[]fault{{err: refusal("invalid_client")}}, false, pollEvery, broker.DeviceDenied, "invalid_client"},
		"no such grant":       {[]fault{{err: refusal("unsupported_grant_type")}}, false, pollEvery, broker.DeviceDenied, "unsupported_grant_type"},
		"a lost answer":       {[]fault{{err: gone, lost: true}}, true, 4 * pollEvery, broker.DeviceExpired, "an answer of the provider was lost"},
		"a lost end":          {[]fault{{err: gone}, {err: refusal("expired_token")}}, false, 4 * pollEvery, broker.DeviceExpired, "an answer of the provider was lost"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				w.provider.fail(test.faults...)
				flow, id := w.device()
				if test.agrees {
					w.provider.agree()
				}
				time.Sleep(test.after + time.Second)
				w.wantFlow(flow, test.want)
				c := w.stored(id)
				if c.Status != broker.StatusReauth || !strings.Contains(c.StatusReason, test.reason) || c.Renewable || c.Intent != nil {
					t.Errorf("it is %s (%s), renewable %v, intent %v, want reauth_required since %q", c.Status, c.StatusReason, c.Renewable, c.Intent, test.reason)
				}
				if _, err := w.read(id, reader); !errors.Is(err, broker.ErrReauthorize) {
					t.Errorf("reading = %v, want ErrReauthorize", err)
				}
				polls := w.provider.callCount()
				time.Sleep(time.Hour)
				w.wantCalls(polls)
				if err := stop(); err != nil {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

// TestDeviceOutage: polls that fail come less and less often, and a consent is
// found all the same, as soon as the provider is back.
func TestDeviceOutage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		w.provider.fail(fault{hangs: true}, outage(503, 0), outage(503, 0), outage(429, time.Minute))
		flow, id := w.device()
		w.provider.agree()
		time.Sleep(40 * time.Second)
		w.wantPending(id)
		time.Sleep(4 * time.Minute)
		w.wantFlow(flow, broker.DeviceComplete)
		w.wantGeneration(id, 1)
		if gaps := fmt.Sprint(w.gaps()); gaps != "[40 15 25 60]" { // the first one hung for 30 seconds
			t.Errorf("the polls are %s seconds apart, want [40 15 25 60]", gaps)
		}
		w.wantOutcomes(refresher.OutcomeTransient, refresher.OutcomeTransient, refresher.OutcomeTransient, refresher.OutcomeTransient, refresher.OutcomeSuccess)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestDeviceRestart: polling goes on after a crash, at once where a poll was under
// way, and one that brought the tokens and was never stored is told of honestly.
func TestDeviceRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		flow, id := w.device()
		w.restart()
		stop := w.start()
		time.Sleep(2*pollEvery + time.Second)
		w.wantPending(id)
		w.wantFlow(flow, broker.DevicePending)
		stop()
		w.provider.agree()
		w.restart()
		stop = w.start()
		time.Sleep(pollEvery + time.Second)
		w.wantFlow(flow, broker.DeviceComplete)
		w.wantGeneration(id, 1)

		flow, id = w.device()
		w.change(id, func(c *broker.Credential) { c.Intent = &broker.Intent{At: time.Now()} }) // as a crash leaves it
		w.provider.mu.Lock()
		clear(w.provider.devices) // the answer was on its way
		w.provider.mu.Unlock()
		stop()
		w.restart()
		stop = w.start()
		time.Sleep(time.Second)
		w.wantFlow(flow, broker.DeviceExpired)
		if c := w.stored(id); !strings.Contains(c.StatusReason, "an answer of the provider was lost") {
			t.Errorf("the reason is %q, want that an answer was lost", c.StatusReason)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestDeviceReconnects: a credential that a person has to see to gets its tokens
// by a device grant, and what was refused is not asked for again.
func TestDeviceReconnects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.expired()
		w.provider.revokeAll()
		if _, err := w.read(id, reader); !errors.Is(err, broker.ErrReauthorize) {
			t.Fatalf("reading = %v, want ErrReauthorize", err)
		}
		stop := w.start()
		again := broker.StartRequest{ExistingCredentialID: string(id)}
		started, err := w.broker().StartDevice(w.Context(), root, again)
		if err != nil || started.CredentialID != id {
			t.Fatalf("StartDevice = %v, %v", started.CredentialID, err)
		}
		w.wantPending(id)
		w.provider.agree()
		time.Sleep(pollEvery + time.Second)
		w.wantFlow(started.DeviceFlowID, broker.DeviceComplete)
		w.mustRead(id, reader)
		if _, err := w.broker().StartDevice(w.Context(), root, again); !errors.Is(err, broker.ErrConflict) {
			t.Errorf("StartDevice of one that works = %v, want ErrConflict", err)
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestDeviceSwitchedOff: an operator who switches a pending credential off has it
// polled no more, and one who writes tokens into it needs nobody's consent.
func TestDeviceSwitchedOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		_, off := w.device()
		_, written := w.device()
		for id, patch := range map[broker.ID]broker.CredentialPatch{
			off:     {IsActive: new(false)},
			written: {Config: map[string]any{broker.KeyRefreshToken: w.provider.consent().RefreshToken.Reveal()}},
		} {
			if _, err := w.broker().UpdateCredential(w.Context(), root, string(id), patch); err != nil {
				t.Fatalf("UpdateCredential = %v", err)
			}
		}
		time.Sleep(time.Minute)
		w.wantCalls(1) // the refresh
		w.wantGeneration(written, 1)
		w.wantGeneration(off, 0)
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
