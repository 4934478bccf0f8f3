package oauth

import (
	"errors"
	"strings"
	"testing"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/brokertest"
)

// TestOnlyTrustedOrigins: whatever a definition says, nothing is sent to an origin
// that the connection does not trust, and what a trusted issuer publishes is
// trusted with it.
func TestOnlyTrustedOrigins(t *testing.T) {
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	explicit := broker.Connection{Definition: server.Definition("acme"), Client: server.Client()}
	explicit.Definition.Identity = &broker.IdentityRequest{URL: server.URL + "/userinfo"}
	discovered := broker.Connection{Definition: broker.Definition{ID: "acme", Name: "Acme", Issuer: server.URL}, Client: server.Client()}
	c, secret := newClient(t), broker.NewSecret(canaryRefresh)
	for name, call := range map[string]func(broker.Connection) error{
		"refresh": func(k broker.Connection) error { _, err := c.Refresh(t.Context(), k, secret); return err },
		"exchange": func(k broker.Connection) error {
			_, err := c.Exchange(t.Context(), k, broker.CodeExchange{Code: secret})
			return err
		},
		"client credentials": func(k broker.Connection) error { _, err := c.ClientCredentials(t.Context(), k, nil); return err },
		"revoke":             func(k broker.Connection) error { return c.Revoke(t.Context(), k, secret, "refresh_token") },
		"identify": func(k broker.Connection) error {
			if k.Definition.Identity == nil {
				k.Definition.Identity = explicit.Definition.Identity
			}
			_, err := c.Identify(t.Context(), k, secret)
			return err
		},
	} {
		for _, k := range []broker.Connection{explicit, discovered} {
			k.Trusted = "https://elsewhere.example " + server.URL + "0"
			before := len(server.Requests())
			err := call(k)
			noCanary(t, err)
			if _, ok := errors.AsType[*broker.InvalidError](err); !ok || !strings.Contains(err.Error(), "was not authorised with") {
				t.Errorf("%s at an origin that is not trusted = %v, want it refused", name, err)
			}
			if n := len(server.Requests()) - before; n > 0 {
				t.Errorf("%s sent %d requests to an origin that is not trusted, want none", name, n)
			}
			k.Trusted = server.URL
			before = len(server.Requests())
			if _, refused := errors.AsType[*broker.InvalidError](call(k)); refused || len(server.Requests()) == before {
				t.Errorf("%s at a trusted origin was refused, want it sent", name)
			}
		}
	}
}
