package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

const (
	githubToken = "POST github.com/login/oauth/access_token"
	githubPage  = "github.com/login/oauth/authorize"
)

// githubError is an error as GitHub answers it, with HTTP 200.
func githubError(code string) string {
	return `{"error": "` + code + `", "error_description": "A sentence.",
		"error_uri": "/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#` + code + `"}`
}

// githubRevoke is "Delete an app authorization" of github/docs,
// rest/apps/oauth-applications, read on 2026-11-25: 204, or 422 where "validation
// failed, or the endpoint has been spammed". That a token which is unknown gets
// 404 is in none of them, but known.
func githubRevoke(token string, status int) call {
	c := call{
		request: "DELETE api.github.com/applications/" + vendorClientID + "/grant", basic: true, status: status,
		headers: map[string]string{"Accept": "application/vnd.github+json"}, json: map[string]string{"access_token": token},
	}
	if status != http.StatusNoContent {
		c.answer = `{"message": "A sentence.", "documentation_url": "https://docs.github.com/rest/apps/oauth-applications#delete-an-app-authorization"}`
	}
	return c
}

// TestGitHubOAuthApp speaks as github/docs has it in "Authorizing OAuth apps"
// and "Troubleshooting OAuth app access token request errors", and the changelog
// of 2025-07-14 ("PKCE support for OAuth and GitHub App authentication"). Read on
// 2026-11-25. The parameter grant_type is RFC 6749's; GitHub's table lacks it.
func TestGitHubOAuthApp(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "github")
	d := v.d
	start := client.StartRequest{ProviderID: "github", CredentialName: "Work"}
	asked := with(challenged, "scope", "repo read:user user:email")

	state := v.authorize(start, githubPage, asked)
	v.expect(call{request: githubToken, form: v.codeForm("github-code-1"),
		answer: `{"access_token":"gho_access-1", "scope":"repo,gist", "token_type":"bearer"}`})
	id := v.connect("github-code-1", state)
	d.wantToken(id, "gho_access-1", "repo gist", 1, 0)
	if c := d.credential(id); c.Name != "Work" || c.ExpiresAt != nil || c.NextRefreshAt != nil {
		t.Errorf("credential = %+v, want one that never expires", c)
	}
	d.wantRefreshError(id, http.StatusConflict, "reauth_required")
	d.wantStatus(id, "active", "")

	user := call{request: "GET api.github.com/user", bearer: "gho_access-1", answer: `{"login": "octocat", "id": 1, "type": "User", "name": "monalisa octocat"}`}
	dead := user
	dead.status, dead.answer = 401, `{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"}`
	v.expect(user, dead)
	d.wantTest(id, "")
	d.wantTest(id, "401")
	for _, code := range []string{"bad_verification_code", "incorrect_client_credentials", "redirect_uri_mismatch", "unverified_user_email"} {
		state := v.authorize(start, githubPage, asked)
		v.expect(call{request: githubToken, form: v.codeForm("github-code-2"), answer: githubError(code)})
		v.wantConnectError("github-code-2", state, "200 "+code)
	}

	v.wantNotRevoked(id, githubRevoke("gho_access-1", 401), http.StatusBadGateway, "provider_error")
	v.wantNotRevoked(id, githubRevoke("gho_access-1", 422), http.StatusBadGateway, "provider_error")
	v.wantRevoked(id, githubRevoke("gho_access-1", 204))

	// The person was faster.
	state = v.authorize(start, githubPage, asked)
	v.expect(call{request: githubToken, form: v.codeForm("github-code-5"), answer: `{"access_token":"gho_access-2", "scope":"repo,gist", "token_type":"bearer"}`})
	id = v.connect("github-code-5", state)
	v.wantRevoked(id, githubRevoke("gho_access-2", 404))
}

