package refresher

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/invectd/invectd/broker"
)

// A circuit is what is known of a token endpoint that fails. It opens once
// requests of several credentials failed in a row, which is no fault of theirs:
// then nobody asks but one probe at a time, less and less often, until an answer
// comes. A single credential never opens it, since its own backoff does. All
// fields are guarded by [Refresher.mu].
type circuit struct {
	failing map[broker.ID]bool // whose last request failed, since the endpoint answered
	cause   error              // of the last failure
	trips   int                // how often it opened since then; 0: it is closed
	since   time.Time          // when it opened first
	wait    time.Duration      // between its last failure and probeAt
	probeAt time.Time          // when a probe may go, while open
	probe   broker.ID          // whose request is the probe under way; "" if none is
}

// opensAt is how many credentials have to fail in a row.
const opensAt = 5

var probePace = pace{2 * time.Second, time.Minute}

// admit reports whether the request of a credential may go now, and makes it
// the probe of an open circuit. Forced ones need not wait for probeAt.
func (c *circuit) admit(id broker.ID, forced bool, now time.Time) bool {
	switch {
	case c.trips == 0:
		return true
	case c.probe != "", !forced && c.waits(now):
		return false
	}
	c.probe = id
	return true
}

// waits reports whether it is too early for a probe. More time than there was to
// begin with is left only after the clock was set back, and then nobody waits.
func (c *circuit) waits(now time.Time) bool {
	left := c.probeAt.Sub(now)
	return left > 0 && left <= c.wait
}

// failed takes note of a request that found the endpoint sick. spread is random
// in [0,1).
func (c *circuit) failed(id broker.ID, cause error, now time.Time, spread float64) {
	wasProbe := c.probe == id
	c.leave(id)
	c.cause = cause
	c.failing[id] = true
	if c.trips > 0 && !wasProbe || len(c.failing) < opensAt {
		return // sent before it opened, or no reason to open yet
	}
	if c.trips == 0 {
		c.since = now
	}
	c.trips++
	c.wait = probePace.pause(c.trips, retryAfter(cause), spread)
	c.probeAt = now.Add(c.wait)
}

// leave takes note that a credential asks nothing any more.
func (c *circuit) leave(id broker.ID) {
	if c.probe == id {
		c.probe = ""
	}
}

// again returns when a credential that has to wait comes back: after the next
// probe, and not all at once.
func (c *circuit) again(now time.Time, spread float64) time.Time {
	return later(c.probeAt, now.Add(time.Second)).Add(time.Duration(spread * float64(c.wait)))
}

// answer returns the error of callers who are not admitted.
func (c *circuit) answer(now time.Time) error {
	return &broker.RetryError{After: min(max(time.Second, c.probeAt.Sub(now)), max(time.Second, c.wait)), Err: c.why()}
}

func (c *circuit) why() error {
	return fmt.Errorf("the token endpoint fails for every credential and is probed from time to time: %w", c.cause)
}

// blocks reports whether a credential has to wait for its endpoint's circuit.
// It changes nothing. What an earlier flight got and could not store does not
// wait, neither do those who join the probe, nor the few whose requests were cut
// off when it opened, while the provider still takes their refresh tokens again.
func (r *Refresher) blocks(e *entry, forced bool, now time.Time) (*circuit, bool) {
	c, ok := r.circuits[e.endpoint]
	if !ok || c.trips == 0 || e.kept != nil || c.probe == e.id || now.Before(e.graceUntil) {
		return nil, false
	}
	return c, c.probe != "" || !forced && c.waits(now)
}

// hold has a credential wait for a circuit. That is told and not written down:
// ten thousand of a dead endpoint would be as many writes. r.mu is held.
func (r *Refresher) hold(e *entry, c *circuit) {
	s, _ := r.config.Tokens.Get(e.id)
	e.held, e.heldGeneration = true, s.Generation
	r.config.Tokens.Hinder(e.id, c.why().Error())
}

// putOff has the schedule come back to a credential that it has to hold. r.mu is
// held.
func (r *Refresher) putOff(e *entry, c *circuit, now time.Time) {
	r.hold(e, c)
	e.notBefore = c.again(now, r.config.Spread())
}

// release ends what hold began. r.mu is held.
func (r *Refresher) release(e *entry) {
	if e.held {
		e.held = false
		r.config.Tokens.Hinder(e.id, "")
	}
}

