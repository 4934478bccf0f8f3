package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

const (
	slackToken = "POST slack.com/api/oauth.v2.access"
	slackPage  = "slack.com/oauth/v2/authorize"
	slackBot   = "channels:read,channels:write,chat:write,users:read,im:read,im:write,groups:read"
	slackLife  = 43200 * time.Second
)

// slackCode is the exchange of a code: the client is in HTTP Basic, as Slack
// prefers, and there is no PKCE.
func (v *vendor) slackCode(code, answer string) call {
	return call{request: slackToken, basic: true, answer: answer, form: map[string]string{
		"grant_type": "authorization_code", "code": code, "redirect_uri": v.d.callback(),
	}}
}

func slackRefresh(refreshToken, answer string) call {
	return call{request: slackToken, basic: true, answer: answer, form: map[string]string{
		"grant_type": "refresh_token", "refresh_token": refreshToken,
	}}
}

// slackBoth is the answer to a code where the app has token rotation, with the
// tokens of a bot and of a user.
func slackBoth(n string) string {
	return `{"ok": true, "access_token": "xoxe.xoxb-bot-` + n + `", "token_type": "bot", "scope": "channels:read,chat:write",
		"bot_user_id": "U0KRQLJ9H", "app_id": "A0KRD7HC3", "expires_in": 43200, "refresh_token": "xoxe-1-bot-` + n + `",
		"team": {"name": "Slack Softball Team", "id": "T9TK3CUKW"}, "enterprise": {"name": "slack-sports", "id": "E12345678"}, "is_enterprise_install": false,
		"authed_user": {"id": "U1234", "scope": "search:read,users:read", "access_token": "xoxe.xoxp-user-` + n + `",
			"expires_in": 43200, "refresh_token": "xoxe-1-user-` + n + `", "token_type": "user"}}`
}

// slackRotated is the answer to a refresh, which has one token, always at the top.
func slackRotated(kind, access, refresh, scope string) string {
	return `{"ok": true, "app_id": "A0KRD7HC3", "access_token": "` + access + `", "expires_in": 43200, "refresh_token": "` + refresh + `",
		"token_type": "` + kind + `", "scope": "` + scope + `", "team": {"name": "Slack Softball Team", "id": "T9TK3CUKW"},
		"enterprise": null, "is_enterprise_install": false}`
}

// slackRevoke is auth.revoke, which with rotation ends "a single token (a refresh
// token, a bot access token that expires, or a user access token that expires)".
func slackRevoke(token, answer string) call {
	return call{request: "POST slack.com/api/auth.revoke", bearer: token, form: map[string]string{}, answer: answer}
}

const slackRevoked = `{"ok": true, "revoked": true}`

