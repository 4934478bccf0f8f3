package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/invectd/invectd/broker"
)

const (
	discoveryLife = time.Hour // how long metadata is believed
	discoveryMax  = 1024      // how many issuers are remembered
)

// metadata is what of RFC 8414, section 2, and RFC 9207, section 3, matters here.
type metadata struct {
	authorization, token, revocation, introspection, device string
	issuerInCallback                                        bool
}

// A discovery remembers metadata by issuer. The zero value is ready.
type discovery struct {
	flights singleflight.Group

	mu    sync.Mutex // guards known
	known map[string]discovered
}

type discovered struct {
	metadata
	until time.Time
}

// An endpoint is a field of a definition that discovery can fill.
type endpoint func(*broker.Definition) *string

func authorizationEndpoint(d *broker.Definition) *string { return &d.AuthorizationURL }
func tokenEndpoint(d *broker.Definition) *string         { return &d.TokenURL }
func revocationEndpoint(d *broker.Definition) *string    { return &d.RevocationURL }

// discovers reports whether a definition relies on metadata: it leaves one of
// the two main endpoints to its issuer.
func discovers(d *broker.Definition) bool {
	return d.Issuer != "" && (d.AuthorizationURL == "" || d.TokenURL == "")
}

// complete returns k with the endpoint that is needed, discovered at the issuer
// where the definition does not give it. Nothing of op was sent if it fails.
func (c *Client) complete(ctx context.Context, op string, k broker.Connection, needed endpoint) (broker.Connection, error) {
	if *needed(&k.Definition) != "" || !discovers(&k.Definition) {
		return k, nil
	}
	found, issuer, err := c.metadata(ctx, op, k)
	if err != nil {
		return broker.Connection{}, err
	}
	d := &k.Definition
	for at, value := range map[*string]string{
		&d.AuthorizationURL: found.authorization, &d.TokenURL: found.token, &d.RevocationURL: found.revocation,
		&d.IntrospectionURL: found.introspection, &d.DeviceAuthorizationURL: found.device,
	} {
		if *at == "" {
			*at = value
		}
	}
	k = k.TrustAlso(found.authorization, found.token, found.revocation, found.introspection, found.device)
	if *needed(d) == "" && op != opRevoke {
		return broker.Connection{}, operation{op: op, definition: d}.undiscovered(issuer, errNoEndpoint)
	}
	return k, nil
}

