package main

import (
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/socket/client"
)

// TestQuickBooks has its redirect say which company it is about: realmId, which
// no answer repeats and each call of its API needs.
func TestQuickBooks(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "quickbooks")
	state := v.authorize(client.StartRequest{ProviderID: "quickbooks"}, "appcenter.intuit.com/connect/oauth2",
		with(challenged, "scope", "com.intuit.quickbooks.accounting"))
	exchange := v.codeForm("code-1")
	v.expect(call{request: "POST oauth.platform.intuit.com/oauth2/v1/tokens/bearer", form: exchange, answer: `{"token_type": "bearer",
		"access_token": "qb-access", "refresh_token": "qb-refresh", "expires_in": 3600, "x_refresh_token_expires_in": 8726400}`})
	c, err := v.d.Callback(t.Context(), client.CallbackRequest{Code: "code-1", State: state, Params: map[string]string{"realmId": "9130", "other": "x"}})
	if err != nil {
		t.Fatalf("Callback() = %v", err)
	}
	v.wantCaptured(c.ID, map[string]any{"realmId": "9130"})
	v.d.wantToken(c.ID, "qb-access", "com.intuit.quickbooks.accounting", 1, time.Hour)

	// The same by the browser's own redirect.
	state = v.authorize(client.StartRequest{ProviderID: "quickbooks", ExistingCredentialID: c.ID}, "appcenter.intuit.com/connect/oauth2",
		with(challenged, "scope", "com.intuit.quickbooks.accounting"))
	exchange["code"] = "code-2"
	v.expect(call{request: "POST oauth.platform.intuit.com/oauth2/v1/tokens/bearer", form: exchange, answer: `{"token_type": "bearer",
		"access_token": "qb-access-2", "refresh_token": "qb-refresh-2", "expires_in": 3600}`})
	if status, _, page := ask(t, "GET", v.d.callback()+"?code=code-2&realmId=9131&state="+state, ""); status != 200 {
		t.Fatalf("GET callback = %d %s, want the page that says so", status, page)
	}
	v.wantCaptured(c.ID, map[string]any{"realmId": "9131"})
}

// TestThreads has a second exchange for a token that lasts, and renews that token
// by itself; developers.facebook.com has both in threads/get-started/long-lived-tokens.
func TestThreads(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "threads")
	state := v.authorize(client.StartRequest{ProviderID: "threads"}, "threads.net/oauth/authorize", with(challenged, "scope", "threads_basic"))
	long := call{request: "GET graph.threads.net/access_token?access_token=th-short&client_secret=" + vendorClientSecret + "&grant_type=th_exchange_token",
		answer: `{"access_token": "th-long-1", "token_type": "bearer", "expires_in": 5183944}`}
	v.expect(
		call{request: "POST graph.threads.net/oauth/access_token", form: v.codeForm("code-1"), answer: `{"access_token": "th-short", "user_id": 17841405793187218}`},
		long,
	)
	id := v.connect("code-1", state)
	v.d.wantToken(id, "th-long-1", "threads_basic", 1, 5183944*time.Second)
	v.expect(call{request: "GET graph.threads.net/refresh_access_token?access_token=th-long-1&grant_type=th_refresh_token",
		answer: `{"access_token": "th-long-2", "token_type": "bearer", "expires_in": 5183944}`})
	v.d.refresh(id)
	v.d.wantToken(id, "th-long-2", "threads_basic", 2, 5183944*time.Second)

	// Without the second token there is none to keep.
	state = v.authorize(client.StartRequest{ProviderID: "threads"}, "threads.net/oauth/authorize", with(challenged, "scope", "threads_basic"))
	refused := long
	refused.status, refused.answer = 400, `{"error": {"message": "Session key invalid.", "code": 452}}`
	v.expect(
		call{request: "POST graph.threads.net/oauth/access_token", form: v.codeForm("code-2"), answer: `{"access_token": "th-short", "user_id": 17841405793187218}`},
		refused,
	)
	v.wantConnectError("code-2", state, "400")
}

