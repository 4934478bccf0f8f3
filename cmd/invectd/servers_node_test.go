package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

const nodeFolder = "testdata/oidc-provider"

// installTime bounds the look at the registry of npm.
const installTime = 90 * time.Second

// installNode puts oidc-provider, as the lock file has it, where the next run of
// the tests finds it again, and returns the folder. Without Node or a registry the
// test is skipped.
func installNode(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: oidc-provider is not tested against, since there is no %s here", program)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	hash := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(nodeFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(data)
	}
	parent := filepath.Join(cache, "invectd-tests")
	folder := filepath.Join(parent, "oidc-provider-"+hex.EncodeToString(hash.Sum(nil))[:16])
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	// Two runs may do this at once: each installs beside, and the first to rename wins.
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(parent, "new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		copyFile(t, filepath.Join(nodeFolder, name), filepath.Join(fresh, name))
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = fresh
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: oidc-provider is not tested against, since npm ci failed, as without a registry: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, folder); err != nil {
		if _, statErr := os.Stat(folder); statErr != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// startNode runs oidc-provider until the test ends, and returns its issuer.
func startNode(t *testing.T, folder string, a *authority, clients []map[string]any) (issuer string) {
	t.Helper()
	certificate, key := a.sign(t, "oidc-provider")
	config, err := json.Marshal(map[string]any{"clients": clients, "certificate": certificate, "key": key, "authority": a.pem})
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(nodeFolder, "server.mjs"), filepath.Join(folder, "server.mjs"))
	cmd := exec.Command("node", "server.mjs")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "CONFIG="+string(config))
	return startServer(t, cmd)
}

