package sandbox

import (
	"context"
	"maps"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Stats count what happened since the server was made.
type Stats struct {
	// TokenRequests are the requests to the token endpoint by their
	// grant_type, refused ones included; unknown types count as "other".
	TokenRequests map[string]int
	// RefreshTokenReuses are the times that a spent refresh token came back. A
	// client that is in order causes none.
	RefreshTokenReuses int
	// FamiliesRevoked are the consents that ended: by reuse of a code or of a
	// refresh token, by revocation, or by [Server.Revoke] and [Server.RevokeAll].
	FamiliesRevoked int
}

// Stats returns a snapshot of the counters.
func (s *Server) Stats() Stats {
	s.storage.mu.Lock()
	defer s.storage.mu.Unlock()
	stats := s.storage.stats
	stats.TokenRequests = maps.Clone(stats.TokenRequests)
	return stats
}

// RefreshTokens returns the refresh tokens of subject that can still be used,
// one for each consent, in no particular order.
func (s *Server) RefreshTokens(subject string) []string {
	s.storage.mu.Lock()
	defer s.storage.mu.Unlock()
	var tokens []string
	for token, known := range s.storage.refresh {
		if known.family.subject == subject && !known.spent && !known.family.revoked {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// Revoke withdraws, as the person might, the consent that refreshToken came of.
// It reports whether there was one to withdraw.
func (s *Server) Revoke(refreshToken string) bool {
	s.storage.mu.Lock()
	defer s.storage.mu.Unlock()
	known := s.storage.refresh[refreshToken]
	return known != nil && s.storage.revoke(known.family, "the person withdrew consent")
}

// RevokeAll withdraws every consent and returns how many there were. The next
// refresh of each is answered invalid_grant, and their access tokens are dead.
func (s *Server) RevokeAll() int {
	s.storage.mu.Lock()
	defer s.storage.mu.Unlock()
	count := 0
	for _, known := range s.storage.refresh {
		if s.storage.revoke(known.family, "the person withdrew consent") {
			count++
		}
	}
	return count
}

// revoke ends a family and reports whether it was alive. The caller holds mu.
func (s *storage) revoke(f *family, reason string) bool {
	if f.revoked {
		return false
	}
	f.revoked = true
	s.stats.FamiliesRevoked++
	s.log.Warn("sandbox: tokens revoked", "subject", f.subject, "reason", reason)
	return true
}

// countRequest counts a request to the token endpoint.
func (s *storage) countRequest(grant oidc.GrantType) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(grantTypes, grant) {
		grant = "other"
	}
	s.stats.TokenRequests[string(grant)]++
}

// GetRefreshTokenInfo tells refresh tokens from access tokens (RFC 7009, section 2.1).
func (s *storage) GetRefreshTokenInfo(_ context.Context, _, token string) (subject, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.refresh[token]
	if known == nil {
		return "", "", op.ErrInvalidRefreshToken
	}
	return known.family.subject, token, nil
}

// RevokeToken revokes the family of a refresh token, or one access token alone.
// An unknown one is no error (RFC 7009, section 2.2).
func (s *storage) RevokeToken(_ context.Context, token, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.refresh[token]; known != nil {
		s.revoke(known.family, "the client asked for it")
	}
	delete(s.access, token)
	return nil
}
