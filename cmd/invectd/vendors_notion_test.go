package main

import (
	"net/http"
	"testing"

	"github.com/invectd/invectd/socket/client"
)

const (
	notionToken = "POST api.notion.com/v1/oauth/token"
	notionPage  = "api.notion.com/v1/oauth/authorize"
)

// notionCall is a token request: JSON, with the client in HTTP Basic.
func notionCall(answer string, params ...string) call {
	return call{request: notionToken, basic: true, answer: answer, json: with(map[string]string{}, params...)}
}

func notionTokens(n string) string {
	return `{"access_token": "ntn_access-` + n + `", "token_type": "bearer", "refresh_token": "nrt_refresh-` + n + `",
		"bot_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "workspace_icon": null, "workspace_name": "Ada's Notion Workspace",
		"workspace_id": "3c90c3cc-0d44-4b50-8888-8dd25736052b",
		"owner": {"type": "user", "user": {"type": "person", "person": {"email": "ada@example.com"}, "name": "Ada",
			"avatar_url": null, "id": "3c90c3cc-0d44-4b50-8888-8dd25736052c", "object": "user"}},
		"duplicated_template_id": null, "request_id": "3c90c3cc-0d44-4b50-8888-8dd25736052d"}`
}

// notionError is an error as Notion answers it.
func notionError(code, status, message string) string {
	return `{"object": "error", "status": ` + status + `, "code": "` + code + `", "message": "` + message + `",
		"request_id": "3c90c3cc-0d44-4b50-8888-8dd25736052e"}`
}

// TestNotion speaks as developers.notion.com has it in reference/create-a-token,
// …/refresh-a-token, …/revoke-token and …/status-codes, and the changelog of 2021-10-04 has users/me.
// Read on 2026-11-25.
func TestNotion(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "notion")
	d := v.d
	asked := map[string]string{"owner": "user"} // no scope, no PKCE
	start := client.StartRequest{ProviderID: "notion"}
	exchange := func(code, answer string) call {
		return notionCall(answer, "grant_type", "authorization_code", "code", code, "redirect_uri", d.callback())
	}
	renew := func(refreshToken, answer string) call {
		return notionCall(answer, "grant_type", "refresh_token", "refresh_token", refreshToken)
	}

	state := v.authorize(start, notionPage, asked)
	v.expect(exchange("notion-code-1", notionTokens("1")))
	id := v.connect("notion-code-1", state)
	d.wantToken(id, "ntn_access-1", "", 1, 0) // nothing says when it ends
	resolved, err := d.Resolve(t.Context(), id, client.ReadOptions{})
	if captured, _ := resolved.Config["captured"].(map[string]any); err != nil || captured["workspace_name"] != "Ada's Notion Workspace" ||
		captured["workspace_id"] != "3c90c3cc-0d44-4b50-8888-8dd25736052b" || captured["bot_id"] != "3c90c3cc-0d44-4b50-8888-8dd25736052a" {
		t.Errorf("Resolve(%s) = %+v, %v, want the workspace and the bot", id, resolved, err)
	}

	me := call{request: "GET api.notion.com/v1/users/me", bearer: "ntn_access-1", headers: map[string]string{"Notion-Version": "2022-06-28"}, answer: `{
		"object": "user", "id": "16d84278-ab0e-484c-9bdd-b35da3bd8905", "name": "pied piper", "avatar_url": null, "type": "bot",
		"bot": {"owner": {"type": "user", "user": {"object": "user", "id": "5389a034-eb5c-47b5-8a9e-f79c99ef166c"}}}}`}
	dead := me
	dead.status, dead.answer = 401, notionError("unauthorized", "401", "API token is invalid.")
	v.expect(me, dead)
	d.wantTest(id, "")
	d.wantTest(id, "401 unauthorized")

	v.expect(renew("nrt_refresh-1", notionTokens("2")))
	d.refresh(id)
	d.wantToken(id, "ntn_access-2", "", 2, 0)

	limited := renew("nrt_refresh-2", notionError("rate_limited", "429", "You have been rate limited. Please try again in a few minutes."))
	limited.status, limited.reply = 429, map[string]string{"Retry-After": "60"}
	v.expect(limited)
	d.wantRefreshError(id, http.StatusServiceUnavailable, "provider_unavailable")
	d.wantStatus(id, "degraded", "429 rate_limited")

	// Both are seen in the wild: Notion's own shape, and RFC 6749's.
	for _, answer := range []string{
		notionError("invalid_grant", "400", "Invalid refresh token."),
		`{"error": "invalid_grant", "error_description": "Token has been expired or revoked.", "request_id": "3c90c3cc"}`,
	} {
		dead := renew("nrt_refresh-2", answer)
		dead.status = 400
		v.expect(dead)
		d.wantRefreshError(id, http.StatusConflict, "reauth_required")
		d.wantStatus(id, "reauth_required", "invalid_grant")
		state := v.authorize(client.StartRequest{ExistingCredentialID: id}, notionPage, asked)
		v.expect(exchange("notion-code-2", notionTokens("2")))
		v.connect("notion-code-2", state)
	}

	for _, test := range []struct {
		status       int
		code, answer string
	}{
		{400, "invalid_grant", notionError("invalid_grant", "400", "Invalid code: this code has been revoked.")},
		{400, "validation_error", notionError("validation_error", "400", "body failed validation: body.redirect_uri should be not present.")},
		{401, "invalid_client", `{"error": "invalid_client", "request_id": "3c90c3cc"}`},
		{503, "", notionError("service_unavailable", "503", "Notion is unavailable, please try again later.")},
	} {
		state := v.authorize(start, notionPage, asked)
		refused := exchange("notion-code-3", test.answer)
		refused.status = test.status
		v.expect(refused)
		if test.status != 503 {
			v.wantConnectError("notion-code-3", state, test.code)
			continue
		}
		_, err := d.Callback(t.Context(), client.CallbackRequest{Code: "notion-code-3", State: state})
		wantError(t, "Callback(while Notion is away)", err, http.StatusServiceUnavailable, "provider_unavailable")
	}

	revoke := call{
		request: "POST api.notion.com/v1/oauth/revoke", basic: true, headers: map[string]string{"Notion-Version": "2022-06-28"},
		json: map[string]string{"token": "ntn_access-2"}, answer: `{"request_id": "3c90c3cc-0d44-4b50-8888-8dd25736052a"}`,
	}
	refused, gone := revoke, revoke
	refused.status, refused.answer = 401, notionError("invalid_client", "401", "Invalid client")
	gone.status, gone.answer = 400, notionError("invalid_grant", "400", "Invalid token")
	v.wantNotRevoked(id, refused, http.StatusBadGateway, "provider_error")
	v.wantRevoked(id, revoke)
	state = v.authorize(start, notionPage, asked)
	v.expect(exchange("notion-code-4", notionTokens("2")))
	v.wantRevoked(v.connect("notion-code-4", state), gone)
}
