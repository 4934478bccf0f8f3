package brokertest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// An AuthConfig says how an [AuthServer] behaves. The zero value is a strict
// modern server: refresh tokens rotate, are used once, and die as a family when
// one is used again.
type AuthConfig struct {
	ClientID             string                      // "client" if empty
	ClientSecret         string                      // "secret" if empty
	ClientAuthentication broker.ClientAuthentication // basic, post or none; empty takes basic and post
	TokenLifetime        time.Duration               // of access tokens; an hour if zero, no expires_in if negative
	Grace                time.Duration               // how long a spent refresh token may be used again
	KeepRefreshTokens    bool                        // refreshing brings no new refresh token and spends none
	RequirePKCE          bool                        // no code is given without a challenge (RFC 7636)
}

// An AuthServer is a real authorization server with one client: an
// authorization endpoint whose consent is played by [AuthServer.Consent], a
// token endpoint, revocation (RFC 7009), a userinfo endpoint and metadata (RFC
// 8414). It keeps count of what must not happen, such as the reuse of a refresh
// token, and follows a script of faults.
//
// It is an [http.Handler] that starts no goroutine and tells the time by
// [time.Now], so it works within testing/synctest, where [AuthServer.Dial]
// reaches it without a socket. All methods may be called concurrently.
type AuthServer struct {
	// URL is where it answers, without a slash at its end; it is the issuer too.
	URL string

	config AuthConfig
	mux    *http.ServeMux

	mu       sync.Mutex // guards all below
	codes    map[string]*code
	refresh  map[string]*refreshToken
	access   map[string]*accessToken
	faults   []Fault
	requests []AuthRequest
	stats    AuthStats
}

// AuthStats counts what an [AuthServer] did and saw.
type AuthStats struct {
	Requests        int // at any endpoint
	Exchanges       int // codes traded
	Refreshes       int // refresh tokens taken, within a grace window too
	Reuses          int // spent refresh tokens that came again after any grace
	FamiliesRevoked int // because of a reuse
	Revocations     int // at the revocation endpoint
	ClientRefusals  int // requests whose client did not prove itself
}

// An AuthRequest is one request as it came.
type AuthRequest struct {
	Path   string
	Header http.Header
	Form   url.Values // of the body and the query
	At     time.Time
}

// A Fault makes the next request to an endpoint go wrong. The zero Fault lets
// it pass, which spaces faults out.
type Fault struct {
	Path    string          // the endpoint it waits for; "/token" if empty
	Reached chan<- struct{} // closed when the request has come, with Process when it had its effect
	// Wait holds the request until it is closed: before it is processed, or
	// with Process after, so that the answer is late. It ends with the request.
	Wait    <-chan struct{}
	Process bool // the request has its effect, whatever is answered
	Drop    bool // the connection is closed without an answer
	// Status, if not zero, is answered with Header and Body instead of the
	// server's own words.
	Status  int
	Header  map[string]string
	Body    string
	Padding int64 // how many spaces follow Body
}

type family struct{ revoked bool }

type code struct {
	redirectURI, challenge, scope string
	expires                       time.Time
}

type refreshToken struct {
	family *family
	scope  string
	spent  time.Time // zero: not yet
}

type accessToken struct {
	family  *family
	expires time.Time // zero: never
}

// NewAuthServer returns a server that does not listen anywhere yet. Its URL is
// http://127.0.0.1:9, to be reached through [AuthServer.Dial]; who serves it
// elsewhere sets URL first.
func NewAuthServer(config AuthConfig) *AuthServer {
	if config.ClientID == "" {
		config.ClientID = "client"
	}
	if config.ClientSecret == "" {
		config.ClientSecret = "secret"
	}
	if config.TokenLifetime == 0 {
		config.TokenLifetime = time.Hour
	}
	s := &AuthServer{
		URL:     "http://127.0.0.1:9",
		config:  config,
		mux:     http.NewServeMux(),
		codes:   map[string]*code{},
		refresh: map[string]*refreshToken{},
		access:  map[string]*accessToken{},
	}
	s.mux.HandleFunc("GET /authorize", s.serveAuthorize)
	s.mux.HandleFunc("POST /token", s.serveToken)
	s.mux.HandleFunc("POST /revoke", s.serveRevoke)
	s.mux.HandleFunc("GET /userinfo", s.serveUserinfo)
	s.mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.serveMetadata)
	return s
}

