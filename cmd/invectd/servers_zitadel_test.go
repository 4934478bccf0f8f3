package main

import (
	"crypto/rand"
	"crypto/rsa"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// startZitadel runs the example server of zitadel/oidc, with its own storage, pages
// and service user.
func startZitadel(t *testing.T) (issuer string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer = "http://" + ln.Addr().String()
	storage.RegisterClients(
		storage.WebClient("web", "secret", browserEnd),
		storage.NativeClient("native", browserEnd),
		storage.DeviceClient("device", "secret"),
	)
	server := httptest.NewUnstartedServer(exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), nil, false))
	server.Listener.Close()
	server.Listener = ln
	server.Start()
	t.Cleanup(server.Close)
	return issuer
}

// serviceKey is the key of the example's service user.
func serviceKey(t *testing.T) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/zitadel/oidc/v3").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "example", "server", "service-key1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return string(key)
}

func serverAt(id, issuer string, method broker.ClientAuthentication, scopes ...string) client.Provider {
	return client.Provider{Definition: broker.Definition{ID: id, Issuer: issuer, ClientAuthentication: method, DefaultScopes: scopes}}
}

func TestZitadel(t *testing.T) {
	issuer := startZitadel(t)
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	s := &session{
		Client: startDaemon(t).Client, transport: transport,
		answers: url.Values{"username": {"test-user@127.0.0.1"}, "password": {"verysecure"}},
	}
	s.denial = s.answers
	m := newMatrix(t, "github.com/zitadel/oidc, its example server")
	scopes := []string{"openid", "profile", "offline_access"}
	s.define(t, serverAt("basic", issuer, broker.ClientSecretBasic, scopes...), client.App{ClientID: "web", ClientSecret: "secret"})
	s.define(t, serverAt("post", issuer, broker.ClientSecretPost, scopes...), client.App{ClientID: "web", ClientSecret: "secret"})
	s.define(t, serverAt("none", issuer, broker.ClientAuthNone, scopes...), client.App{ClientID: "native"})
	s.define(t, serverAt("device", issuer, broker.ClientSecretBasic, "profile"), client.App{ClientID: "device", ClientSecret: "secret"})
	s.define(t, serverAt("robot", issuer, broker.ClientSecretBasic, "openid"), client.App{ClientID: "sid1", ClientSecret: "verysecret"})

	for _, id := range []string{"basic", "post", "none"} {
		m.play(t, "authorization_code + PKCE, refresh with rotation", id, func(t *testing.T) {
			s.wantRefreshes(t, s.connect(t, id))
		})
	}
	m.play(t, "introspection (RFC 7662)", "client_secret_basic", func(t *testing.T) {
		s.wantWorks(t, s.connect(t, "basic"), true)
	})
	m.play(t, "client_credentials", "client_secret_basic", func(t *testing.T) {
		s.wantToken(t, s.create(t, "robot", map[string]any{"grantType": "client_credentials"}), 1)
	})
	agreed, denied := s.device(t, "device", true), s.device(t, "device", false)
	m.play(t, "device grant (RFC 8628)", "client_secret_basic", func(t *testing.T) {
		if status := s.awaitDevice(t, agreed); status != "complete" {
			t.Fatalf("it is %s, want complete", status)
		}
		s.wantToken(t, agreed.CredentialID, 1)
	})
	m.play(t, "device grant, denied", "client_secret_basic", func(t *testing.T) {
		if status := s.awaitDevice(t, denied); status != "denied" {
			t.Errorf("it is %s, want denied", status)
		}
		if _, err := s.Token(t.Context(), denied.CredentialID, client.ReadOptions{}); !isCode(err, "reauth_required") {
			t.Errorf("Token = %v, want reauth_required", err)
		}
	})
	m.play(t, "JWT bearer (RFC 7523)", "the assertion alone", func(t *testing.T) {
		config := map[string]any{
			"grantType": string(broker.GrantJWTBearer), "clientId": storage.ServiceUserID, "privateKeyId": storage.ServiceUserKeyID,
			"privateKey": serviceKey(t), "audience": issuer,
		}
		id := s.create(t, "robot", config)
		s.wantRefreshes(t, id)
		config["privateKey"] = anotherKey(t)
		if _, err := s.Token(t.Context(), s.create(t, "robot", config), client.ReadOptions{}); !isCode(err, "provider_error") {
			t.Errorf("Token by another key = %v, want provider_error", err)
		}
	})
	m.play(t, "token exchange (RFC 8693)", "client_secret_basic", func(t *testing.T) {
		const access = "urn:ietf:params:oauth:token-type:access_token"
		subject := s.connect(t, "basic")
		config := map[string]any{"grantType": string(broker.GrantTokenExchange), "subjectCredentialId": subject, "requestedTokenType": access}
		s.wantRefreshes(t, s.create(t, "basic", config))
		// This server issues a refresh token where nobody says what is wanted.
		delete(config, "requestedTokenType")
		if _, err := s.Token(t.Context(), s.create(t, "basic", config), client.ReadOptions{}); !isCode(err, "provider_error") {
			t.Errorf("Token of another type = %v, want provider_error", err)
		}
	})
	m.play(t, "revocation (RFC 7009)", "client_secret_basic", func(t *testing.T) {
		id := s.connect(t, "basic")
		if err := s.DeleteCredential(t.Context(), id, true); err != nil {
			t.Errorf("DeleteCredential = %v", err)
		}
	})
}

func anotherKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pemKey(t, key)
}
