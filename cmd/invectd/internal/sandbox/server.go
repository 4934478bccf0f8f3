// Package sandbox is a real OAuth 2.0 and OpenID Connect authorization server
// on loopback HTTP, so that invectd can be tried and tested from end to end
// without an account anywhere. It has one registered client and one person,
// who is asked for consent on a page that works without JavaScript.
//
// Authorization codes and refresh tokens are single use. Presenting a spent one
// revokes everything that came of the same consent (RFC 6749, section 4.1.2;
// RFC 9700, section 4.14.2), which is what makes a client's mistakes visible.
//
// Everything is kept in memory and forgotten at the end. The protocol itself is
// that of github.com/zitadel/oidc; this package holds the state, the pages, and
// what that library leaves out: the iss parameter of RFC 9207, and client
// authentication in the request body at every endpoint.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// Person is the one account of the server: the subject of every token that a
// person consented to, and the name on the consent page.
const Person = "ada@example.com"

// drainTime is how long requests in flight may take once Serve was told to stop.
const drainTime = time.Second

// Config says how a [Server] behaves.
type Config struct {
	// AccessTokenLifetime is how long access tokens live, at least one second;
	// zero means one minute. Parts of a second are not announced in expires_in.
	AccessTokenLifetime time.Duration
	// RedirectURIs are those registered for the client; at least one. Each is
	// https and then matched exactly, or http on a loopback host and then
	// matched with any port (RFC 8252, section 7.3).
	RedirectURIs []string
	// Log hears of decisions, of reuse and of revocations, never of a secret.
	// Optional.
	Log *slog.Logger
}

// Server is an authorization server. All its methods may be called concurrently.
type Server struct {
	listener net.Listener
	storage  *storage
	provider provider
	handler  http.Handler
}

// New returns a server for listener, which has to be a TCP listener on a
// loopback address, since everything is sent in clear. Its address becomes the
// issuer, [Server.Serve] closes it.
func New(listener net.Listener, cfg Config) (*Server, error) {
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok || !address.IP.IsLoopback() {
		return nil, fmt.Errorf("sandbox: %s is not a loopback address", listener.Addr())
	}
	if cfg.AccessTokenLifetime == 0 {
		cfg.AccessTokenLifetime = time.Minute
	}
	if cfg.AccessTokenLifetime < time.Second {
		return nil, errors.New("sandbox: access tokens must live for a second at least")
	}
	if err := checkRedirectURIs(cfg.RedirectURIs); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{listener: listener}
	var err error
	if s.storage, err = newStorage(cfg); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if s.provider, err = newProvider("http://"+address.String(), s.storage); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s.handler = s.routes()
	return s, nil
}

func checkRedirectURIs(uris []string) error {
	if len(uris) == 0 {
		return errors.New("no redirect URI is registered")
	}
	for _, uri := range uris {
		parsed, err := url.Parse(uri)
		_, loopback := op.HTTPLoopbackOrLocalhost(uri)
		if err != nil || parsed.Host == "" || parsed.Fragment != "" || !loopback && parsed.Scheme != "https" {
			return fmt.Errorf("redirect URI %q is neither https nor http on a loopback host", uri)
		}
	}
	return nil
}

// Serve answers requests until ctx is done, closes the listener and returns nil;
// or the error that made it stop earlier. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.storage.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("sandbox: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if server.Shutdown(drain) != nil {
		// A browser may hold a connection open that it never used.
		server.Close()
	}
	<-served
	return nil
}

// Issuer is the issuer identifier: the server's own address, as a URL without a path.
func (s *Server) Issuer() string { return s.provider.issuer }

// ClientID is the identifier of the registered client.
func (s *Server) ClientID() string { return s.storage.client.id }

// ClientSecret is the secret of the registered client, new with every server.
// It is taken as client_secret_basic and as client_secret_post.
func (s *Server) ClientSecret() string { return s.storage.client.secret }

// Endpoints are the absolute URLs at which a [Server] answers.
type Endpoints struct {
	Authorization       string
	Token               string
	DeviceAuthorization string // RFC 8628
	Revocation          string // RFC 7009
	Introspection       string // RFC 7662; of access tokens only
	Userinfo            string // OpenID Connect Core, section 5.3
	Resource            string // answers 200 to a live access token, 401 otherwise
}

// Endpoints returns where the server answers.
func (s *Server) Endpoints() Endpoints {
	return Endpoints{
		Authorization:       s.provider.AuthorizationEndpoint().Absolute(s.Issuer()),
		Token:               s.provider.TokenEndpoint().Absolute(s.Issuer()),
		DeviceAuthorization: s.provider.DeviceAuthorizationEndpoint().Absolute(s.Issuer()),
		Revocation:          s.provider.RevocationEndpoint().Absolute(s.Issuer()),
		Introspection:       s.provider.IntrospectionEndpoint().Absolute(s.Issuer()),
		Userinfo:            s.provider.UserinfoEndpoint().Absolute(s.Issuer()),
		Resource:            s.Issuer() + resourcePath,
	}
}