// TestXero has to be asked which tenants a token is for. A token is not lost
// where that fails: it is asked again with the next one, and then no more.
func TestXero(t *testing.T) {
	t.Parallel()
	v := startVendor(t, "xero")
	d := v.d
	state := v.authorize(client.StartRequest{ProviderID: "xero", Scopes: []string{"accounting.transactions"}},
		"login.xero.com/identity/connect/authorize", with(challenged, "scope", "accounting.transactions offline_access openid"))
	tokens := func(n string) string {
		return `{"access_token": "xero-access-` + n + `", "refresh_token": "xero-refresh-` + n + `", "expires_in": 1800, "token_type": "Bearer", "scope": "accounting.transactions offline_access openid"}`
	}
	v.expect(
		call{request: "POST identity.xero.com/connect/token", form: v.codeForm("code-1"), answer: tokens("1")},
		call{request: "GET api.xero.com/connections", bearer: "xero-access-1", status: 503, answer: `{"Title": "Unavailable"}`},
	)
	id := v.connect("code-1", state)
	d.wantToken(id, "xero-access-1", "accounting.transactions offline_access openid", 1, 30*time.Minute)
	v.wantCaptured(id, nil)
	v.expect(
		call{request: "POST identity.xero.com/connect/token", form: refreshForm("xero-refresh-1"), answer: tokens("2")},
		call{request: "GET api.xero.com/connections", bearer: "xero-access-2", answer: `[{"id": "e1eede29", "tenantId": "70784a63-d24b-46a9-a4db-0e70a274b056", "tenantType": "ORGANISATION", "tenantName": "Maple Florist"}]`},
	)
	d.refresh(id)
	v.wantCaptured(id, map[string]any{"tenant_id": "70784a63-d24b-46a9-a4db-0e70a274b056", "tenant_name": "Maple Florist"})
	v.expect(call{request: "POST identity.xero.com/connect/token", form: refreshForm("xero-refresh-2"), answer: tokens("3")})
	d.refresh(id)
	d.wantToken(id, "xero-access-3", "accounting.transactions offline_access openid", 3, 30*time.Minute)
	v.wantCaptured(id, map[string]any{"tenant_id": "70784a63-d24b-46a9-a4db-0e70a274b056", "tenant_name": "Maple Florist"})
}

// TestShopIsTidied lets people paste the address of their shop, and no other.
func TestShopIsTidied(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	begin := func(shop string) (client.Started, error) {
		return d.Start(t.Context(), client.StartRequest{
			ProviderID: "shopify", ClientID: "c", ClientSecret: "hush", RedirectURI: "https://front.example/callback", Inputs: map[string]string{"shop": shop},
		})
	}
	for _, shop := range []string{"mine", " https://mine.myshopify.com", "mine.myshopify.com"} {
		started, err := begin(shop)
		if err != nil || !strings.HasPrefix(started.AuthorizationURL, "https://mine.myshopify.com/admin/oauth/authorize?") {
			t.Errorf("Start(%q) = %+v, %v, want the page of mine.myshopify.com", shop, started, err)
		}
	}
	for _, shop := range []string{"https://evil.example", "evil.example/", "mine.myshopify.com/x", ""} {
		_, err := begin(shop)
		wantError(t, "Start("+shop+")", err, 400, "invalid_request")
	}
}

// wantCaptured looks at what a runner sees of what was captured.
func (v *vendor) wantCaptured(id string, want map[string]any) {
	v.t.Helper()
	resolved, err := v.d.Resolve(v.t.Context(), id, client.ReadOptions{})
	if err != nil {
		v.t.Fatalf("Resolve(%s) = %v", id, err)
	}
	got, _ := resolved.Config["captured"].(map[string]any)
	if len(got) != len(want) {
		v.t.Errorf("Resolve(%s) has captured %v, want %v", id, got, want)
	}
	for name, value := range want {
		if got[name] != value {
			v.t.Errorf("Resolve(%s) has captured %s = %v, want %v", id, name, got[name], value)
		}
	}
}