// TestGitHubApp speaks as github/docs has it in "Generating a user access token
// for a GitHub App" and "Refreshing user access tokens". Read on 2026-11-25. The code bad_refresh_token is
// in none of them, but known.
func TestGitHubApp(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "github")
	d := v.d
	start := client.StartRequest{ProviderID: "github", Scopes: []string{}} // permissions are the App's own

	// Where JSON is not asked for the answer is a form, which is understood too.
	state := v.authorize(start, githubPage, challenged)
	v.expect(call{request: githubToken, form: v.codeForm("github-code-3"), answer: "access_token=ghu_access-1&expires_in=28800" +
		"&refresh_token=ghr_refresh-1&refresh_token_expires_in=15897600&scope=&token_type=bearer"})
	id := v.connect("github-code-3", state)
	d.wantToken(id, "ghu_access-1", "", 1, 8*time.Hour)

	// Using a refresh token kills it and the old access token.
	v.expect(call{request: githubToken, form: refreshForm("ghr_refresh-1"), answer: `{"access_token": "ghu_access-2", "expires_in": 28800,
		"refresh_token": "ghr_refresh-2", "refresh_token_expires_in": 15897600, "scope": "", "token_type": "bearer"}`})
	d.refresh(id)
	d.wantToken(id, "ghu_access-2", "", 2, 8*time.Hour)

	// The client's secret was changed at GitHub: the operator's business.
	v.expect(call{request: githubToken, form: refreshForm("ghr_refresh-2"), answer: githubError("incorrect_client_credentials")})
	d.wantRefreshError(id, http.StatusBadGateway, "provider_error")
	d.wantStatus(id, "degraded", "200 incorrect_client_credentials")
	d.wantToken(id, "ghu_access-2", "", 2, 8*time.Hour)

	// An answer that got lost took the only next token with it.
	v.expect(lost(githubToken, refreshForm("ghr_refresh-2")),
		call{request: githubToken, form: refreshForm("ghr_refresh-2"), answer: githubError("bad_refresh_token")})
	d.wantRefreshError(id, http.StatusBadGateway, "provider_error")
	d.wantRefreshError(id, http.StatusConflict, "reauth_required")
	d.wantStatus(id, "reauth_required", "interrupted_rotation")

	state = v.authorize(client.StartRequest{ExistingCredentialID: id}, githubPage, challenged)
	v.expect(call{request: githubToken, form: v.codeForm("github-code-4"), answer: `{"access_token": "ghu_access-3", "expires_in": 28800,
		"refresh_token": "ghr_refresh-3", "refresh_token_expires_in": 15897600, "scope": "", "token_type": "bearer"}`})
	if again := v.connect("github-code-4", state); again != id {
		t.Errorf("reconnecting made %s, want %s", again, id)
	}
	d.wantToken(id, "ghu_access-3", "", 3, 8*time.Hour)

	// A token that has ended is renewed first: to GitHub it would be unknown, and
	// the grant would live on.
	v.expect(call{request: githubToken, form: refreshForm("ghr_refresh-3"), answer: `{"access_token": "ghu_access-4", "expires_in": 28800,
		"refresh_token": "ghr_refresh-4", "refresh_token_expires_in": 15897600, "scope": "", "token_type": "bearer"}`},
		githubRevoke("ghu_access-4", 204))
	v.end(id)
	v.wantDeleted(id, true)
}

// TestGitHubAppDead has a grant of which nothing can be revoked any more. The
// documents are those of TestGitHubApp.
func TestGitHubAppDead(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "github")
	state := v.authorize(client.StartRequest{ProviderID: "github", Scopes: []string{}}, githubPage, challenged)
	v.expect(call{request: githubToken, form: v.codeForm("github-code-6"), answer: `{"access_token": "ghu_access-5", "expires_in": 28800,
		"refresh_token": "ghr_refresh-5", "refresh_token_expires_in": 15897600, "scope": "", "token_type": "bearer"}`})
	id := v.connect("github-code-6", state)
	v.expect(call{request: githubToken, form: refreshForm("ghr_refresh-5"), answer: githubError("bad_refresh_token")})
	v.end(id)
	err := v.d.DeleteCredential(t.Context(), id, true)
	if got := wantError(t, "DeleteCredential(a dead grant, revoke)", err, http.StatusBadRequest, "invalid_request"); !strings.Contains(got.Message, "without revoke") {
		t.Errorf("DeleteCredential(a dead grant, revoke) says %q, want what to do", got.Message)
	}
	v.wantDeleted(id, false)
}
