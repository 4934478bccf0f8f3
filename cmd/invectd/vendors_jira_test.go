package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

func jiraTokens(n string) string {
	return `{"access_token": "jira-access-` + n + `", "refresh_token": "jira-refresh-` + n + `", "expires_in": 3600,
		"scope": "read:jira-work write:jira-work offline_access", "token_type": "Bearer"}`
}

// TestJira speaks as developer.atlassian.com has it in
// cloud/jira/platform/oauth-2-3lo-apps, cloud/oauth/getting-started/refresh-tokens
// and …/making-calls-to-api: JSON, with the client in the body. The 10 minutes in
// which a spent refresh token may be sent again are those of Atlassian's staff in
// community.developer.atlassian.com/t/54172. Read on 2026-11-25. PKCE is not
// documented for these apps, and accepted.
func TestJira(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "jira")
	d := v.d
	page, token := "auth.atlassian.com/authorize", "POST auth.atlassian.com/oauth/token"
	asked := with(challenged, "audience", "api.atlassian.com", "prompt", "consent", "scope", "read:jira-work write:jira-work read:jira-user offline_access")
	granted := "read:jira-work write:jira-work offline_access"
	start := client.StartRequest{ProviderID: "jira"}
	refused := func(refreshToken, code, description string) call {
		return call{request: token, json: refreshForm(refreshToken), status: 403, answer: `{"error": "` + code + `", "error_description": "` + description + `"}`}
	}

	state := v.authorize(start, page, asked)
	v.expect(call{request: token, json: v.codeForm("jira-code-1"), answer: jiraTokens("1")})
	id := v.connect("jira-code-1", state)
	d.wantToken(id, "jira-access-1", granted, 1, time.Hour)

	sites := call{request: "GET api.atlassian.com/oauth/token/accessible-resources", bearer: "jira-access-1", answer: `[{
		"id": "1324a887-45db-1bf4-1e99-ef0ff456d421", "name": "Site name", "url": "https://your-domain.atlassian.net",
		"scopes": ["write:jira-work", "read:jira-user"], "avatarUrl": "https:\/\/site-admin-avatar-cdn.prod.public.atl-paas.net\/avatars\/240\/flag.png"}]`}
	dead := sites
	dead.status, dead.answer = 401, `{"code": 401, "message": "Unauthorized"}`
	v.expect(sites, dead)
	d.wantTest(id, "")
	d.wantTest(id, "401")
	v.wantNoRevocation(id)

	// Each use answers the next refresh token and disables the one before.
	v.expect(call{request: token, json: refreshForm("jira-refresh-1"), answer: jiraTokens("2")},
		call{request: token, json: refreshForm("jira-refresh-2"), answer: jiraTokens("3")})
	d.refresh(id)
	d.refresh(id)
	d.wantToken(id, "jira-access-3", granted, 3, time.Hour)

	lostOne := lost(token, nil)
	lostOne.json = refreshForm("jira-refresh-3")
	v.expect(lostOne, call{request: token, json: refreshForm("jira-refresh-3"), answer: jiraTokens("4")})
	d.wantRefreshError(id, http.StatusBadGateway, "provider_error")
	d.refresh(id)
	d.wantToken(id, "jira-access-4", granted, 4, time.Hour)

	for _, test := range []struct{ code, description string }{
		{"unauthorized_client", "refresh_token is invalid"},
		{"invalid_grant", "Unknown or invalid refresh token."},
	} {
		v.expect(refused("jira-refresh-4", test.code, test.description))
		d.wantRefreshError(id, http.StatusConflict, "reauth_required")
		d.wantStatus(id, "reauth_required", test.code)
		state := v.authorize(client.StartRequest{ExistingCredentialID: id}, page, asked)
		v.expect(call{request: token, json: v.codeForm("jira-code-2"), answer: jiraTokens("4")})
		v.connect("jira-code-2", state)
	}

	for _, test := range []struct {
		status int
		code   string
	}{{403, "invalid_grant"}, {401, "access_denied"}, {400, "invalid_request"}} {
		state := v.authorize(start, page, asked)
		v.expect(call{request: token, json: v.codeForm("jira-code-3"), status: test.status, answer: `{"error": "` + test.code + `", "error_description": "Invalid authorization code"}`})
		v.wantConnectError("jira-code-3", state, test.code)
	}
}