// IssuerCheck implements [broker.AuthorizationServer]. What it requires is known
// only of a definition that relies on metadata.
func (c *Client) IssuerCheck(ctx context.Context, k broker.Connection) (broker.IssuerCheck, error) {
	d := &k.Definition
	if d.Issuer == "" {
		return broker.IssuerCheck{}, nil
	}
	if !discovers(d) {
		issuer, err := expandURL("issuer", d.Issuer, k)
		return broker.IssuerCheck{Issuer: issuer}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	found, issuer, err := c.metadata(ctx, opAuthorize, k)
	if err != nil {
		return broker.IssuerCheck{}, err
	}
	return broker.IssuerCheck{Issuer: issuer, Required: found.issuerInCallback}, nil
}

// metadata returns what the issuer publishes, from memory for an hour. Callers
// at the same time share one look; a failure is not remembered.
func (c *Client) metadata(ctx context.Context, op string, k broker.Connection) (metadata, string, error) {
	issuer, err := expandURL("issuer", k.Definition.Issuer, k)
	if err != nil {
		return metadata{}, "", err
	}
	if found, ok := c.discovery.get(issuer); ok {
		return found, issuer, nil
	}
	key := k.Definition.ID + " " + issuer
	flight := c.discovery.flights.DoChan(key, func() (any, error) {
		// The look is everybody's: it does not end with the caller who began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.Timeout)
		defer cancel()
		found, err := c.discover(ctx, &k.Definition, issuer)
		if err == nil {
			c.discovery.put(issuer, found)
		}
		return found, err
	})
	o := operation{op: op, definition: &k.Definition}
	select {
	case result := <-flight:
		if result.Err != nil {
			return metadata{}, "", o.undiscovered(issuer, result.Err)
		}
		return result.Val.(metadata), issuer, nil
	case <-ctx.Done():
		return metadata{}, "", o.unanswered(hostOf(issuer), broker.SentNever, ctx.Err())
	}
}

// undiscovered says of an operation that it did not come to be.
func (o operation) undiscovered(issuer string, err error) *broker.ProviderError {
	failed := &broker.ProviderError{Op: o.op, Provider: o.definition.ID, Host: hostOf(issuer), Sent: broker.SentNever, Err: err}
	if look, ok := errors.AsType[*broker.ProviderError](err); ok {
		failed.Timeout, failed.RetryAfter = look.Timeout, look.RetryAfter
	}
	return failed
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

func (d *discovery) get(issuer string) (metadata, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.known[issuer]
	return found.metadata, ok && time.Now().Before(found.until)
}

func (d *discovery) put(issuer string, found metadata) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= discoveryMax {
		d.known = map[string]discovered{}
	}
	d.known[issuer] = discovered{found, time.Now().Add(discoveryLife)}
}

// discover asks the issuer at the two places where metadata is published: that
// of RFC 8414, section 3, and that of OpenID Connect Discovery.
func (c *Client) discover(ctx context.Context, d *broker.Definition, issuer string) (metadata, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return metadata{}, invalid("issuer", "is no URL")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	found, err := c.discoverAt(ctx, d, issuer, origin+"/.well-known/oauth-authorization-server"+path)
	if failed, ok := errors.AsType[*broker.ProviderError](err); ok && failed.Sent == broker.SentAnswered {
		var second error
		found, second = c.discoverAt(ctx, d, issuer, origin+path+"/.well-known/openid-configuration")
		if second == nil || failed.Status/100 != 2 {
			err = second // a document that lies says more than one that is missing
		}
	}
	return found, err
}

func (c *Client) discoverAt(ctx context.Context, d *broker.Definition, issuer, at string) (metadata, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return metadata{}, invalid("issuer", "is no URL")
	}
	o := operation{opDiscover, d, c.transport}
	got, err := c.send(o, r)
	if err != nil {
		return metadata{}, err
	}
	if got.status/100 != 2 {
		return metadata{}, o.refused(r.URL.Host, got, "", nil)
	}
	value, err := got.value()
	if err == nil && textAt(value, "issuer") != issuer {
		err = fmt.Errorf("the metadata is not that of the issuer %q that it was asked for", issuer)
	}
	found := readMetadata(value)
	if err == nil {
		err = c.checkEndpoints(d, found)
	}
	if err != nil {
		return metadata{}, o.refused(r.URL.Host, got, "", err)
	}
	return found, nil
}

func readMetadata(value any) metadata {
	required, _ := lookup(value, "authorization_response_iss_parameter_supported")
	return metadata{
		authorization:    textAt(value, "authorization_endpoint"),
		token:            textAt(value, "token_endpoint"),
		revocation:       textAt(value, "revocation_endpoint"),
		introspection:    textAt(value, "introspection_endpoint"),
		device:           textAt(value, "device_authorization_endpoint"),
		issuerInCallback: required == true,
	}
}

// checkEndpoints holds discovered endpoints to the rules for given ones.
func (c *Client) checkEndpoints(d *broker.Definition, found metadata) error {
	if strings.Contains(found.authorization+found.token+found.revocation+found.introspection+found.device, "{") {
		return errBraces
	}
	as := broker.Definition{
		ID: d.ID, Name: d.ID, Issuer: "https://issuer.example",
		AuthorizationURL: found.authorization, TokenURL: found.token, RevocationURL: found.revocation,
		IntrospectionURL: found.introspection, DeviceAuthorizationURL: found.device,
	}
	if invalid, ok := errors.AsType[*broker.InvalidError](as.Check(c.config.Addresses)); ok {
		return fmt.Errorf("the metadata cannot be used: %s %s", invalid.Fields[0].Path, invalid.Fields[0].Message)
	}
	return nil
}
