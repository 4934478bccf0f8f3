package oauth

import (
	"context"
	"errors"
	"net/http"
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
// parameters.
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
		url.Values{"scope": {k.Definition.JoinScopes(scopes)}})
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

// call makes one request as the client to an endpoint that is not the token
// endpoint but speaks as it does, and returns the JSON of a success.
func (c *Client) call(ctx context.Context, op string, k broker.Connection, field, endpoint string, params url.Values) (o operation, got answer, value any, err error) {
	target, err := expandURL(field, endpoint, k)
	if err != nil {
		return o, got, nil, err
	}
	proof, err := c.authenticate(k, target)
	if err != nil {
		return o, got, nil, err
	}
	o = operation{op, &k.Definition, proof.transport}
	authorization := proof.apply(k.Client.ID, params)
	secrets, inputs := secretsIn(params, k), inputsOf(k)
	shape := k.Definition.TokenRequest
	shape.Params = nil
	r, err := newRequest(ctx, target, shape, shapeParams(shape, params, inputs))
	if err != nil {
		return o, got, nil, o.unanswered("", broker.SentNever, errNoRequest)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	setHeaders(r, shape.Headers, inputs)
	if got, err = c.send(o, r); err != nil {
		return o, got, nil, err
	}
	value, err = got.value()
	if err != nil {
		return o, got, nil, o.refused(r.URL.Host, got, "", err)
	}
	if code, refused := apiRefusal(&k.Definition.TokenResponse, got.status, value); refused {
		return o, got, nil, o.refused(r.URL.Host, got, cleanCode(code, secrets, knownCodes(&k.Definition)...), nil)
	}
	return o, got, value, nil
}

// apiRefusal is refusalIn without the rule for success of token answers, which
// these have no need to follow.
func apiRefusal(shape *broker.TokenResponseShape, status int, value any) (code any, refused bool) {
	own := *shape
	own.Success = nil
	return refusalIn(&own, status, value)
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

// Introspect implements [broker.AuthorizationServer] (RFC 7662). An answer that
// does not say plainly whether the token is active, or says so of one that it
// says has ended, is an error.
func (c *Client) Introspect(ctx context.Context, k broker.Connection, accessToken broker.Secret) (broker.Introspection, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, opIntrospect, k, introspectionEndpoint)
	if err != nil || k.Definition.IntrospectionURL == "" {
		return broker.Introspection{}, err
	}
	o, got, value, err := c.call(ctx, opIntrospect, k, "introspectionUrl", k.Definition.IntrospectionURL,
		url.Values{"token": {accessToken.Reveal()}, "token_type_hint": {"access_token"}})
	if err != nil {
		return broker.Introspection{}, err
	}
	given, _ := lookup(value, "active")
	active, plain := given.(bool)
	exp, _ := lookup(value, "exp")
	end, ends := number(exp)
	now := c.clocks.at(hostOf(k.Definition.IntrospectionURL), time.Now())
	if got.status != http.StatusOK || !plain || active && ends && float64(now.Add(-clockTolerance).Unix()) > end {
		return broker.Introspection{}, o.refused(hostOf(k.Definition.IntrospectionURL), got, "", errNotPlain)
	}
	return broker.Introspection{Supported: true, Active: active}, nil
}

var errNotPlain = errors.New("the answer does not say plainly whether the token is active")
