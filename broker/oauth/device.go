package oauth

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/invectd/invectd/broker"
)

// What a device authorization may say at most, and what it means where it is
// silent (RFC 8628, section 3.2).
const (
	deviceLifetime    = 15 * time.Minute // an absent expires_in, which is required
	maxDeviceLifetime = 24 * time.Hour
	pollInterval      = 5 * time.Second // an absent interval
	maxPollInterval   = 5 * time.Minute
	maxUserCode       = 64
	maxDeviceCode     = 4096
)

var errDeviceAnswer = errors.New("the answer lacks a device code, a user code or a web address that can be shown")

// StartDevice implements [broker.AuthorizationServer]. The request has the
// format, the headers and the names of the token request, and none of its other
// parameters. It names the client even where that proves itself in a header, since
// some servers look nowhere else for it.
func (c *Client) StartDevice(ctx context.Context, k broker.Connection, scopes []string) (broker.DeviceAuthorization, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, opStartDevice, k, deviceEndpoint)
	if err != nil {
		return broker.DeviceAuthorization{}, err
	}
	if k.Definition.DeviceAuthorizationURL == "" {
		return broker.DeviceAuthorization{}, invalid("providerId", k.Definition.ID+" publishes no device authorization endpoint; connect in a browser")
	}
	asked := time.Now()
	o, got, value, err := c.call(ctx, opStartDevice, k, "deviceAuthorizationUrl", k.Definition.DeviceAuthorizationURL,
		url.Values{"client_id": {k.Client.ID}, "scope": {k.Definition.JoinScopes(scopes)}})
	if err != nil {
		return broker.DeviceAuthorization{}, err
	}
	started, ok := c.readDevice(k, value, asked)
	if !ok {
		return broker.DeviceAuthorization{}, o.refused(hostOf(k.Definition.DeviceAuthorizationURL), got, "", errDeviceAnswer)
	}
	return started, nil
}

// PollDevice implements [broker.AuthorizationServer].
func (c *Client) PollDevice(ctx context.Context, k broker.Connection, deviceCode broker.Secret) (broker.TokenResponse, error) {
	return c.token(ctx, opPollDevice, k, url.Values{
		"grant_type":  {string(broker.GrantDeviceCode)},
		"device_code": {deviceCode.Reveal()},
	})
}

// readDevice reads the answer of RFC 8628, section 3.2. Some vendors, Google
// among them, still name the web address as a draft did.
func (c *Client) readDevice(k broker.Connection, value any, asked time.Time) (broker.DeviceAuthorization, bool) {
	code, userCode := textAt(value, "device_code"), textAt(value, "user_code")
	address := textAt(value, "verification_uri")
	if address == "" {
		address = textAt(value, "verification_url")
	}
	complete := textAt(value, "verification_uri_complete")
	if !c.showable(k, complete) {
		complete = ""
	}
	started := broker.DeviceAuthorization{
		DeviceCode: broker.NewSecret(code), UserCode: userCode, VerificationURI: address, VerificationURIComplete: complete,
		ExpiresAt: asked.Add(within(value, "expires_in", deviceLifetime, maxDeviceLifetime)).UTC(),
		Interval:  within(value, "interval", pollInterval, maxPollInterval),
	}
	good := code != "" && len(code) <= maxDeviceCode && !strings.ContainsFunc(code, unicode.IsControl) &&
		userCode != "" && len(userCode) <= maxUserCode && shown(userCode) == userCode && c.showable(k, address)
	return started, good
}

// within reads seconds from an answer: absent where they are missing or no
// number, and at least one and at most the longest where they are.
func within(value any, name string, absent, longest time.Duration) time.Duration {
	given, _ := lookup(value, name)
	seconds, ok := number(given)
	if !ok {
		return absent
	}
	return max(time.Second, min(lifetime(seconds), longest))
}

// showable reports whether a person may be sent to an address: a web page that
// could be an endpoint, so not one of this machine or of a scheme that runs
// something.
func (c *Client) showable(k broker.Connection, address string) bool {
	as := broker.Definition{ID: k.Definition.ID, Name: k.Definition.ID, TokenURL: "https://provider.example", AuthorizationURL: address}
	return address != "" && !strings.ContainsAny(address, "{}") && as.Check(c.config.Addresses) == nil
}