// TestSlackRotation speaks as docs.slack.dev has it in "Using token rotation",
// reference/methods/oauth.v2.access, …/auth.test and …/auth.revoke, and as the type
// OAuthV2TokenRefreshResponse of its node SDK. Read on 2026-11-25. The parameter
// user_scope is as its SDKs send it.
func TestSlackRotation(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "slack")
	d := v.d
	asked := map[string]string{"scope": slackBot, "user_scope": "search:read,users:read"}
	params := map[string]string{"user_scope": asked["user_scope"]}

	state := v.authorize(client.StartRequest{ProviderID: "slack", CredentialName: "Team", Params: params}, slackPage, asked)
	v.expect(v.slackCode("slack-code-1", slackBoth("1")))
	bot := v.connect("slack-code-1", state)
	d.wantToken(bot, "xoxe.xoxb-bot-1", "channels:read chat:write", 1, slackLife)
	d.wantToken("Team (user)", "xoxe.xoxp-user-1", "search:read users:read", 1, slackLife)
	user := d.credential("Team (user)")
	if user.Metadata["connectedWith"] != bot || user.ID == bot {
		t.Errorf("credential of the user = %+v, want one of its own that is connected with %s", user, bot)
	}
	resolved, err := d.Resolve(t.Context(), bot, client.ReadOptions{})
	if captured, _ := resolved.Config["captured"].(map[string]any); err != nil || captured["team_id"] != "T9TK3CUKW" || captured["enterprise_id"] != "E12345678" || captured["bot_user_id"] != "U0KRQLJ9H" {
		t.Errorf("Resolve(%s) = %+v, %v, want the ids of team, enterprise and bot", bot, resolved, err)
	}

	// Each has a refresh token of its own.
	v.expect(slackRefresh("xoxe-1-user-1", slackRotated("user", "xoxe.xoxp-user-2", "xoxe-1-user-2", "search:read,users:read")))
	d.refresh(user.ID)
	d.wantToken(bot, "xoxe.xoxb-bot-1", "channels:read chat:write", 1, slackLife)
	v.expect(slackRefresh("xoxe-1-bot-1", slackRotated("bot", "xoxe.xoxb-bot-2", "xoxe-1-bot-2", "channels:read,chat:write")))
	d.refresh(bot)
	d.wantToken(bot, "xoxe.xoxb-bot-2", "channels:read chat:write", 2, slackLife)
	d.wantToken(user.ID, "xoxe.xoxp-user-2", "search:read users:read", 2, slackLife)

	whoami := call{request: "POST slack.com/api/auth.test", bearer: "xoxe.xoxb-bot-2", answer: `{"ok": true, "url": "https://subarachnoid.slack.com/",
		"team": "Subarachnoid Workspace", "user": "grace", "team_id": "T12345678", "user_id": "W12345678"}`}
	dead := whoami
	dead.answer = `{"ok": false, "error": "token_revoked"}`
	v.expect(whoami, dead)
	d.wantTest(bot, "")
	d.wantTest(bot, "token_revoked")

	// Errors come with HTTP 200, a limit with 429.
	limited := slackRefresh("xoxe-1-bot-2", `{"ok": false, "error": "ratelimited"}`)
	limited.status, limited.reply = 429, map[string]string{"Retry-After": "30"}
	v.expect(limited)
	if e := d.wantRefreshError(bot, http.StatusServiceUnavailable, "provider_unavailable"); e.RetryAfter < 30*time.Second {
		t.Errorf("Retry-After = %v, want Slack's 30 seconds at least", e.RetryAfter)
	}
	v.expect(slackRefresh("xoxe-1-bot-2", `{"ok": false, "error": "invalid_refresh_token"}`), slackRefresh("xoxe-1-user-2", `{"ok": false, "error": "token_revoked"}`))
	d.wantRefreshError(bot, http.StatusConflict, "reauth_required")
	d.wantStatus(bot, "reauth_required", "invalid_refresh_token")
	d.wantRefreshError(user.ID, http.StatusConflict, "reauth_required")
	d.wantStatus(user.ID, "reauth_required", "token_revoked")

	// One consent mends both.
	state = v.authorize(client.StartRequest{ExistingCredentialID: bot, Params: params}, slackPage, asked)
	v.expect(v.slackCode("slack-code-2", slackBoth("3")))
	if again := v.connect("slack-code-2", state); again != bot {
		t.Errorf("reconnecting made %s, want %s", again, bot)
	}
	d.wantToken(bot, "xoxe.xoxb-bot-3", "channels:read chat:write", 3, slackLife)
	d.wantToken(user.ID, "xoxe.xoxp-user-3", "search:read users:read", 3, slackLife)
	d.wantStatus(user.ID, "active", "")
	if all, _, err := d.Credentials(t.Context(), client.Filter{}); err != nil || len(all) != 2 {
		t.Errorf("Credentials() = %d of them, %v, want 2", len(all), err)
	}

	// Either token has to be revoked. What a person did before, or an attempt that
	// came half the way, does not keep the rest.
	refused := slackRevoke("xoxe-1-bot-3", `{"ok": false, "error": "org_login_required"}`)
	v.wantNotRevoked(bot, refused, http.StatusBadGateway, "provider_error")
	v.wantRevoked(bot, slackRevoke("xoxe-1-bot-3", slackRevoked), slackRevoke("xoxe.xoxb-bot-3", slackRevoked))
	away := slackRevoke("xoxe.xoxp-user-3", "")
	away.status = 503
	v.wantRevokedLater(user.ID, []call{slackRevoke("xoxe-1-user-3", slackRevoked), away},
		[]call{slackRevoke("xoxe.xoxp-user-3", `{"ok": false, "error": "token_revoked"}`)})
}

// TestSlackWithoutRotation has an app that has not opted in, and that asks for
// scopes of the user alone. The documents are those of TestSlackRotation.
func TestSlackWithoutRotation(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "slack")
	d := v.d
	start := client.StartRequest{ProviderID: "slack", Scopes: []string{}, Params: map[string]string{"user_scope": "search:read"}}
	asked := map[string]string{"user_scope": "search:read"}

	state := v.authorize(start, slackPage, asked)
	v.expect(v.slackCode("slack-code-3", `{"ok": true, "app_id": "A0KRD7HC3", "authed_user": {"id": "U1234", "scope": "search:read",
		"access_token": "xoxp-user-1", "token_type": "user"}, "team": {"id": "T9TK3CUKW"}, "enterprise": null, "is_enterprise_install": false}`))
	id := v.connect("slack-code-3", state)
	d.wantToken(id, "xoxp-user-1", "search:read", 1, 0)
	d.wantRefreshError(id, http.StatusConflict, "reauth_required")
	if all, _, err := d.Credentials(t.Context(), client.Filter{}); err != nil || len(all) != 1 {
		t.Errorf("Credentials() = %d of them, %v, want 1", len(all), err)
	}

	for _, code := range []string{"invalid_code", "bad_client_secret", "invalid_client_id", "bad_redirect_uri"} {
		state := v.authorize(start, slackPage, asked)
		v.expect(v.slackCode("slack-code-4", `{"ok": false, "error": "`+code+`"}`))
		v.wantConnectError("slack-code-4", state, "200 "+code)
	}
	v.wantRevoked(id, slackRevoke("xoxp-user-1", `{"ok": false, "error": "invalid_auth"}`)) // gone already
}
