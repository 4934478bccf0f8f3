package brokertest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/invectd/invectd/broker"
)

// ServeHTTP implements [http.Handler].
func (s *AuthServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := parseForm(r); err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request")
		return
	}
	fault, scripted := s.record(r)
	if !scripted {
		s.mux.ServeHTTP(w, r)
		return
	}
	own := httptest.NewRecorder()
	if fault.Process {
		s.mux.ServeHTTP(own, r)
	}
	if fault.Reached != nil {
		close(fault.Reached)
	}
	if fault.Wait != nil {
		select {
		case <-fault.Wait:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case fault.Drop:
		panic(http.ErrAbortHandler) // the server closes the connection
	case fault.Status != 0:
		fault.answer(w)
	case fault.Process:
		maps.Copy(w.Header(), own.Header())
		w.WriteHeader(own.Code)
		own.Body.WriteTo(w)
	default:
		s.mux.ServeHTTP(w, r)
	}
}

// parseForm fills r.Form from the query and a body in form or JSON.
func parseForm(r *http.Request) error {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return r.ParseForm()
	}
	var object map[string]string
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return err
	}
	r.Form = r.URL.Query()
	for name, value := range object {
		r.Form.Set(name, value)
	}
	return nil
}

func (s *AuthServer) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	authCode, state, err := s.Consent(r.URL.String())
	back, parseErr := url.Parse(r.FormValue("redirect_uri"))
	if err != nil || parseErr != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request")
		return
	}
	q := back.Query()
	q.Set("code", authCode)
	q.Set("state", state)
	q.Set("iss", s.URL) // RFC 9207
	back.RawQuery = q.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (s *AuthServer) serveToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.authenticated(r) {
		oauthError(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	switch r.FormValue("grant_type") {
	case "authorization_code":
		s.exchange(w, r)
	case "refresh_token":
		s.rotate(w, r)
	case "client_credentials":
		s.answerToken(w, &family{}, r.FormValue("scope"), "")
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type")
	}
}

// authenticated checks the client as RFC 6749, section 2.3.1, has it.
func (s *AuthServer) authenticated(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	ok := id == s.config.ClientID
	switch s.config.ClientAuthentication {
	case broker.ClientAuthNone:
		ok = ok && secret == ""
	case broker.ClientSecretBasic:
		ok = ok && basic && secret == s.config.ClientSecret
	case broker.ClientSecretPost:
		ok = ok && !basic && secret == s.config.ClientSecret
	default:
		ok = ok && secret == s.config.ClientSecret
	}
	if !ok {
		s.stats.ClientRefusals++
	}
	return ok
}

func (s *AuthServer) exchange(w http.ResponseWriter, r *http.Request) {
	c := s.codes[r.FormValue("code")]
	delete(s.codes, r.FormValue("code"))
	hash := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	switch {
	case c == nil, time.Now().After(c.expires), c.redirectURI != r.FormValue("redirect_uri"),
		c.challenge != "" && c.challenge != base64.RawURLEncoding.EncodeToString(hash[:]),
		c.challenge == "" && r.FormValue("code_verifier") != "":
		oauthError(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	s.stats.Exchanges++
	f := &family{}
	s.answerToken(w, f, c.scope, s.issueRefresh(f, c.scope))
}

// rotate spends a refresh token (RFC 9700, section 4.14.2): one that comes again
// after its grace ends the whole family.
func (s *AuthServer) rotate(w http.ResponseWriter, r *http.Request) {
	presented := r.FormValue("refresh_token")
	token := s.refresh[presented]
	if token == nil || token.family.revoked {
		oauthError(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	now := time.Now()
	if !token.spent.IsZero() && now.Sub(token.spent) >= s.config.Grace {
		s.stats.Reuses++
		s.stats.FamiliesRevoked++
		token.family.revoked = true
		oauthError(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	s.stats.Refreshes++
	if s.config.KeepRefreshTokens {
		s.answerToken(w, token.family, token.scope, "")
		return
	}
	if token.spent.IsZero() {
		token.spent = now
	}
	s.answerToken(w, token.family, token.scope, s.issueRefresh(token.family, token.scope))
}

func (s *AuthServer) answerToken(w http.ResponseWriter, f *family, scope, refresh string) {
	answer := map[string]any{"access_token": s.issueAccess(f), "token_type": "Bearer"}
	if s.config.TokenLifetime > 0 {
		answer["expires_in"] = int64(s.config.TokenLifetime / time.Second)
	}
	if scope != "" {
		answer["scope"] = scope
	}
	if refresh != "" {
		answer["refresh_token"] = refresh
	}
	answerJSON(w, http.StatusOK, answer)
}

func (s *AuthServer) issueAccess(f *family) string {
	token := "access-" + rand.Text()
	issued := &accessToken{family: f}
	if s.config.TokenLifetime > 0 {
		issued.expires = time.Now().Add(s.config.TokenLifetime)
	}
	s.access[token] = issued
	return token
}

func (s *AuthServer) issueRefresh(f *family, scope string) string {
	token := "refresh-" + rand.Text()
	s.refresh[token] = &refreshToken{family: f, scope: scope}
	return token
}

// serveRevoke answers 200 for tokens that it does not know, as RFC 7009, section
// 2.2, demands.
func (s *AuthServer) serveRevoke(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.authenticated(r) {
		oauthError(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	s.stats.Revocations++
	s.revoke(r.FormValue("token"))
}

func (s *AuthServer) revoke(token string) {
	if r := s.refresh[token]; r != nil {
		r.family.revoked = true
	}
	if a := s.access[token]; a != nil {
		a.family.revoked = true
	}
}

func (s *AuthServer) liveAccess(token string) bool {
	a := s.access[token]
	return a != nil && !a.family.revoked && (a.expires.IsZero() || time.Now().Before(a.expires))
}

func (s *AuthServer) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !s.liveAccess(token) {
		oauthError(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	answerJSON(w, http.StatusOK, map[string]any{"sub": "user-1", "email": "user@example.com"})
}

func (s *AuthServer) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, map[string]any{
		"issuer":                 s.URL,
		"authorization_endpoint": s.URL + "/authorize",
		"token_endpoint":         s.URL + "/token",
		"revocation_endpoint":    s.URL + "/revoke",
		"authorization_response_iss_parameter_supported": true,
	})
}

func answerJSON(w http.ResponseWriter, status int, answer map[string]any) {
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // a test server's own maps always marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func oauthError(w http.ResponseWriter, status int, code string) {
	answerJSON(w, status, map[string]any{"error": code, "error_description": "as scripted: " + code})
}
