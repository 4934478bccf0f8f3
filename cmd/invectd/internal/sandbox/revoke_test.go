package sandbox

import (
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/oauth2"
)

func TestRevocation(t *testing.T) {
	s := start(t, Config{})
	cfg := s.config()
	asClient := func(r *http.Request) { r.SetBasicAuth(s.ClientID(), s.ClientSecret()) }
	active := func(token string) any {
		_, answer := post(t, s.Endpoints().Introspection, url.Values{"token": {token}}, asClient)
		return answer["active"]
	}
	revoke := func(token string) {
		t.Helper()
		if status, answer := post(t, s.Endpoints().Revocation, url.Values{"token": {token}}, asClient); status != http.StatusOK {
			t.Errorf("revocation = %d %v, want 200", status, answer)
		}
	}
	token := connect(t, cfg)
	if got := active(token.AccessToken); got != true {
		t.Errorf("introspection says active %v, want true", got)
	}
	revoke(token.AccessToken)
	if got := active(token.AccessToken); got != false {
		t.Errorf("introspection of a revoked token says active %v, want false", got)
	}
	next, err := refresh(t, cfg, token.RefreshToken)
	if err != nil {
		t.Fatalf("refresh after revocation of the access token = %v, want a token", err)
	}
	revoke(next.RefreshToken)
	revoke(next.RefreshToken)
	revoke("unknown")
	wantResource(t, s, next.AccessToken, http.StatusUnauthorized)
	_, err = refresh(t, cfg, next.RefreshToken)
	wantRefused(t, "refresh with a revoked token", err, "invalid_grant")
	if stats := s.Stats(); stats.RefreshTokenReuses != 0 || stats.FamiliesRevoked != 1 {
		t.Errorf("Stats() = %+v, want no reuse, 1 family revoked", stats)
	}
}

func TestPersonWithdrawsConsent(t *testing.T) {
	s := start(t, Config{})
	cfg := s.config()
	one, two, three := connect(t, cfg), connect(t, cfg), connect(t, cfg)
	if !s.Revoke(one.RefreshToken) || s.Revoke(one.RefreshToken) || s.Revoke("unknown") {
		t.Error("Revoke() did not report one consent, once")
	}
	if _, err := refresh(t, cfg, two.RefreshToken); err != nil {
		t.Errorf("refresh of another consent = %v, want a token", err)
	}
	if count := s.RevokeAll(); count != 2 {
		t.Errorf("RevokeAll() = %d, want 2", count)
	}
	for _, token := range []*oauth2.Token{one, three} {
		_, err := refresh(t, cfg, token.RefreshToken)
		wantRefused(t, "refresh after consent was withdrawn", err, "invalid_grant")
		wantResource(t, s, token.AccessToken, http.StatusUnauthorized)
	}
	if tokens := s.RefreshTokens(Person); len(tokens) != 0 {
		t.Errorf("RefreshTokens() has %d, want none", len(tokens))
	}
}
