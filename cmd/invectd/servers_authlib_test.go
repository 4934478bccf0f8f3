package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/oauth2"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// systemPython is where a system's own packages are found.
const systemPython = "/usr/bin/python3"

// TestAuthlib plays Python's Authlib, as the system's packages python3-authlib and
// python3-flask bring it.
func TestAuthlib(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), systemPython, "-c", "import authlib, flask").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: Authlib is not tested against, since %s has no authlib and flask: %v %s", systemPython, err, out)
	}
	signing := newECKey(t)
	der, err := x509.MarshalPKIXPublicKey(signing.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	const secret = "a-secret-of-thirty-two-characters-or-more" // which it does not decode as RFC 6749, section 2.3.1, has it
	methods := []broker.ClientAuthentication{
		broker.ClientSecretBasic, broker.ClientSecretPost, broker.ClientSecretJWT, broker.PrivateKeyJWT, broker.ClientAuthNone,
	}
	var clients []map[string]any
	for _, method := range methods {
		registered := map[string]any{"id": "client-" + string(method), "method": method}
		switch method {
		case broker.ClientAuthNone:
		case broker.PrivateKeyJWT:
			registered["key"] = public
		default:
			registered["secret"] = secret
		}
		clients = append(clients, registered)
	}
	config, err := json.Marshal(map[string]any{"clients": clients, "redirectUri": browserEnd})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(systemPython, "testdata/authlib/server.py")
	cmd.Env = append(os.Environ(), "CONFIG="+string(config), "AUTHLIB_INSECURE_TRANSPORT=1", "PYTHONDONTWRITEBYTECODE=1")
	issuer := startServer(t, cmd)

	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	s := &session{Client: startDaemon(t).Client, transport: transport, denial: url.Values{"abort": {"yes"}}}
	m := newMatrix(t, "Authlib")
	begun := map[broker.ClientAuthentication]client.StartedDevice{}
	for _, method := range methods {
		id, how := "p-"+string(method), string(method)
		app := client.App{ClientID: "client-" + how}
		switch method {
		case broker.ClientAuthNone:
		case broker.PrivateKeyJWT:
			app.PrivateKey = pemKey(t, signing)
		default:
			app.ClientSecret = secret
		}
		s.define(t, serverAt(id, issuer, method, "read"), app)
		begun[method] = s.device(t, id, true)
		var connected string
		m.play(t, "authorization_code + PKCE, refresh with rotation", how, func(t *testing.T) {
			connected = s.connect(t, id)
			s.wantRefreshes(t, connected)
		})
		m.play(t, "introspection, then revocation (RFC 7662, RFC 7009)", how, func(t *testing.T) {
			s.wantWorks(t, connected, true)
			s.wantRevoked(t, id, connected)
		})
		if method != broker.ClientAuthNone {
			m.play(t, "client_credentials", how, func(t *testing.T) {
				s.wantRefreshes(t, s.create(t, id, map[string]any{"grantType": "client_credentials"}))
			})
		}
	}
	m.play(t, "JWT bearer (RFC 7523)", "the assertion alone", func(t *testing.T) {
		id := "p-" + string(broker.PrivateKeyJWT)
		assertion := map[string]any{"grantType": string(broker.GrantJWTBearer), "subject": "ada"} // by the app's key
		s.wantRefreshes(t, s.create(t, id, assertion))
		assertion["subject"] = "nobody"
		if _, err := s.Token(t.Context(), s.create(t, id, assertion), client.ReadOptions{}); !isCode(err, "provider_error") {
			t.Errorf("Token for nobody = %v, want provider_error", err)
		}
	})
	m.play(t, "a refresh token brought from elsewhere", "client_secret_post", func(t *testing.T) {
		elsewhere := oauth2.Config{
			ClientID: "client-client_secret_post", ClientSecret: secret, RedirectURL: browserEnd, Scopes: []string{"read"},
			Endpoint: oauth2.Endpoint{AuthURL: issuer + "/authorize", TokenURL: issuer + "/token", AuthStyle: oauth2.AuthStyleInParams},
		}
		verifier := oauth2.GenerateVerifier()
		back := s.person(t, true).open(elsewhere.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
		token, err := elsewhere.Exchange(t.Context(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatalf("Exchange = %v", err)
		}
		s.wantRefreshes(t, s.create(t, "p-client_secret_post", map[string]any{"grantType": "refresh_token", "refreshToken": token.RefreshToken}))
	})
	denied := s.device(t, "p-"+string(broker.ClientSecretBasic), false)
	for _, method := range methods {
		m.play(t, "device grant (RFC 8628), refresh", string(method), func(t *testing.T) {
			if status := s.awaitDevice(t, begun[method]); status != "complete" {
				t.Fatalf("it is %s, want complete", status)
			}
			s.wantRefreshes(t, begun[method].CredentialID)
		})
	}
	m.play(t, "device grant, denied", "client_secret_basic", func(t *testing.T) {
		if status := s.awaitDevice(t, denied); status != "denied" {
			t.Errorf("it is %s, want denied", status)
		}
	})
}
