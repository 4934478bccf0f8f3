package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

func linearTokens(n string) string {
	return `{"access_token": "linear-access-` + n + `", "token_type": "Bearer", "expires_in": 86399, "scope": "read write", "refresh_token": "linear-refresh-` + n + `"}`
}

// TestLinear speaks as linear.app/developers/oauth-2-0-authentication has it. Read
// on 2026-11-25. It names no errors but one: those here are RFC 6749's, and
// GraphQL's, which come with HTTP 200 too.
func TestLinear(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "linear")
	d := v.d
	page, token := "linear.app/oauth/authorize", "POST api.linear.app/oauth/token"
	asked := with(challenged, "scope", "read,write,issues:create,comments:create")
	start := client.StartRequest{ProviderID: "linear"}
	const day = 86399 * time.Second

	state := v.authorize(start, page, asked)
	v.expect(call{request: token, form: v.codeForm("linear-code-1"), answer: linearTokens("1")})
	id := v.connect("linear-code-1", state)
	d.wantToken(id, "linear-access-1", "read write", 1, day)

	viewer := call{
		request: "POST api.linear.app/graphql", bearer: "linear-access-1", json: map[string]string{"query": "{ viewer { id name email } }"},
		answer: `{"data": {"viewer": {"id": "9cfb482a-81e3-4154-b5b9-2c805e70a02d", "name": "Ada", "email": "ada@example.com"}}}`,
	}
	dead, unauthorized := viewer, viewer
	dead.answer = `{"errors": [{"message": "Authentication required, not authenticated", "extensions": {"type": "authentication error", "code": "AUTHENTICATION_ERROR", "userError": true}}]}`
	unauthorized.status, unauthorized.answer = 401, dead.answer
	v.expect(viewer, dead, unauthorized)
	d.wantTest(id, "")
	d.wantTest(id, "200")
	d.wantTest(id, "401")

	v.expect(call{request: token, form: refreshForm("linear-refresh-1"), answer: linearTokens("2")})
	d.refresh(id)
	d.wantToken(id, "linear-access-2", "read write", 2, day)

	// A request can be replayed for 30 minutes, should its answer get lost.
	v.expect(lost(token, refreshForm("linear-refresh-2")), call{request: token, form: refreshForm("linear-refresh-2"), answer: linearTokens("3")})
	d.wantRefreshError(id, http.StatusBadGateway, "provider_error")
	d.refresh(id)
	d.wantToken(id, "linear-access-3", "read write", 3, day)

	v.expect(call{request: token, form: refreshForm("linear-refresh-3"), status: 400, answer: `{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}`})
	d.wantRefreshError(id, http.StatusConflict, "reauth_required")
	d.wantStatus(id, "reauth_required", "invalid_grant")

	// Apps from before December 2023 are answered the scope as a list.
	state = v.authorize(client.StartRequest{ExistingCredentialID: id}, page, asked)
	v.expect(call{request: token, form: v.codeForm("linear-code-2"), answer: `{"access_token": "linear-access-4", "token_type": "Bearer", "expires_in": 86399, "scope": ["read", "write"], "refresh_token": "linear-refresh-4"}`})
	v.connect("linear-code-2", state)
	d.wantToken(id, "linear-access-4", "read write", 4, day)

	// The access token is its own proof: 200, 400 "unable to revoke token (e.g.
	// token was already revoked)", 401 "unable to authenticate with the token".
	revoke := call{request: "POST api.linear.app/oauth/revoke", bearer: "linear-access-4", form: map[string]string{}, answer: `{"success": true}`}
	refused, gone := revoke, revoke
	refused.status, refused.answer = 401, `{"error": "unauthorized", "error_description": "Unable to authenticate with the token"}`
	gone.status, gone.answer = 400, `{"error": "invalid_request", "error_description": "Unable to revoke token"}`
	v.wantNotRevoked(id, refused, http.StatusBadGateway, "provider_error")
	v.wantRevoked(id, revoke)
	state = v.authorize(start, page, asked)
	v.expect(call{request: token, form: v.codeForm("linear-code-4"), answer: linearTokens("4")})
	v.wantRevoked(v.connect("linear-code-4", state), gone)

	for _, test := range []struct {
		status       int
		code, answer string
	}{
		{400, "invalid_grant", `{"error": "invalid_grant", "error_description": "Invalid authorization code"}`},
		{400, "400", `{"error": "Error", "error_description": "A sentence."}`},
		{401, "invalid_client", `{"error": "invalid_client", "error_description": "Invalid client credentials"}`},
	} {
		state := v.authorize(start, page, asked)
		v.expect(call{request: token, form: v.codeForm("linear-code-3"), status: test.status, answer: test.answer})
		v.wantConnectError("linear-code-3", state, test.code)
	}
}