// Outages implements [broker.Refresher].
func (r *Refresher) Outages() []broker.Outage {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := map[string]*broker.Outage{}
	for host, c := range r.circuits {
		if c.trips > 0 {
			open[host] = &broker.Outage{Host: host, Since: c.since, Failure: c.cause.Error()}
		}
	}
	if len(open) == 0 {
		return nil
	}
	for _, e := range r.queue.entries {
		o, ok := open[e.endpoint]
		if !ok {
			continue
		}
		if o.Waiting == nil {
			o.Waiting = map[string]int{}
		}
		waits := 0
		if e.held {
			waits = 1
		}
		o.Waiting[e.provider] += waits
	}
	var outages []broker.Outage
	for _, host := range slices.Sorted(maps.Keys(open)) {
		if open[host].Waiting != nil { // else its last credential is gone, or asks elsewhere now
			outages = append(outages, *open[host])
		}
	}
	return outages
}

// enter passes the circuit of the endpoint that a flight is going to ask. Where
// it is open the flight ends with its error, and has spent nothing. Who gets no
// error has to call leave.
func (f *flight) enter(k broker.Connection) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, now := f.queue.entry(f.id, f.provider), wallClock()
	e.endpoint = endpointOf(k)
	c, ok := f.circuits[e.endpoint]
	if !ok || c.admit(f.id, f.forced, now) || now.Before(e.graceUntil) {
		f.endpoint = e.endpoint
		return nil
	}
	f.putOff(e, c, now)
	return c.answer(now)
}

// leave tells the circuit how a request went, and the log where it opens or
// closes over that.
func (f *flight) leave(asked bool, err error) {
	before, after, released := f.judge(asked, err)
	switch {
	case before == 0 && after > 0:
		f.config.Log.Warn("a token endpoint fails for every credential; it is probed from time to time, and the others wait",
			"endpoint", f.endpoint, "provider", f.provider, "error", err)
	case before > 0 && after == 0:
		f.config.Log.Info("a token endpoint works again", "endpoint", f.endpoint, "provider", f.provider, "waiting", released)
	}
}

// judge has the circuit take note of a request. It returns its trips before and
// after, and how many credentials need not wait any more.
func (f *flight) judge(asked bool, err error) (before, after, released int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.circuits[f.endpoint]
	if ok {
		before = c.trips
	}
	switch {
	case asked && healthy(err):
		delete(f.circuits, f.endpoint)
		if before > 0 {
			released = f.releaseAll(f.endpoint)
		}
		return before, 0, released
	// What a probe could make nothing of says no more than that it may go on:
	// thousands wait to be the next.
	case asked && (sick(err) || ok && c.probe == f.id):
		if !ok {
			c = &circuit{failing: map[broker.ID]bool{}}
			f.circuits[f.endpoint] = c
		}
		c.failed(f.id, err, wallClock(), f.config.Spread())
		return before, c.trips, 0
	case ok:
		c.leave(f.id)
	}
	return before, before, 0
}

// releaseAll ends the waiting for an endpoint. r.mu is held.
func (r *Refresher) releaseAll(endpoint string) (released int) {
	for _, e := range r.queue.entries {
		if e.endpoint == endpoint && e.held {
			r.release(e)
			released++
		}
	}
	return released
}

// endpointOf names the token endpoint of a connection: hosts fail as a whole,
// whatever the tenant in the path.
func endpointOf(k broker.Connection) string {
	d := &k.Definition
	expanded, err := broker.ExpandURL(cmp.Or(d.RefreshRequest.URL, d.TokenURL, d.Issuer), k.Inputs)
	if err != nil {
		return d.ID
	}
	u, err := url.Parse(expanded)
	if err != nil || u.Host == "" {
		return d.ID
	}
	return u.Host
}

// sick reports whether an error is the endpoint's and not one credential's.
func sick(err error) bool {
	p, ok := errors.AsType[*broker.ProviderError](err)
	return ok && (p.Sent != broker.SentAnswered || p.Status >= 500 || p.Status == http.StatusRequestTimeout ||
		p.Status == http.StatusTooEarly || p.Status == http.StatusTooManyRequests)
}

// healthy reports whether the endpoint answered as one that works: with tokens,
// or with an error that is about the request.
func healthy(err error) bool {
	p, ok := errors.AsType[*broker.ProviderError](err)
	return err == nil || ok && p.Op != opDiscover && p.Code != "" && !sick(err)
}
