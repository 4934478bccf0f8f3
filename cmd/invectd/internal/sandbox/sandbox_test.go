package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"
)

const testRedirect = "http://127.0.0.1/callback"

// start serves a sandbox until the test ends.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.RedirectURIs == nil {
		cfg.RedirectURIs = []string{testRedirect}
	}
	server, err := New(listener, cfg)
	if err != nil {
		listener.Close()
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(ctx); err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		serving.Wait()
	})
	return server
}

// config is that of a client which listens on a port of its own.
func (s *Server) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID:     s.ClientID(),
		ClientSecret: s.ClientSecret(),
		RedirectURL:  "http://127.0.0.1:49152/callback",
		Scopes:       []string{"openid", "read"},
		Endpoint: oauth2.Endpoint{
			AuthURL:       s.Endpoints().Authorization,
			TokenURL:      s.Endpoints().Token,
			DeviceAuthURL: s.Endpoints().DeviceAuthorization,
			AuthStyle:     oauth2.AuthStyleInHeader,
		},
	}
}

// authorize lets the person allow a request and returns its code.
func authorize(t *testing.T, cfg *oauth2.Config, verifier string) string {
	t.Helper()
	target, err := Decide(t.Context(), cfg.AuthCodeURL("some-state", oauth2.S256ChallengeOption(verifier)), true)
	if err != nil {
		t.Fatalf("Decide(allow) = %v, want a redirect", err)
	}
	code := target.Query().Get("code")
	if code == "" {
		t.Fatalf("Decide(allow) leads to %s, want a code", target)
	}
	return code
}

// connect goes through the whole flow and returns the tokens.
func connect(t *testing.T, cfg *oauth2.Config) *oauth2.Token {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	token, err := cfg.Exchange(t.Context(), authorize(t, cfg, verifier), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("Exchange() = %v, want a token", err)
	}
	return token
}

func refresh(t *testing.T, cfg *oauth2.Config, refreshToken string) (*oauth2.Token, error) {
	t.Helper()
	return cfg.TokenSource(t.Context(), &oauth2.Token{RefreshToken: refreshToken}).Token()
}

// wantRefused checks that err is a token endpoint's answer with that code.
func wantRefused(t *testing.T, what string, err error, code string) {
	t.Helper()
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.ErrorCode != code {
		t.Errorf("%s = %v, want %s", what, err, code)
	}
}

func post(t *testing.T, endpoint string, form url.Values, edit func(*http.Request)) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if edit != nil {
		edit(request)
	}
	status, _, body := do(t, request)
	var answer map[string]any
	if json.Unmarshal([]byte(body), &answer) != nil {
		answer = nil
	}
	return status, answer
}

func do(t *testing.T, request *http.Request) (int, http.Header, string) {
	t.Helper()
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(body)
}

func get(t *testing.T, address, bearer string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	return do(t, request)
}

// wantResource checks what the protected resource answers to an access token.
func wantResource(t *testing.T, s *Server, accessToken string, want int) {
	t.Helper()
	status, header, body := get(t, s.Endpoints().Resource, accessToken)
	if status != want {
		t.Errorf("GET /api/me = %d %s, want %d", status, body, want)
	}
	if want == http.StatusUnauthorized && !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("WWW-Authenticate = %q, want a Bearer challenge", header.Get("WWW-Authenticate"))
	}
}
