package refresher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/invectd/invectd/broker"
)

const (
	// slowDown is what the interval grows by where a provider says so (RFC 8628,
	// section 3.5).
	slowDown = 5 * time.Second
	// longestPoll bounds how far polls get apart, whatever fails.
	longestPoll = 5 * time.Minute
)

// A verdict is what the answer to a poll means.
type verdict struct {
	status     broker.DeviceStatus
	why        string        // for a person; "" while pending
	interval   time.Duration // from now on
	unanswered bool          // the provider could not be asked, or was busy
}

// judgePoll decides what a failed poll means. Any error code but the two of
// waiting ends a flow (RFC 8628, section 3.5). doubtful says that an answer was
// lost before: it may be the one with the tokens, and the code is spent then.
func judgePoll(d broker.DeviceFlow, cause error, doubtful bool) verdict {
	code := ""
	p, answered := errors.AsType[*broker.ProviderError](cause)
	if answered && p.Op != opDiscover {
		code = p.Code
	}
	switch {
	case code == "authorization_pending":
		return verdict{status: broker.DevicePending, interval: d.Interval}
	case code == "slow_down":
		return verdict{status: broker.DevicePending, interval: d.Interval + slowDown}
	case code == "access_denied":
		return verdict{status: broker.DeviceDenied, why: "the person said no (access_denied)"}
	case code == "" || p.Status >= 500 || p.Status == http.StatusTooManyRequests || p.Status == http.StatusRequestTimeout:
		return verdict{status: broker.DevicePending, interval: d.Interval, unanswered: true}
	case doubtful: // vendors have many codes for a code that is spent
		return verdict{status: broker.DeviceExpired, why: "an answer of the provider was lost and may have held the tokens, and now it takes the code no more (" + code + "); start again"}
	case code == "expired_token":
		return verdict{status: broker.DeviceExpired, why: "nobody consented in time (expired_token)"}
	case code == "invalid_grant": // a request of a process that died may have come late
		return verdict{status: broker.DeviceExpired, why: "the provider knows the code no more (invalid_grant): it has ended, or the answer with the tokens was lost; start again"}
	}
	return verdict{status: broker.DeviceDenied, why: fmt.Sprintf("the provider refused (%s)", code)}
}

// failPoll ends a flight whose poll brought no tokens, most often since nobody
// has answered yet, which is no failure. It returns the callers' error.
func (f *flight) failPoll(ctx context.Context, c *broker.Credential, d broker.DeviceFlow, cause error) error {
	if classify(cause) == OutcomeStoreUnavailable {
		return f.storeFailed("polling for", cause)
	}
	v, g, now := judgePoll(d, cause, interrupted(c.Summary)), grantOf(c), wallClock()
	// Who says that nobody has answered yet has spent nothing before either.
	doubtful := v.unanswered && (interrupted(c.Summary) || undecided(cause))
	f.outcome = OutcomePending
	var x *failure
	if v.unanswered {
		f.outcome = OutcomeTransient
		x = f.failed(OutcomeTransient, cause, fmt.Errorf("polling for credential %q: %w", c.Name, cause))
		x.retryAt = now.Add(v.interval + min(v.interval<<min(x.count-1, 16), longestPoll))
		if ask := retryAfter(cause); ask > 0 {
			x.retryAt = later(x.retryAt, now.Add(min(ask, longestPoll)))
		}
	}
	if v.status == broker.DevicePending && !now.Before(d.ExpiresAt) {
		v = expired(doubtful)
	}
	stored, err := f.update(ctx, func(c *broker.Credential) error {
		if !g.isOf(c) {
			return errSuperseded
		}
		if !doubtful || v.status != broker.DevicePending {
			c.Intent = nil
		}
		f.recordPoll(c, d, v, x, now)
		return nil
	})
	switch {
	case f.superseded(err):
		return err
	case err != nil:
		y := f.storeFailure("polling for", err)
		y.retryAt = later(y.retryAt, now.Add(max(d.Interval, v.interval))) // the provider has no part in this
		return f.giveUp(y)
	}
	f.config.Tokens.Put(stored)
	f.remember(x)
	if x != nil {
		x.stored = true
		f.config.Log.Warn("a device grant could not be polled", "credential", c.ID, "provider", c.Provider, "error", cause, "retryAt", x.retryAt)
	}
	return f.answerPoll(&stored, v)
}

// expired ends a flow whose time is over by our own clock.
func expired(doubtful bool) verdict {
	why := "nobody consented in time"
	if doubtful {
		why = "the code has ended, and since an answer of the provider was lost it is not known whether somebody consented"
	}
	return verdict{status: broker.DeviceExpired, why: why + "; start again"}
}

// recordPoll writes down when to ask next, or how the flow ended.
func (f *flight) recordPoll(c *broker.Credential, d broker.DeviceFlow, v verdict, x *failure, now time.Time) {
	d.Status = v.status
	if v.status != broker.DevicePending {
		d.ExpiresAt = now
		c.Status, c.StatusReason, c.RetryAt = broker.StatusReauth, v.why, time.Time{}
		c.SetDeviceFlow(d)
		return
	}
	d.Interval = v.interval
	c.RetryAt = now.Add(d.Interval)
	if x != nil {
		c.RetryAt = x.retryAt
	}
	if c.RetryAt.After(d.ExpiresAt) { // to tell soon of the end
		c.RetryAt = later(d.ExpiresAt, now.Add(d.Interval))
	}
	c.SetDeviceFlow(d)
}

// answerPoll tells everybody of the end of a flow, and callers how it stands.
func (f *flight) answerPoll(c *broker.Credential, v verdict) error {
	if v.status == broker.DevicePending {
		return fmt.Errorf("nobody has consented to credential %q yet: %w", c.Name, broker.ErrAuthorizationPending)
	}
	f.outcome = OutcomeGrantRefused
	f.tell(broker.EventReauth, c)
	f.config.Log.Info("a device grant brought nothing", "credential", c.ID, "provider", c.Provider, "status", string(v.status), "reason", v.why)
	return reauthorize(c, v.why)
}

// apply takes over what a provider gave. What the grant of another consent had
// left is dropped with it.
func apply(c *broker.Credential, p *pair) {
	d, ok := c.DeviceFlow()
	if !ok || d.Status != broker.DevicePending {
		c.Apply(p.answer, p.receivedAt)
		return
	}
	c.Config = c.Config.With(broker.KeyRefreshToken, nil)
	c.Apply(p.answer, p.receivedAt)
	d.Status, d.ExpiresAt = broker.DeviceComplete, p.receivedAt
	c.SetDeviceFlow(d)
}
