package refresher_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// A simDevice is a device grant at the server. It is guarded by simulation.mu.
type simDevice struct {
	name     string    // of its tokens
	ends     time.Time // the code
	decision string    // "" until a person has decided: "yes" or "no"
	issued   []string  // access tokens: one, unless nobody got it
	polls    []*simUse
	last     time.Time     // poll
	interval time.Duration // that the last answer asked for
}

const (
	simDeviceLife     = 10 * time.Minute
	simDeviceInterval = 5 * time.Second
)

// device is a person at a machine without a browser, who may decide on another
// one or not.
func (s *simulation) device() {
	decision, after := []string{"yes", "yes", "no", ""}[s.random.IntN(4)], time.Duration(s.random.IntN(300))*time.Second
	crash := s.random.IntN(3) == 0
	point := crashPoints[s.random.IntN(len(crashPoints))]
	fault := simFaults[s.random.IntN(len(simFaults))]
	started, err := s.broker.StartDevice(context.Background(), root, broker.StartRequest{ProviderID: "strict"})
	if err != nil {
		return // the disk is full, or the process died
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.server.devices[started.DeviceCode.Reveal()]
	s.flows[started.DeviceFlowID] = d
	s.server.script[broker.ID(d.name)] = []simFault{"", "", fault}
	time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		d.decision = decision
	})
	if crash {
		s.crashAt = crashPoint{point, started.CredentialID}
	}
}

func (c simClient) StartDevice(context.Context, broker.Connection, []string) (broker.DeviceAuthorization, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	a := c.s.server
	d := &simDevice{name: fmt.Sprint("device-", len(a.devices)+1), ends: time.Now().Add(simDeviceLife), interval: simDeviceInterval}
	a.devices["code-"+d.name] = d
	return broker.DeviceAuthorization{
		DeviceCode: broker.NewSecret("code-" + d.name), UserCode: "ABCD", VerificationURI: "https://p.example/",
		ExpiresAt: d.ends.UTC(), Interval: d.interval,
	}, nil
}

// beginPoll checks that a poll may be made: not while another one is under way,
// not by a process that has the tokens, and not too early.
func (s *simulation) beginPoll(by *process, provider string, d *simDevice) (*simUse, simFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := false
	for _, earlier := range d.polls {
		switch {
		case !earlier.ended && earlier.by.alive():
			s.violate("%s is polled twice at once", d.name)
		case earlier.open():
			s.violate("%s is polled, though the process has its tokens", d.name)
		}
		same = earlier.by == by
	}
	if early := d.interval - time.Since(d.last); same && early > time.Second {
		s.violate("%s is polled %v too early", d.name, early)
	}
	for _, access := range d.issued {
		if s.durable[access] {
			s.violate("%s is polled, though its token is stored", d.name)
		}
	}
	d.last, d.interval = time.Now(), simDeviceInterval
	use := &simUse{by: by}
	d.polls = append(d.polls, use)
	return use, s.server.take(provider, broker.ID(d.name))
}

// poll is what a poll does at the server (RFC 8628, section 3.5). s.mu is held.
func (a *simServer) poll(d *simDevice) (broker.TokenResponse, error) {
	switch {
	case len(d.issued) > 0:
		return broker.TokenResponse{}, refusal("invalid_grant")
	case !time.Now().Before(d.ends):
		return broker.TokenResponse{}, refusal("expired_token")
	case d.decision == "no":
		return broker.TokenResponse{}, refusal("access_denied")
	case d.decision == "":
		return broker.TokenResponse{}, refusal("authorization_pending")
	}
	answer := a.issue(broker.ID(d.name), &simFamily{})
	d.issued = append(d.issued, answer.AccessToken.Reveal())
	return answer, nil
}

// PollDevice plays a poll with the faults of a refresh.
func (c simClient) PollDevice(ctx context.Context, k broker.Connection, code broker.Secret) (broker.TokenResponse, error) {
	s := c.s
	if !c.by.alive() {
		return broker.TokenResponse{}, errCrashed
	}
	s.mu.Lock()
	d := s.server.devices[code.Reveal()]
	s.mu.Unlock()
	use, fault := s.beginPoll(c.by, k.Definition.ID, d)
	defer s.end(use)
	lost := func(timeout bool) (broker.TokenResponse, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		use.lost = true
		return broker.TokenResponse{}, silence(timeout)
	}
	if fault == faultHangs {
		<-ctx.Done()
		return lost(true)
	}
	if !sleep(ctx, time.Second) {
		return lost(true)
	}
	s.mu.Lock()
	err := fault.refusal()
	answer := broker.TokenResponse{}
	if fault == faultClient { // it would end the flow, as it should; slow down instead
		err = refusal("slow_down")
		d.interval += 5 * time.Second // until the next one, or it would have to be told again where a disk is full
	} else if err == nil {
		answer, err = s.server.poll(d)
	}
	use.failed = err != nil
	s.mu.Unlock()
	switch {
	case fault == faultSwallows:
		<-ctx.Done()
		return lost(true)
	case fault == faultLost, fault == faultGarbled:
		return lost(false)
	}
	return answer, err
}

// checkDevices looks at all device grants when all faults are over and all codes
// have ended: each is told of as it went.
func (s *simulation) checkDevices() {
	for flow, d := range s.flows {
		status, id, err := s.broker.DeviceFlow(context.Background(), root, flow)
		s.mu.Lock()
		stored := false
		for _, access := range d.issued {
			stored = stored || s.durable[access]
		}
		c, getErr := s.process.Store.Get(context.Background(), id)
		switch {
		case stored && err != nil: // it was refreshed since
		case err != nil:
			s.violate("%s is not known: %v", d.name, err)
		case stored != (status == broker.DeviceComplete):
			s.violate("%s is %s, and that its token is stored is %v", d.name, status, stored)
		case status == broker.DevicePending:
			s.violate("%s is still pending", d.name)
		case getErr != nil:
			s.violate("%s cannot be read: %v", d.name, getErr)
		case len(d.issued) > 0 && !stored && !strings.Contains(c.StatusReason, "lost"):
			s.violate("the tokens of %s are lost, and it says: %s", d.name, c.StatusReason)
		case status == broker.DeviceDenied && d.decision != "no":
			s.violate("%s is denied, and the person said %q", d.name, d.decision)
		case status != broker.DeviceComplete && c.Status != broker.StatusReauth:
			s.violate("%s is %s, and its credential is %s", d.name, status, c.Status)
		}
		if stored {
			status = broker.DeviceComplete
		}
		s.devices[status]++
		s.mu.Unlock()
	}
}
