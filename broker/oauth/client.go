// Package oauth speaks to the authorization servers of providers. It turns a
// definition and a client into requests, and what comes back into tokens or a
// [broker.ProviderError] with its facts.
//
// golang.org/x/oauth2 speaks RFC 6749; under it a transport makes every provider
// look as if it did, in both directions, as its definition says. All that is odd
// about a vendor ends there. When to ask, and what an error means for a
// credential, is left to others.
//
// Requests go straight to the provider: no proxy, no redirects, no cookies,
// HTTP/1.1 over TLS 1.2 or newer, and only to addresses that [Config] allows.
package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/invectd/invectd/broker"
)

// Config is what a [Client] is made of. The zero value is a good one.
type Config struct {
	// Addresses are the loopback and private addresses where providers may
	// live, and `http:` may be spoken. None if nil.
	Addresses broker.Addresses
	// Timeout bounds each call, discovery included. 30 seconds if zero.
	Timeout time.Duration
	// ResponseLimit is how many bytes of an answer are taken. 64 KiB if zero.
	ResponseLimit int64
	// RootCAs are trusted instead of the system's, if not nil.
	RootCAs *x509.CertPool
	// Hooks are called for definitions that have any. May be nil.
	Hooks broker.Hooks
	// Dial replaces dialling, and with it the guard of addresses; nil in
	// production. It has the shape of [net.Dialer.DialContext].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Client implements [broker.AuthorizationServer]. It keeps connections alive
// between calls until [Client.Close].
type Client struct {
	config    Config
	transport *http.Transport
	discovery discovery
	clocks    clocks
}

var _ broker.AuthorizationServer = (*Client)(nil)

// The operations that errors name.
const (
	opAuthorize         = "authorize"
	opDiscover          = "discover"
	opExchange          = "exchange"
	opLongLived         = "long-lived token"
	opLookup            = "lookup"
	opRefresh           = "refresh"
	opClientCredentials = "client_credentials"
	opAssert            = "assert"
	opExchangeToken     = "exchange_token"
	opStartDevice       = "start_device"
	opPollDevice        = "poll_device"
	opIntrospect        = "introspect"
	opRevoke            = "revoke"
	opIdentify          = "identify"
	opSend              = "send"
)

// New returns a client. It starts nothing.
func New(config Config) *Client {
	if config.Timeout == 0 {
		config.Timeout = 30 * time.Second
	}
	if config.ResponseLimit == 0 {
		config.ResponseLimit = 64 << 10
	}
	if config.Dial == nil {
		dialer := &net.Dialer{Timeout: 10 * time.Second, ControlContext: guard{config.Addresses}.control}
		config.Dial = dialer.DialContext
	}
	return &Client{config: config, transport: newTransport(config)}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

func newTransport(config Config) *http.Transport {
	only1 := new(http.Protocols)
	only1.SetHTTP1(true) // how far a request got can be told only of a connection of its own
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := config.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: conn}, nil
		},
		Protocols:           only1,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: config.RootCAs},
		TLSHandshakeTimeout: 10 * time.Second,
		// An idle connection is given up well before servers do, since one that
		// dies under a request leaves it in doubt.
		IdleConnTimeout:        15 * time.Second,
		MaxConnsPerHost:        16,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    4,
		MaxResponseHeaderBytes: 32 << 10,
		DisableCompression:     true, // small answers, and no bombs
	}
}

// Exchange implements [broker.AuthorizationServer].
func (c *Client) Exchange(ctx context.Context, k broker.Connection, x broker.CodeExchange) (broker.TokenResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	token, err := c.token(ctx, opExchange, k, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {x.Code.Reveal()},
		"redirect_uri":  {x.RedirectURI},
		"code_verifier": {x.Verifier.Reveal()},
	})
	if err != nil {
		return broker.TokenResponse{}, err
	}
	if token, err = c.longLived(ctx, k, token); err != nil {
		return broker.TokenResponse{}, err
	}
	c.lookup(ctx, k, &token)
	return token, nil
}

// Refresh implements [broker.AuthorizationServer].
func (c *Client) Refresh(ctx context.Context, k broker.Connection, refreshToken broker.Secret) (broker.TokenResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	token, err := c.token(ctx, opRefresh, k, url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {refreshToken.Reveal()},
	})
	if err == nil {
		c.lookup(ctx, k, &token)
	}
	return token, err
}

// ClientCredentials implements [broker.AuthorizationServer].
func (c *Client) ClientCredentials(ctx context.Context, k broker.Connection, scopes []string) (broker.TokenResponse, error) {
	return c.token(ctx, opClientCredentials, k, url.Values{
		"grant_type": {"client_credentials"},
		"scope":      {k.Definition.JoinScopes(scopes)},
	})
}

// ExchangeToken implements [broker.AuthorizationServer].
func (c *Client) ExchangeToken(ctx context.Context, k broker.Connection, x broker.TokenExchange) (broker.TokenResponse, error) {
	return c.token(ctx, opExchangeToken, k, url.Values{
		"grant_type":           {string(broker.GrantTokenExchange)},
		"subject_token":        {x.SubjectToken.Reveal()},
		"subject_token_type":   {x.SubjectTokenType},
		"actor_token":          {x.ActorToken.Reveal()},
		"actor_token_type":     {x.ActorTokenType},
		"requested_token_type": {x.RequestedTokenType},
		"audience":             {x.Audience},
		"resource":             {x.Resource},
		"scope":                {k.Definition.JoinScopes(x.Scopes)},
	})
}

// token asks the token endpoint once. Whatever the grant type, the request is
// that of clientcredentials with its grant_type replaced.
func (c *Client) token(ctx context.Context, op string, k broker.Connection, params url.Values) (broker.TokenResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	k, err := c.complete(ctx, op, k, tokenEndpoint)
	if err != nil {
		return broker.TokenResponse{}, err
	}
	shape := shapeOf(&k.Definition, op)
	target, err := expandURL("tokenUrl", shape.URL, k)
	if err != nil {
		return broker.TokenResponse{}, err
	}
	proof, err := c.authenticate(k, target)
	if err != nil {
		return broker.TokenResponse{}, err
	}
	maps.Copy(params, proof.params)
	clientID := k.Client.ID
	if op == opAssert && k.Client.Secret.Empty() {
		clientID = "" // RFC 7523, section 3.1: the assertion says who asks
	}
	config := clientcredentials.Config{
		ClientID:       clientID,
		ClientSecret:   proof.secret,
		TokenURL:       target,
		EndpointParams: params,
		AuthStyle:      proof.style,
	}
	n := &normaliser{client: c, connection: k, shape: shape, operation: operation{op, &k.Definition, proof.transport}}
	_, err = config.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: n}))
	if err != nil && n.token.AccessToken.Empty() {
		// The words of x/oauth2 hold the URL and the answer. Those of the
		// transport under it hold neither.
		return broker.TokenResponse{}, n.failure(target)
	}
	// Not the token of x/oauth2, which takes an expires_in of 0 for "never" and
	// puts the old refresh token where the answer brought none.
	return n.token, nil
}
