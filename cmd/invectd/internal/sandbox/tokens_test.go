package sandbox

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

func TestTokensRotateAndReuseRevokesTheFamily(t *testing.T) {
	s := start(t, Config{AccessTokenLifetime: 30 * time.Second})
	cfg := s.config()
	first := connect(t, cfg)
	other := connect(t, cfg)
	if first.ExpiresIn != 30 || first.TokenType != "Bearer" {
		t.Errorf("expires_in, token_type = %d, %q, want 30, Bearer", first.ExpiresIn, first.TokenType)
	}
	if scope := first.Extra("scope"); scope != "openid read offline_access" {
		t.Errorf("scope = %q, want %q", scope, "openid read offline_access")
	}
	wantResource(t, s, first.AccessToken, http.StatusOK)
	wantResource(t, s, first.AccessToken+"x", http.StatusUnauthorized)
	wantResource(t, s, "", http.StatusUnauthorized)

	second, err := refresh(t, cfg, first.RefreshToken)
	if err != nil {
		t.Fatalf("refresh = %v, want a token", err)
	}
	if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken {
		t.Error("refresh answered the tokens it was given, want new ones")
	}
	wantResource(t, s, second.AccessToken, http.StatusOK)
	if tokens := s.RefreshTokens(Person); len(tokens) != 2 {
		t.Errorf("RefreshTokens() has %d, want 2", len(tokens))
	}

	_, err = refresh(t, cfg, first.RefreshToken)
	wantRefused(t, "reuse of the first refresh token", err, "invalid_grant")
	_, err = refresh(t, cfg, second.RefreshToken)
	wantRefused(t, "refresh after reuse", err, "invalid_grant")
	wantResource(t, s, first.AccessToken, http.StatusUnauthorized)
	wantResource(t, s, second.AccessToken, http.StatusUnauthorized)
	wantResource(t, s, other.AccessToken, http.StatusOK)

	stats := s.Stats()
	if stats.RefreshTokenReuses != 1 || stats.FamiliesRevoked != 1 {
		t.Errorf("Stats() = %+v, want 1 reuse, 1 family revoked", stats)
	}
	if codes, refreshes := stats.TokenRequests["authorization_code"], stats.TokenRequests["refresh_token"]; codes != 2 || refreshes != 3 {
		t.Errorf("Stats() counts %d exchanges, %d refreshes, want 2, 3", codes, refreshes)
	}
}

func TestOfSimultaneousRefreshesOneWins(t *testing.T) {
	const requests = 16
	s := start(t, Config{})
	cfg := s.config()
	token := connect(t, cfg)
	won := make(chan *oauth2.Token, requests)
	var running sync.WaitGroup
	for range requests {
		running.Go(func() {
			next, err := refresh(t, cfg, token.RefreshToken)
			if err == nil {
				won <- next
				return
			}
			wantRefused(t, "a simultaneous refresh", err, "invalid_grant")
		})
	}
	running.Wait()
	if len(won) != 1 {
		t.Fatalf("%d of %d simultaneous refreshes succeeded, want 1", len(won), requests)
	}
	if stats := s.Stats(); stats.RefreshTokenReuses != requests-1 || stats.FamiliesRevoked != 1 {
		t.Errorf("Stats() = %+v, want %d reuses, 1 family revoked", stats, requests-1)
	}
	_, err := refresh(t, cfg, (<-won).RefreshToken)
	wantRefused(t, "refresh by the winner", err, "invalid_grant")
}

func TestCodeIsSingleUse(t *testing.T) {
	s := start(t, Config{})
	cfg := s.config()
	verifier := oauth2.GenerateVerifier()
	code := authorize(t, cfg, verifier)
	token, err := cfg.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("Exchange() = %v, want a token", err)
	}
	_, err = cfg.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	wantRefused(t, "second exchange", err, "invalid_grant")
	wantResource(t, s, token.AccessToken, http.StatusUnauthorized)
	_, err = refresh(t, cfg, token.RefreshToken)
	wantRefused(t, "refresh after the code was used twice", err, "invalid_grant")
}

func TestProofKey(t *testing.T) {
	s := start(t, Config{})
	cfg := s.config()
	code := authorize(t, cfg, oauth2.GenerateVerifier())
	_, err := cfg.Exchange(t.Context(), code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
	wantRefused(t, "exchange with another verifier", err, "invalid_grant")
	_, err = cfg.Exchange(t.Context(), code)
	wantRefused(t, "exchange without a verifier", err, "invalid_request")
	plain := cfg.AuthCodeURL("s", oauth2.SetAuthURLParam("code_challenge", "v"), oauth2.SetAuthURLParam("code_challenge_method", "plain"))
	target, err := Decide(t.Context(), plain, true)
	if err != nil || target.Query().Get("error") != "invalid_request" {
		t.Errorf("plain challenge leads to %v, %v, want invalid_request", target, err)
	}
	if families := s.Stats().FamiliesRevoked; families != 0 || len(s.RefreshTokens(Person)) != 0 {
		t.Errorf("refused exchanges revoked %d families and left %d tokens, want none", families, len(s.RefreshTokens(Person)))
	}
}

func TestAccessTokensExpire(t *testing.T) {
	s := start(t, Config{AccessTokenLifetime: time.Second})
	token := connect(t, s.config())
	if token.ExpiresIn != 1 {
		t.Errorf("expires_in = %d, want 1", token.ExpiresIn)
	}
	wantResource(t, s, token.AccessToken, http.StatusOK)
	s.storage.mu.Lock()
	for id, issued := range s.storage.access {
		issued.expires = issued.expires.Add(-2 * time.Second)
		s.storage.access[id] = issued
	}
	s.storage.mu.Unlock()
	wantResource(t, s, token.AccessToken, http.StatusUnauthorized)
	if status, _, body := get(t, s.Endpoints().Userinfo, token.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo = %d %s, want 401", status, body)
	}
	next, err := refresh(t, s.config(), token.RefreshToken)
	if err != nil {
		t.Fatalf("refresh = %v, want a token", err)
	}
	if status, _, body := get(t, s.Endpoints().Userinfo, next.AccessToken); status != http.StatusOK || !strings.Contains(body, Person) {
		t.Errorf("userinfo = %d %s, want that of %s", status, body, Person)
	}
}
