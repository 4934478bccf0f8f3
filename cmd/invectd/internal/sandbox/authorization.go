package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// consentTime is how long a person may take to decide, and how long a code
// lives (RFC 6749, section 4.1.2, recommends ten minutes at most).
const consentTime = 10 * time.Minute

var errUnknownRequest = errors.New("this request is unknown, has expired or was decided already")

// claims say who a token is for. It is by itself the library's token request
// of the client credentials grant.
type claims struct {
	clientID string
	subject  string
	scopes   []string
	authTime time.Time
}

func (c *claims) GetAMR() []string       { return nil }
func (c *claims) GetAudience() []string  { return []string{c.clientID} }
func (c *claims) GetAuthTime() time.Time { return c.authTime }
func (c *claims) GetClientID() string    { return c.clientID }
func (c *claims) GetScopes() []string    { return c.scopes }
func (c *claims) GetSubject() string     { return c.subject }

// authRequest is an authorization request, from its arrival until its code has
// expired: it outlives the exchange of the code so that a second one is noticed.
type authRequest struct {
	*oidc.AuthRequest
	claims
	id      string // unguessable, which protects the consent page from forged requests
	expires time.Time
	allowed bool
	family  *family // what the code was exchanged for; nil before that
}

func (r *authRequest) GetID() string    { return r.id }
func (r *authRequest) GetACR() string   { return "" }
func (r *authRequest) GetNonce() string { return r.Nonce }
func (r *authRequest) Done() bool       { return r.allowed }

func (r *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	if r.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

// withOfflineAccess adds offline_access where it was not asked for, so that a
// refresh token is always issued; the answer's scope says so.
func withOfflineAccess(scopes []string) []string {
	if slices.Contains(scopes, oidc.ScopeOfflineAccess) {
		return scopes
	}
	return append(slices.Clone(scopes), oidc.ScopeOfflineAccess)
}

func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if slices.Contains(r.Prompt, oidc.PromptNone) {
		// Nobody is ever signed in here before being asked.
		return nil, oidc.ErrLoginRequired()
	}
	now := time.Now()
	request := &authRequest{
		AuthRequest: r,
		claims:      claims{clientID: r.ClientID, subject: Person, scopes: withOfflineAccess(r.Scopes), authTime: now},
		id:          rand.Text(),
		expires:     now.Add(consentTime),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	s.requests[request.id] = request
	return request, nil
}

// AuthRequestByID returns a copy, as the library reads it while decide writes.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request := s.requests[id]
	if request == nil || time.Now().After(request.expires) {
		return nil, errUnknownRequest
	}
	return new(*request), nil
}

func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id := s.codes[code]
	s.mu.Unlock()
	return s.AuthRequestByID(ctx, id)
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

// DeleteAuthRequest keeps the request: its code was spent when the tokens were
// made, and remembering that is how a second exchange is told.
func (s *storage) DeleteAuthRequest(context.Context, string) error { return nil }

// pending returns the scopes that an undecided request asks for.
func (s *storage) pending(id string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request := s.requests[id]
	if request == nil || request.allowed || time.Now().After(request.expires) {
		return nil, errUnknownRequest
	}
	return request.scopes, nil
}

// decide records the person's answer, once, and returns the request.
func (s *storage) decide(id string, allow bool) (*authRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request := s.requests[id]
	if request == nil || request.allowed || time.Now().After(request.expires) {
		return nil, errUnknownRequest
	}
	request.allowed = allow
	if !allow {
		delete(s.requests, id)
	}
	return new(*request), nil
}
