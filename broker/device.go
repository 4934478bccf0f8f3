package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A StartedDevice is what a person needs to consent on another device.
type StartedDevice struct {
	DeviceFlowID string
	CredentialID ID
	DeviceAuthorization
}

// StartDevice begins a device grant (RFC 8628): it creates a pending credential,
// or makes one pending that needs a person anyway, and has it polled. Of the
// request what is about redirects is not used.
func (b *Broker) StartDevice(ctx context.Context, caller Caller, r StartRequest) (_ StartedDevice, err error) {
	existing, entry, err := b.authorizeStart(ctx, caller, &r)
	if err != nil {
		return StartedDevice{}, err
	}
	a, err := b.outline(r, existing)
	if err != nil {
		return StartedDevice{}, err
	}
	if existing == nil {
		if entry, err = b.authorizeNew(caller, VerbConnect, a.subject()); err != nil {
			return StartedDevice{}, err
		}
	}
	now := time.Now().UTC()
	switch d := &a.Definition; {
	case d.DeviceAuthorizationURL == "" && d.Issuer == "":
		return StartedDevice{}, invalid("providerId", "%s has no device grant; connect without it", d.ID)
	case existing != nil && !existing.needsPerson(now):
		return StartedDevice{}, fmt.Errorf("credential %q works and needs no consent; to change it, connect in a browser: %w", existing.Name, ErrConflict)
	}
	change, err := b.begin(entry)
	if err != nil {
		return StartedDevice{}, err
	}
	defer change.end(&err)
	connection, err := b.connections.connect(ctx, a.Definition, a.Client, a.Inputs)
	if err != nil {
		return StartedDevice{}, err
	}
	a.origins = connection.Origins()
	if err := b.Store.Writable(ctx); err != nil {
		return StartedDevice{}, err
	}
	answer, err := b.Server.StartDevice(ctx, connection, a.Scopes)
	if err != nil {
		return StartedDevice{}, err
	}
	view, flow, err := b.keepDevice(ctx, &a, answer, now)
	if err != nil {
		return StartedDevice{}, err
	}
	change.made(&view.Credential)
	return StartedDevice{string(view.ID) + deviceSeparator + flow, view.ID, answer}, nil
}

// deviceSeparator is in the id of a flow between that of its credential and its
// own. Neither has one.
const deviceSeparator = "-"

// needsPerson reports whether nothing but a person's consent brings a token.
func (c *Credential) needsPerson(now time.Time) bool {
	if c.awaitsDevice() {
		return true
	}
	switch c.StatusAt(now) {
	case StatusReauth, StatusExpired:
		return true
	case StatusPending:
		return !c.Renewable
	}
	return false
}

// keepDevice stores a flow that has begun, before anybody is told of it.
func (b *Broker) keepDevice(ctx context.Context, a *Authorization, answer DeviceAuthorization, now time.Time) (View, string, error) {
	flow := DeviceFlow{
		ID: string(NewID()), Status: DevicePending, Code: answer.DeviceCode,
		Interval: answer.Interval, ExpiresAt: answer.ExpiresAt, Made: a.CredentialID == "",
	}
	fill := func(c *Credential) error {
		c.Config, c.Origins = a.connected(c.Config).With(KeyGrantType, string(GrantDeviceCode)), a.origins
		c.Metadata = a.describe(c.Metadata)
		c.Status, c.StatusReason, c.Intent = StatusPending, "", nil
		c.RetryAt, c.UpdatedAt = now.Add(flow.Interval), now
		if last, ok := c.DeviceFlow(); ok && c.Generation == 0 {
			flow.Made = last.Made
		}
		c.SetDeviceFlow(flow)
		return nil
	}
	var view View
	var err error
	if a.CredentialID != "" {
		view, err = b.update(ctx, a.CredentialID, func(c *Credential) error {
			if !c.needsPerson(now) {
				return fmt.Errorf("credential %q got a token meanwhile: %w", c.Name, ErrConflict)
			}
			return fill(c)
		})
	} else {
		c := newConnection(a.Definition.ID, a.name(), now)
		if err = fill(&c); err == nil {
			view, err = b.create(ctx, c)
		}
	}
	if err != nil {
		return View{}, "", fmt.Errorf("storing the device flow: %w", err)
	}
	b.devices.add(view.ID)
	return view, flow.ID, nil
}

// DeviceFlow tells how a device flow stands. It is known as long as its
// credential has no other one and was not refreshed; an error wrapping
// [ErrNotFound] means neither, or that nothing came of it and it was removed.
func (b *Broker) DeviceFlow(ctx context.Context, caller Caller, flowID string) (DeviceStatus, ID, error) {
	id, flow, _ := strings.Cut(flowID, deviceSeparator)
	unknown := fmt.Errorf("device flow %q, which may be over for long: %w", flowID, ErrNotFound)
	s, err := b.find(ctx, caller, VerbConnect, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", "", unknown
	case err != nil:
		return "", "", err
	}
	c, err := b.Store.Get(ctx, s.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", "", fmt.Errorf("reading credential %q: %w", s.Name, err)
	}
	d, ok := c.DeviceFlow()
	if err != nil || !ok || d.ID != flow {
		return "", "", unknown
	}
	return d.Status, s.ID, nil
}

// deviceKept is how long a credential stays that a device flow was to fill and
// did not, so that whoever started it learns why.
const deviceKept = 10 * time.Minute

// removeUnconnected removes the credentials that were made for device flows which
// ended without a token.
func (b *Broker) removeUnconnected(ctx context.Context, now time.Time) {
	for _, id := range b.devices.all() {
		s, ok := b.Tokens.Get(id)
		if !ok || s.Generation > 0 {
			b.devices.remove(id)
			continue
		}
		if s.Status != StatusReauth {
			continue
		}
		c, err := b.Store.Get(ctx, id)
		d, had := c.DeviceFlow()
		if err != nil || had && now.Before(d.ExpiresAt.Add(deviceKept)) {
			continue
		}
		if c.Generation == 0 && c.Status == StatusReauth && had && d.Made {
			if err := b.Store.Delete(ctx, id); err != nil {
				b.Log.Warn("removing a credential that nobody consented to", "credential", id, "error", err)
				continue
			}
			b.deleted(&c, "nobody consented to it")
			b.Log.Info("removed a credential that nobody consented to in its device flow", "credential", id, "provider", c.Provider)
		}
		b.devices.remove(id)
	}
}

// findDevices remembers, at start, the credentials that may have a device flow.
func (b *Broker) findDevices() {
	for _, s := range b.Tokens.All() {
		if s.AuthType == AuthOAuth2 && s.Generation == 0 && slices.Contains([]Status{StatusPending, StatusReauth}, s.Status) {
			b.devices.add(s.ID)
		}
	}
}
