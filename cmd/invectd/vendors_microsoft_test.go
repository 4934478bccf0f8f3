package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// microsoftError is an error as Microsoft answers it.
func microsoftError(code string, number int) string {
	return fmt.Sprintf(`{"error": %q, "error_description": "AADSTS%d: A sentence.\r\nTrace ID: 0000aaaa-11bb-cccc-dd22-eeeeee333333\r\nCorrelation ID: aaaa0000-bb11-2222-33cc-444444dddddd\r\nTimestamp: 2016-01-09 02:02:12Z",
		"error_codes": [%d], "timestamp": "2016-01-09 02:02:12Z", "trace_id": "0000aaaa-11bb-cccc-dd22-eeeeee333333",
		"correlation_id": "aaaa0000-bb11-2222-33cc-444444dddddd"}`, code, number, number)
}

func microsoftTokens(n int) string {
	return fmt.Sprintf(`{"access_token": "microsoft-access-%d", "token_type": "Bearer", "expires_in": 3599,
		"scope": "https://graph.microsoft.com/mail.read", "refresh_token": "microsoft-refresh-%d", "id_token": "e30.e30.c2ln"}`, n, n)
}

// TestMicrosoft speaks as MicrosoftDocs/entra-docs has it in
// identity-platform/v2-oauth2-auth-code-flow.md and refresh-tokens.md. Read on
// 2026-11-25. What Graph answers to GET /me is as commonly known.
func TestMicrosoft(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "microsoft")
	d := v.d
	tenant := "contoso.onmicrosoft.com"
	page := "login.microsoftonline.com/" + tenant + "/oauth2/v2.0/authorize"
	token := "POST login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token"
	// offline_access is added: without it there would be no refresh token.
	asked := with(challenged, "response_mode", "query", "scope", "https://graph.microsoft.com/mail.read offline_access")
	granted := "https://graph.microsoft.com/mail.read"

	state := v.authorize(client.StartRequest{
		ProviderID: "microsoft", Scopes: []string{granted}, Inputs: map[string]string{"tenant": tenant},
	}, page, asked)
	v.expect(call{request: token, form: v.codeForm("microsoft-code-1"), answer: microsoftTokens(1)})
	id := v.connect("microsoft-code-1", state)
	d.wantToken(id, "microsoft-access-1", granted, 1, 3599*time.Second)

	me := call{request: "GET graph.microsoft.com/v1.0/me", bearer: "microsoft-access-1", answer: `{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users/$entity", "businessPhones": ["+1 412 555 0109"],
		"displayName": "Megan Bowen", "userPrincipalName": "MeganB@contoso.com", "id": "48d31887-5fad-4d73-a9f5-3c356e68a038"}`}
	dead := me
	dead.status, dead.answer = 401, `{"error": {"code": "InvalidAuthenticationToken", "message": "Access token has expired or is not yet valid.",
		"innerError": {"date": "2026-11-25T10:00:00", "request-id": "r", "client-request-id": "c"}}}`
	v.expect(me, dead)
	d.wantTest(id, "")
	d.wantTest(id, "401")
	v.wantNoRevocation(id)

	v.expect(call{request: token, form: refreshForm("microsoft-refresh-1"), answer: microsoftTokens(2)})
	d.refresh(id)
	d.wantToken(id, "microsoft-access-2", granted, 2, 3599*time.Second)

	// A refresh token that was used is not revoked: after an answer that got lost
	// it is sent again.
	v.expect(lost(token, refreshForm("microsoft-refresh-2")), call{request: token, form: refreshForm("microsoft-refresh-2"), answer: microsoftTokens(3)})
	d.wantRefreshError(id, http.StatusBadGateway, "provider_error")
	d.wantStatus(id, "degraded", "no JSON")
	d.refresh(id)
	d.wantToken(id, "microsoft-access-3", granted, 3, 3599*time.Second)

	v.expect(call{request: token, form: refreshForm("microsoft-refresh-3"), status: 401, answer: microsoftError("invalid_client", 7000222)})
	d.wantRefreshError(id, http.StatusBadGateway, "provider_error") // the secret is out of date
	d.wantStatus(id, "degraded", "401 invalid_client")

	for i, test := range []struct {
		code   string
		number int
	}{{"invalid_grant", 700082}, {"interaction_required", 50076}, {"consent_required", 65001}} {
		v.expect(call{request: token, form: refreshForm(fmt.Sprintf("microsoft-refresh-%d", 3+i)), status: 400, answer: microsoftError(test.code, test.number)})
		d.wantRefreshError(id, http.StatusConflict, "reauth_required")
		d.wantStatus(id, "reauth_required", test.code)

		// Reconnecting goes to the same tenant.
		state := v.authorize(client.StartRequest{ExistingCredentialID: id}, page, asked)
		v.expect(call{request: token, form: v.codeForm("microsoft-code-2"), answer: microsoftTokens(4 + i)})
		v.connect("microsoft-code-2", state)
		d.wantStatus(id, "active", "")
	}
}

// TestMicrosoftCommon has what holds where nobody names a tenant or scopes, and
// the errors of an exchange. The documents are those of TestMicrosoft.
func TestMicrosoftCommon(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "microsoft")
	page := "login.microsoftonline.com/common/oauth2/v2.0/authorize"
	token := "POST login.microsoftonline.com/common/oauth2/v2.0/token"
	scopes := strings.Join([]string{
		"openid profile email offline_access User.Read Calendars.Read Calendars.Read.Shared Calendars.ReadWrite",
		"Mail.Read Mail.ReadBasic Mail.ReadWrite Mail.ReadWrite.Shared Mail.Send Mail.Send.Shared MailboxSettings.Read",
		"Contacts.Read Contacts.ReadWrite OnlineMeetings.Read OnlineMeetingTranscript.Read.All Group.ReadWrite.All",
		"Team.ReadBasic.All Team.Create TeamMember.ReadWrite.All Channel.ReadBasic.All Channel.Create Channel.Delete.All",
		"ChannelMember.ReadWrite.All Chat.ReadWrite Chat.Create ChatMember.ReadWrite ChatMessage.Send ChatMessage.Read",
		"ChannelMessage.Send ChannelMessage.Read.All TeamsActivity.Send Files.Read Files.Read.All Files.ReadWrite Files.ReadWrite.All",
	}, " ")
	for _, test := range []struct {
		code           string
		number, status int
	}{{"invalid_grant", 70008, 400}, {"invalid_client", 7000215, 401}, {"invalid_scope", 70011, 400}, {"consent_required", 65001, 400}} {
		state := v.authorize(client.StartRequest{ProviderID: "microsoft"}, page, with(challenged, "response_mode", "query", "scope", scopes))
		v.expect(call{request: token, form: v.codeForm("microsoft-code-3"), status: test.status, answer: microsoftError(test.code, test.number)})
		v.wantConnectError("microsoft-code-3", state, fmt.Sprintf("%d %s", test.status, test.code))
	}
	_, err := v.d.Start(t.Context(), client.StartRequest{ProviderID: "microsoft", Inputs: map[string]string{"tenant": "evil.example/x?"}})
	wantError(t, "Start(a tenant that is no name)", err, http.StatusBadRequest, "invalid_request")
}
