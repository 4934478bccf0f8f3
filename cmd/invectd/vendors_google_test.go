package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

const (
	googleToken     = "POST oauth2.googleapis.com/token"
	googleTokenInfo = "POST oauth2.googleapis.com/tokeninfo"
	googleAuth      = "https://www.googleapis.com/auth/"
)

// TestGoogle speaks as "Using OAuth 2.0 for Web Server Applications"
// (developers.google.com/identity/protocols/oauth2/web-server) has it, read in
// parts, and its example answers as others quote them. The tokeninfo request is that of Google's own googleapis/google-auth-library-nodejs,
// OAuth2Client.getTokenInfo. Read on 2026-11-25.
func TestGoogle(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "google")
	d := v.d
	page := "accounts.google.com/o/oauth2/v2/auth"
	asked := with(challenged, "access_type", "offline", "prompt", "consent", "scope", strings.Join([]string{
		googleAuth + "gmail.readonly", googleAuth + "gmail.compose", googleAuth + "gmail.modify", googleAuth + "gmail.labels",
		googleAuth + "drive", googleAuth + "drive.file", googleAuth + "drive.appdata", googleAuth + "drive.metadata",
		googleAuth + "documents", googleAuth + "spreadsheets", googleAuth + "calendar", googleAuth + "calendar.events",
		googleAuth + "analytics.readonly", googleAuth + "analytics",
	}, " "))

	// The person may leave boxes unticked: what was granted counts.
	granted := googleAuth + "drive.metadata " + googleAuth + "calendar"
	state := v.authorize(client.StartRequest{ProviderID: "google"}, page, asked)
	v.expect(call{request: googleToken, form: v.codeForm("4/google-code-1"), answer: `{
		"access_token": "ya29.google-access-1", "expires_in": 3920, "token_type": "Bearer",
		"scope": "` + granted + `", "refresh_token": "1//google-refresh-1"}`})
	id := v.connect("4/google-code-1", state)
	d.wantToken(id, "ya29.google-access-1", granted, 1, 3920*time.Second)
	if c := d.credential(id); c.Name != "Google" || c.Config["scope"] != granted || len(c.Metadata["scopes"].([]any)) != 14 {
		t.Errorf("credential = %+v, want the scope that was granted, beside those that were asked for", c)
	}

	// Any living token can be tested, though openid was never asked for.
	v.expect(call{request: googleTokenInfo, bearer: "ya29.google-access-1", answer: `{
		"azp": "client.1", "aud": "client.1", "scope": "` + granted + `", "exp": "1795694400", "expires_in": "3588", "access_type": "offline"}`},
		call{request: googleTokenInfo, bearer: "ya29.google-access-1", status: 400, answer: `{"error": "invalid_token", "error_description": "Invalid Value"}`})
	d.wantTest(id, "")
	d.wantTest(id, "400 invalid_token")

	// Answers to a refresh have no refresh token: the old one is sent for ever.
	for _, access := range []string{"ya29.google-access-2", "ya29.google-access-3"} {
		v.expect(call{request: googleToken, form: refreshForm("1//google-refresh-1"), answer: `{
			"access_token": "` + access + `", "expires_in": 3599, "scope": "` + granted + `", "token_type": "Bearer"}`})
		d.refresh(id)
	}
	d.wantToken(id, "ya29.google-access-3", granted, 3, 3599*time.Second)

	// Too many requests, as RFC 6585 has it: Google documents no other shape here.
	v.expect(call{
		request: googleToken, form: refreshForm("1//google-refresh-1"), status: 429,
		answer: `{"error": "rate_limit_exceeded"}`, reply: map[string]string{"Retry-After": "120"},
	})
	if e := d.wantRefreshError(id, http.StatusServiceUnavailable, "provider_unavailable"); e.RetryAfter < 2*time.Minute || e.RetryAfter > 3*time.Minute {
		t.Errorf("Retry-After = %v, want Google's two minutes and some jitter", e.RetryAfter)
	}
	d.wantStatus(id, "degraded", "429 rate_limit_exceeded")
	d.wantToken(id, "ya29.google-access-3", granted, 3, 3599*time.Second)

	v.expect(call{request: googleToken, form: refreshForm("1//google-refresh-1"), status: 400, answer: `{
		"error": "invalid_grant", "error_description": "Token has been expired or revoked."}`})
	if e := d.wantRefreshError(id, http.StatusConflict, "reauth_required"); e.Connect == nil || e.Connect.Body.ExistingCredentialID != id {
		t.Errorf("the error says %+v, want how to connect again", e.Connect)
	}
	d.wantStatus(id, "reauth_required", "invalid_grant")

	// Reconnecting asks for what was asked for before, and brings all of it now.
	state = v.authorize(client.StartRequest{ExistingCredentialID: id}, page, asked)
	v.expect(call{request: googleToken, form: v.codeForm("4/google-code-2"), answer: `{
		"access_token": "ya29.google-access-4", "expires_in": 3599, "refresh_token": "1//google-refresh-2",
		"scope": "` + asked["scope"] + `", "token_type": "Bearer", "refresh_token_expires_in": 604799}`})
	if again := v.connect("4/google-code-2", state); again != id {
		t.Errorf("reconnecting made %s, want %s", again, id)
	}
	d.wantToken(id, "ya29.google-access-4", asked["scope"], 4, 3599*time.Second)

	// Google asks for the token alone. 400 comes "along with an error code".
	revoke := call{request: "POST oauth2.googleapis.com/revoke", form: map[string]string{"token": "1//google-refresh-2"}, answer: `{}`}
	refused := revoke
	refused.status, refused.answer = 400, `{"error": "invalid_request", "error_description": "Bad Request"}`
	v.wantNotRevoked(id, refused, http.StatusBadGateway, "provider_error")
	v.wantRevoked(id, revoke)
}

// TestGoogleRefuses has the errors of the same document that come with the
// redirect and with the exchange.
func TestGoogleRefuses(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "google")
	start := client.StartRequest{ProviderID: "google", Scopes: []string{googleAuth + "calendar"}}
	page := "accounts.google.com/o/oauth2/v2/auth"
	asked := with(challenged, "access_type", "offline", "prompt", "consent", "scope", googleAuth+"calendar")

	for _, test := range []struct {
		code   string
		status int
	}{{"admin_policy_enforced", http.StatusBadGateway}, {"access_denied", http.StatusForbidden}} {
		state := v.authorize(start, page, asked)
		status, _, body := ask(t, "GET", v.d.callback()+"?error="+test.code+"&state="+state, "")
		if status != test.status || !strings.Contains(body, "Not connected") {
			t.Errorf("the redirect with %s is answered %d %s, want %d", test.code, status, body, test.status)
		}
	}
	if log := v.d.log.String(); !strings.Contains(log, "admin_policy_enforced") {
		t.Errorf("the log does not name admin_policy_enforced:\n%s", log)
	}

	for _, test := range []struct {
		status int
		answer string
		reason string
	}{
		{400, `{"error": "invalid_grant", "error_description": "Malformed auth code."}`, "400 invalid_grant"},
		{401, `{"error": "invalid_client", "error_description": "The OAuth client was not found."}`, "401 invalid_client"},
		{400, `{"error": "redirect_uri_mismatch", "error_description": "Bad Request"}`, "400 redirect_uri_mismatch"},
	} {
		state := v.authorize(start, page, asked)
		v.expect(call{request: googleToken, form: v.codeForm("4/google-code-3"), status: test.status, answer: test.answer})
		v.wantConnectError("4/google-code-3", state, test.reason)
	}
}
