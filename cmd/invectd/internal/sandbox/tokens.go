package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// family is what a person consented to once, and shared by all tokens that came
// of it. They live and are revoked together.
type family struct {
	claims
	revoked bool // guarded by storage.mu
}

type accessToken struct {
	claims
	family  *family // nil for the client's own
	expires time.Time
}

type refreshToken struct {
	family *family
	spent  bool // guarded by storage.mu
}

// refreshRequest is the library's view of a refresh: the family's claims, with
// the scopes perhaps narrowed for this one access token.
type refreshRequest struct{ claims }

func (r *refreshRequest) SetCurrentScopes(scopes []string) { r.scopes = scopes }

// CreateAccessToken issues one that nothing renews: that of the client credentials grant.
func (s *storage) CreateAccessToken(_ context.Context, request op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, expires := s.issue(nil, claims{clientID: s.client.id, subject: request.GetSubject(), scopes: request.GetScopes()})
	return id, expires, nil
}

// CreateAccessAndRefreshTokens spends the code, the device code or the refresh
// token that is behind request, and issues new tokens for it. This is the one
// place that spends: of two simultaneous requests one gets here second.
func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, request op.TokenRequest, current string) (id, refresh string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var owner *family
	switch request := request.(type) {
	case *refreshRequest:
		owner, err = s.spendRefreshToken(current)
	case *authRequest:
		owner, err = s.spendCode(request)
	case *op.DeviceAuthorizationState:
		owner, err = s.spendDeviceCode(request)
	default:
		err = oidc.ErrUnsupportedGrantType()
	}
	if err != nil {
		return "", "", time.Time{}, err
	}
	refresh = rand.Text()
	s.refresh[refresh] = &refreshToken{family: owner}
	token := owner.claims
	token.scopes = request.GetScopes()
	id, expires = s.issue(owner, token)
	return id, refresh, expires, nil
}

// issue makes an access token. The caller holds mu.
func (s *storage) issue(owner *family, token claims) (id string, expires time.Time) {
	now := time.Now()
	s.sweep(now)
	// The library rounds what is left down to whole seconds for expires_in;
	// half a second on top keeps it at what was configured.
	expires = now.Add(s.lifetime + time.Second/2)
	id = rand.Text()
	s.access[id] = accessToken{claims: token, family: owner, expires: expires}
	return id, expires
}

// spendCode spends the code of request. The caller holds mu.
func (s *storage) spendCode(request *authRequest) (*family, error) {
	stored := s.requests[request.id]
	if stored == nil {
		return nil, oidc.ErrInvalidGrant().WithDescription("the code has expired")
	}
	if stored.family != nil {
		s.revoke(stored.family, "an authorization code was used twice")
		return nil, oidc.ErrInvalidGrant().WithDescription("the code was used already")
	}
	stored.family = &family{claims: stored.claims}
	return stored.family, nil
}

// spendDeviceCode spends the code of the device with that state. The caller holds mu.
func (s *storage) spendDeviceCode(state *op.DeviceAuthorizationState) (*family, error) {
	for code, d := range s.devices {
		if d.state == state {
			delete(s.devices, code)
			return &family{claims: claims{state.ClientID, state.Subject, state.Scopes, state.AuthTime}}, nil
		}
	}
	return nil, oidc.ErrInvalidGrant().WithDescription("the device code was used already")
}

// spendRefreshToken spends token. The caller holds mu.
func (s *storage) spendRefreshToken(token string) (*family, error) {
	owner, err := s.checkRefreshToken(token)
	if err == nil {
		s.refresh[token].spent = true
	}
	return owner, err
}

// checkRefreshToken returns the family of a refresh token that may be used. One
// that was spent tells that it is in two hands, so its family is revoked. The
// caller holds mu.
func (s *storage) checkRefreshToken(token string) (*family, error) {
	known := s.refresh[token]
	switch {
	case known == nil:
		return nil, oidc.ErrInvalidGrant().WithDescription("the refresh token is unknown")
	case known.spent:
		s.stats.RefreshTokenReuses++
		s.revoke(known.family, "a refresh token was used twice")
		return nil, oidc.ErrInvalidGrant().WithDescription("the refresh token was used already")
	case known.family.revoked:
		return nil, oidc.ErrInvalidGrant().WithDescription("the refresh token was revoked")
	}
	return known.family, nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, err := s.checkRefreshToken(token)
	if err != nil {
		return nil, err
	}
	return &refreshRequest{owner.claims}, nil
}

var errDeadToken = errors.New("the access token has expired or was revoked")

// live returns the access token with that ID if it is still good.
func (s *storage) live(id string) (accessToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, known := s.access[id]
	if !known || time.Now().After(token.expires) || token.family != nil && token.family.revoked {
		return accessToken{}, errDeadToken
	}
	return token, nil
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, id, _, _ string) error {
	token, err := s.live(id)
	if err != nil {
		return err
	}
	info.Subject = token.subject
	if token.subject == Person {
		info.Email, info.EmailVerified = Person, true
	}
	return nil
}

func (s *storage) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, id, _, _ string) error {
	token, err := s.live(id)
	if err != nil {
		return err
	}
	answer.Subject, answer.ClientID, answer.Scope = token.subject, token.clientID, token.scopes
	answer.TokenType, answer.Expiration = oidc.BearerToken, oidc.FromTime(token.expires)
	return nil
}
