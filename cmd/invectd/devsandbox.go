package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/cmd/invectd/internal/sandbox"
	"github.com/invectd/invectd/socket/client"
)

const (
	devProvider = "sandbox" // the sandbox as a provider
	devRobot    = "robot"   // the credential that needs no person
)

// newSandbox returns an authorization server on a free port. Its client may
// redirect to the daemon's own callback and to that of `invectd connect`.
func newSandbox(lifetime time.Duration, log *slog.Logger) (*sandbox.Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	server, err := sandbox.New(ln, sandbox.Config{
		AccessTokenLifetime: lifetime, Log: log,
		RedirectURIs: []string{"http://127.0.0.1" + callbackPath, "http://127.0.0.1" + loopbackPath},
	})
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return server, nil
}

// registerSandbox makes the sandbox known to the daemon, and its client.
func registerSandbox(ctx context.Context, c *client.Client, server *sandbox.Server) error {
	at := server.Endpoints()
	definition := broker.Definition{
		ID: devProvider, Name: "Sandbox", Description: "A provider to try things out with", Category: "test",
		Issuer: server.Issuer(), AuthorizationURL: at.Authorization, TokenURL: at.Token, RevocationURL: at.Revocation,
		DeviceAuthorizationURL: at.DeviceAuthorization, IntrospectionURL: at.Introspection,
		DefaultScopes: []string{"openid", "email"}, PKCE: broker.PKCERequired, ClientAuthentication: broker.ClientSecretBasic,
		Identity: &broker.IdentityRequest{URL: at.Resource, Subject: "subject"},
	}
	if _, err := c.PutProvider(ctx, definition, true); err != nil {
		return fmt.Errorf("registering the sandbox as a provider: %w", err)
	}
	app := client.App{ProviderID: devProvider, ClientID: server.ClientID(), ClientSecret: server.ClientSecret()}
	if _, err := c.PutApp(ctx, app); err != nil {
		return fmt.Errorf("registering the sandbox's client: %w", err)
	}
	return nil
}

// createRobot stores a credential of the client credentials grant (RFC 6749,
// section 4.4), unless an earlier try-out left one.
func createRobot(ctx context.Context, c *client.Client) error {
	there, _, err := c.Credentials(ctx, client.Filter{Name: devRobot})
	if err != nil || len(there) > 0 {
		return err
	}
	_, err = c.CreateCredential(ctx, client.CredentialInput{
		Name: new(devRobot), AuthType: new(string(broker.AuthOAuth2)), Provider: new(devProvider),
		Config: map[string]any{broker.KeyGrantType: string(broker.GrantClientCredentials)},
	})
	if err != nil {
		return fmt.Errorf("storing the credential %q: %w", devRobot, err)
	}
	return nil
}