// TestOIDCProvider plays Node's certified oidc-provider, over TLS, with a daemon
// that is a process of its own.
func TestOIDCProvider(t *testing.T) {
	folder := installNode(t)
	a, signing := newAuthority(t), newECKey(t)
	certificate, certificateKey := a.sign(t, "the client")
	methods := []broker.ClientAuthentication{
		broker.ClientSecretBasic, broker.ClientSecretPost, broker.ClientSecretJWT, broker.PrivateKeyJWT, broker.TLSClientAuth, broker.ClientAuthNone,
	}
	const secret = "a secret: with/all+sorts%of&characters=~1"
	var clients []map[string]any
	for _, method := range methods {
		registered := map[string]any{
			"client_id": "client:" + string(method), "token_endpoint_auth_method": method, "redirect_uris": []string{browserEnd},
			"grant_types": []string{"authorization_code", "refresh_token", "client_credentials", string(broker.GrantDeviceCode)},
		}
		switch method {
		case broker.ClientSecretBasic, broker.ClientSecretPost, broker.ClientSecretJWT:
			registered["client_secret"] = secret
		case broker.PrivateKeyJWT:
			registered["jwks"] = map[string]any{"keys": []any{publicJWK(t, signing)}}
		case broker.TLSClientAuth:
			registered["tls_client_auth_subject_dn"] = "CN=the client"
		case broker.ClientAuthNone:
			registered["grant_types"] = []string{"authorization_code", "refresh_token", string(broker.GrantDeviceCode)}
		}
		clients = append(clients, registered)
	}
	issuer := startNode(t, folder, a, clients)

	authorities := filepath.Join(t.TempDir(), "authorities.pem")
	if err := os.WriteFile(authorities, []byte(a.pem), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := startChild(t, "SSL_CERT_FILE="+authorities)
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	s := &session{Client: daemon.Client, transport: transport, denial: url.Values{"abort": {"yes"}}}

	m := newMatrix(t, "oidc-provider of npm")
	for _, method := range methods {
		id, how := "p-"+string(method), string(method)
		app := client.App{ClientID: "client:" + how}
		switch method {
		case broker.ClientSecretBasic, broker.ClientSecretPost, broker.ClientSecretJWT:
			app.ClientSecret = secret
		case broker.PrivateKeyJWT:
			app.PrivateKey, app.PrivateKeyID = pemKey(t, signing), "k1"
		case broker.TLSClientAuth:
			app.Certificate, app.PrivateKey = certificate, certificateKey
		}
		s.define(t, serverAt(id, issuer, method, "openid", "read"), app)
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
	basic := "p-" + string(broker.ClientSecretBasic)
	denied := s.device(t, basic, false)
	agreed := map[broker.ClientAuthentication]client.StartedDevice{}
	for _, method := range methods {
		agreed[method] = s.device(t, "p-"+string(method), true)
	}
	for _, method := range methods {
		m.play(t, "device grant (RFC 8628), refresh", string(method), func(t *testing.T) {
			if status := s.awaitDevice(t, agreed[method]); status != "complete" {
				t.Fatalf("it is %s, want complete", status)
			}
			s.wantRefreshes(t, agreed[method].CredentialID)
		})
	}
	m.play(t, "device grant, denied", "client_secret_basic", func(t *testing.T) {
		if status := s.awaitDevice(t, denied); status != "denied" {
			t.Errorf("it is %s, want denied", status)
		}
	})
	m.play(t, "device grant, the daemon is killed meanwhile", "client_secret_basic", func(t *testing.T) {
		if testing.Short() {
			t.Skip("it takes seconds until the server may be polled")
		}
		started, err := s.StartDevice(t.Context(), client.DeviceRequest{ProviderID: basic})
		if err != nil {
			t.Fatalf("StartDevice = %v", err)
		}
		daemon.kill()
		s.person(t, true).open(started.VerificationURIComplete)
		daemon.start()
		s.Client = daemon.Client
		if status := s.awaitDevice(t, started); status != "complete" {
			t.Errorf("it is %s, want complete", status)
		}
		s.wantToken(t, started.CredentialID, 1)
	})
	m.play(t, "a person says no", "client_secret_basic", func(t *testing.T) {
		started, err := s.Start(t.Context(), client.StartRequest{ProviderID: basic, RedirectURI: browserEnd, Params: map[string]string{"login_hint": "deny"}})
		if err != nil {
			t.Fatalf("Start = %v", err)
		}
		if back := s.person(t, false).open(started.AuthorizationURL); back == nil || back.Query().Get("error") != "access_denied" {
			t.Errorf("the browser came back to %v, want access_denied", back)
		}
	})
	m.play(t, "iss (RFC 9207): right, missing, another", "client_secret_basic", func(t *testing.T) {
		for _, iss := range []string{"", "https://evil.example"} {
			answer := s.consent(t, basic, true, nil)
			if answer.Issuer != issuer {
				t.Errorf("iss = %q, want %q", answer.Issuer, issuer)
			}
			answer.Issuer = iss
			if _, err := s.Callback(t.Context(), answer); !isCode(err, "invalid_request") {
				t.Errorf("Callback with iss %q = %v, want invalid_request", iss, err)
			}
		}
	})
	m.play(t, "a wrong secret, a wrong key, no certificate", "each", func(t *testing.T) {
		for _, method := range methods[:5] {
			_, key := a.sign(t, "a stranger")
			config := map[string]any{"grantType": "client_credentials", "clientId": "client:" + string(method), "clientSecret": "wrong", "privateKey": key}
			if method == broker.TLSClientAuth {
				config["certificate"], config["privateKey"] = newAuthority(t).sign(t, "the client")
			}
			if _, err := s.Token(t.Context(), s.create(t, "p-"+string(method), config), client.ReadOptions{}); !isCode(err, "provider_error") {
				t.Errorf("%s: Token = %v, want provider_error", method, err)
			}
		}
	})
}

// wantRevoked deletes a credential with its tokens, and wants another one that has
// the same access token to find that dead.
func (s *session) wantRevoked(t *testing.T, provider, ref string) {
	t.Helper()
	token, err := s.Token(t.Context(), ref, client.ReadOptions{})
	if err != nil {
		t.Fatalf("Token = %v", err)
	}
	copied := s.create(t, provider, map[string]any{"accessToken": token.AccessToken})
	s.wantWorks(t, copied, true)
	if err := s.DeleteCredential(t.Context(), ref, true); err != nil {
		t.Fatalf("DeleteCredential = %v", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		if test, err := s.TestCredential(t.Context(), copied); err == nil && !test.Success {
			return
		}
		<-tick.C
	}
	t.Error("the access token still works, want it revoked with the refresh token")
}