// StartAuthServer returns a server that listens on loopback until the test ends.
func StartAuthServer(t testing.TB, config AuthConfig) *AuthServer {
	t.Helper()
	s := NewAuthServer(config)
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	s.URL = listening.URL
	return s
}

// Definition returns the definition of this server as a provider.
func (s *AuthServer) Definition(id string) broker.Definition {
	d := broker.Definition{
		ID:                   id,
		Name:                 id,
		Category:             "other",
		AuthorizationURL:     s.URL + "/authorize",
		TokenURL:             s.URL + "/token",
		RevocationURL:        s.URL + "/revoke",
		DefaultScopes:        []string{"read"},
		ClientAuthentication: s.config.ClientAuthentication,
		Identity:             &broker.IdentityRequest{URL: s.URL + "/userinfo", Subject: "sub", Label: "email"},
	}
	if s.config.KeepRefreshTokens {
		d.Refresh.Rotation = "never"
	}
	d.Refresh.ReuseGrace = broker.Duration(s.config.Grace)
	return d
}

// Client returns the client that the server knows.
func (s *AuthServer) Client() broker.Client {
	client := broker.Client{ID: s.config.ClientID}
	if s.config.ClientAuthentication != broker.ClientAuthNone {
		client.Secret = broker.NewSecret(s.config.ClientSecret)
	}
	return client
}

// Consent plays the person: it agrees to the request of an authorization URL
// and returns what the redirect would bring.
func (s *AuthServer) Consent(authorizationURL string) (authCode, state string, err error) {
	u, err := url.Parse(authorizationURL)
	if err != nil {
		return "", "", fmt.Errorf("authorization URL: %w", err)
	}
	q := u.Query()
	switch {
	case q.Get("response_type") != "code":
		return "", "", fmt.Errorf("response_type is %q, want code", q.Get("response_type"))
	case q.Get("client_id") != s.config.ClientID:
		return "", "", fmt.Errorf("client_id is %q, want %q", q.Get("client_id"), s.config.ClientID)
	case q.Get("code_challenge") == "" && s.config.RequirePKCE:
		return "", "", fmt.Errorf("code_challenge is missing")
	case q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256":
		return "", "", fmt.Errorf("code_challenge_method is %q, want S256", q.Get("code_challenge_method"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	authCode = "code-" + rand.Text()
	s.codes[authCode] = &code{
		redirectURI: q.Get("redirect_uri"),
		challenge:   q.Get("code_challenge"),
		scope:       q.Get("scope"),
		expires:     time.Now().Add(10 * time.Minute),
	}
	return authCode, q.Get("state"), nil
}

// Grant begins a family of tokens as if a person had just consented.
func (s *AuthServer) Grant(scope string) (access, refresh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &family{}
	return s.issueAccess(f), s.issueRefresh(f, scope)
}

// Fail appends to the script of faults. Each serves one request.
func (s *AuthServer) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Stats returns the counts so far.
func (s *AuthServer) Stats() AuthStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Requests returns all requests so far, oldest first.
func (s *AuthServer) Requests() []AuthRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Live reports whether an access or a refresh token would be taken now, a spent
// refresh token in its grace window not counting.
func (s *AuthServer) Live(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.refresh[token]; r != nil {
		return r.spent.IsZero() && !r.family.revoked
	}
	return s.liveAccess(token)
}

// RevokeGrant makes every token of the family of token dead, as when a person
// withdraws consent.
func (s *AuthServer) RevokeGrant(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoke(token)
}

// record logs a request and takes the fault that is due for it, if any.
func (s *AuthServer) record(r *http.Request) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	s.requests = append(s.requests, AuthRequest{r.URL.Path, r.Header.Clone(), r.Form, time.Now()})
	at := slices.IndexFunc(s.faults, func(f Fault) bool {
		return f.Path == r.URL.Path || f.Path == "" && r.URL.Path == "/token"
	})
	if at < 0 {
		return Fault{}, false
	}
	fault := s.faults[at]
	s.faults = slices.Delete(s.faults, at, at+1)
	return fault, true
}

func (f Fault) answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	for name, value := range f.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(f.Status)
	w.Write([]byte(f.Body))
	spaces := []byte(strings.Repeat(" ", 32<<10))
	for left := f.Padding; left > 0; left -= int64(len(spaces)) {
		if _, err := w.Write(spaces[:min(left, int64(len(spaces)))]); err != nil {
			return
		}
	}
}
