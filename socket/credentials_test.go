package socket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// TestContractShapes creates with curl's own words and compares whole answers.
func TestContractShapes(t *testing.T) {
	f := newFixture(t)
	created := f.do(t, "POST", "/credentials", `{"type":"api_key","name":"My OpenAI Key","userId":"user_123","config":{"apiKey":"sk-1","paramName":"x-key"}}`)
	if created.status != http.StatusCreated {
		t.Fatalf("POST = %d %s, want 201", created.status, created.body)
	}
	var c map[string]any
	if err := json.Unmarshal([]byte(created.body), &c); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"name": "My OpenAI Key", "type": "api_key", "authType": "apiKey", "provider": nil, "description": nil, "isActive": true,
		"isShared": false, "workspaceId": nil, "status": "active", "statusReason": nil, "generation": 1.0, "expiresAt": nil,
		"nextRefreshAt": nil, "lastRefreshAt": nil, "lastUsedAt": nil,
	} {
		if got, ok := c[field]; !ok || got != want {
			t.Errorf("%s = %v (present %v), want %v", field, got, ok, want)
		}
	}
	if got, want := fmt.Sprint(c["config"], c["metadata"]), fmt.Sprintf("map[apiKey:%s paramName:x-key] map[]", broker.Mask); got != want {
		t.Errorf("config, metadata = %s, want %s", got, want)
	}
	id := c["id"].(string)
	for path, want := range map[string]string{
		"/token":   `{"credentialId":"` + id + `","accessToken":"sk-1","tokenType":"ApiKey","generation":1}`,
		"/header":  `{"x-key":"sk-1"}`,
		"/resolve": `{"id":"` + id + `","name":"My OpenAI Key","type":"api_key","authType":"apiKey","config":{"apiKey":"sk-1","paramName":"x-key"}}`,
	} {
		if got := f.do(t, "GET", "/credentials/"+id+path, ""); got.status != http.StatusOK || strings.TrimSpace(got.body) != want {
			t.Errorf("GET %s = %d %s, want 200 %s", path, got.status, got.body, want)
		}
	}
	shown := f.do(t, "GET", "/credentials/"+id, "")
	if strings.Contains(shown.body, "sk-1") || !strings.Contains(shown.body, `"lastUsedAt":"20`) {
		t.Errorf("GET = %s, want no secret and a lastUsedAt", shown.body)
	}
	if list := f.do(t, "GET", "/credentials?includeShared=true&type=api_key", ""); strings.Contains(list.body, `"config"`) || !strings.Contains(list.body, id) {
		t.Errorf("GET /credentials = %s, want the entry without config", list.body)
	}
}

func TestToken(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "Work mail", time.Hour)
	got := f.do(t, "GET", "/credentials/Work%20mail/token?wait=5s&minValidity=60", "")
	if got.status != http.StatusOK || got.header.Get("ETag") != `"1"` || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("GET token = %d %v, want 200 with ETag and no-store", got.status, got.header)
	}
	var token client.Token
	if err := json.Unmarshal([]byte(got.body), &token); err != nil {
		t.Fatalf("Unmarshal(%s): %v", got.body, err)
	}
	if token.CredentialID != c.ID || token.Provider != "acme" || token.AccessToken != "access-1" || token.TokenType != "Bearer" ||
		token.Scope != "read write" || token.ExpiresIn == nil || *token.ExpiresIn < 3590 || *token.ExpiresIn > 3600 || token.Generation != 1 || token.Degraded {
		t.Errorf("token = %+v, want that of the credential", token)
	}
	if !token.ExpiresAt.Equal(*c.ExpiresAt) {
		t.Errorf("expiresAt = %v, want %v as the credential has it", token.ExpiresAt, c.ExpiresAt)
	}
	f.age(t, c.ID, 24*time.Hour)
	renewed, err := f.client.Token(t.Context(), c.ID, client.ReadOptions{MinValidity: 2 * time.Hour})
	if err != nil || renewed.AccessToken != "renewed" || renewed.Generation != 2 {
		t.Errorf("Token(minValidity=2h) = %+v, %v, want a renewed one", renewed, err)
	}
	if only, err := f.client.ProviderToken(t.Context(), "acme", client.ReadOptions{}); err != nil || only.CredentialID != c.ID {
		t.Errorf("ProviderToken = %+v, %v, want that of %s", only, err, c.ID)
	}
	// The token is brand-new, so a runner's word does not renew it again.
	if same, err := f.client.Rejected(t.Context(), c.ID, 2, client.ReadOptions{}); err != nil || same.Generation != 2 {
		t.Errorf("Rejected(2) = %+v, %v, want generation 2", same, err)
	}
	for _, query := range []string{"wait=-1s", "wait=soon", "minValidity=-5", "minValidity=1.5"} {
		if got := f.do(t, "GET", "/credentials/"+c.ID+"/token?"+query, ""); got.status != http.StatusBadRequest {
			t.Errorf("GET token?%s = %d, want 400", query, got.status)
		}
	}
}

func TestDegradedToken(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "mail", 30*time.Second)
	f.age(t, c.ID, time.Hour)
	f.refresher.fail(&broker.RetryError{After: time.Minute, Err: &broker.ProviderError{Op: "refresh", Provider: "acme", Timeout: true}})
	token, err := f.client.Token(t.Context(), "mail", client.ReadOptions{MinValidity: time.Minute})
	if err != nil || token.AccessToken != "access-1" || !token.Degraded {
		t.Errorf("Token = %+v, %v, want a degraded one", token, err)
	}
}

func TestAppendTokenIsTheWireType(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 5, 5, 500, time.UTC)
	for _, text := range []string{"", "plain", `quote " and \ slash`, "ünïcode ✉ \u2028", "control \x00\x1f\n\x7f", "bad \xff utf-8", "<html>&amp;"} {
		for _, expires := range []time.Time{{}, now.Add(90*time.Minute + time.Nanosecond), now.Add(-time.Minute)} {
			reading := broker.Reading{Degraded: text == "", Token: broker.Token{
				CredentialID: broker.ID(text), Provider: text, Access: broker.NewSecret(text), Type: text, Scope: text, ExpiresAt: expires, Generation: 1 << 63,
			}}
			var got client.Token
			data := appendToken(nil, reading, now)
			if err := json.Unmarshal(data, &got); err != nil {
				t.Errorf("appendToken(%q) = %s: %v", text, data, err)
				continue
			}
			clean := strings.ToValidUTF8(text, "\uFFFD")
			want := client.Token{CredentialID: clean, Provider: clean, AccessToken: clean, TokenType: clean, Scope: clean, Generation: 1 << 63, Degraded: text == ""}
			if !expires.IsZero() {
				want.ExpiresAt = expires.Truncate(time.Second)
				want.ExpiresIn = new(max(0, int64(expires.Sub(now)/time.Second)))
			}
			gotJSON, _ := json.Marshal(got)
			wantJSON, _ := json.Marshal(want)
			if string(gotJSON) != string(wantJSON) {
				t.Errorf("appendToken(%q) = %s, want %s", text, gotJSON, wantJSON)
			}
		}
	}
}

func TestUpdateChangesJustTheFieldsGiven(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "mail", time.Hour)
	for _, step := range []struct{ method, body, want string }{
		{"PATCH", `{"description":"for reports","workspaceId":"w"}`, `"description":"for reports"`},
		{"PUT", `{"name":"post"}`, `"description":"for reports"`},
		{"PUT", `{"description":null,"provider":null,"status":"x","userId":1,"createdAt":"never"}`, `"description":null`},
		{"PATCH", `{"isActive":null,"name":null,"metadata":null,"config":null}`, `"name":"post"`},
		{"PATCH", `{"workspaceId":null}`, `"workspaceId":null`},
		{"PUT", `{"isActive":false}`, `"status":"disabled"`},
		{"PUT", `{"isActive":true,"config":{"accessToken":"` + broker.Mask + `","scope":null,"n":123456789012345678901}}`, `"n":123456789012345678901`},
	} {
		got := f.do(t, step.method, "/credentials/"+c.ID, step.body)
		if got.status != http.StatusOK || !strings.Contains(got.body, step.want) {
			t.Errorf("%s %s = %d %s, want 200 with %s", step.method, step.body, got.status, got.body, step.want)
		}
	}
	token, err := f.client.Token(t.Context(), "post", client.ReadOptions{})
	if err != nil || token.AccessToken != "access-1" || token.Generation != 1 || token.Scope != "" {
		t.Errorf("Token = %+v, %v, want the first one without a scope", token, err)
	}
	if test, err := f.client.TestCredential(t.Context(), "post"); err != nil || !test.Success {
		t.Errorf("TestCredential = %+v, %v, want success", test, err)
	}
	if got := f.do(t, "POST", "/credentials/post/refresh", "", "Content-Type", "application/json"); got.status != http.StatusOK || !strings.Contains(got.body, `"generation":2`) {
		t.Errorf("POST refresh = %d %s, want generation 2", got.status, got.body)
	}
	if err := f.client.DeleteCredential(t.Context(), c.ID, true); err != nil {
		t.Errorf("DeleteCredential = %v, want nil", err)
	}
	if !slices.Equal(f.provider.revoked, []string{"refresh-1"}) {
		t.Errorf("revoked %v, want the refresh token", f.provider.revoked)
	}
	if e := failure(t, f.client.DeleteCredential(t.Context(), c.ID, false)); e.Status != http.StatusNotFound {
		t.Errorf("DeleteCredential again = %+v, want 404", e)
	}
}

func TestPages(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("c%d", i)
		if _, err := f.client.CreateCredential(t.Context(), client.CredentialInput{
			Name: &name, AuthType: new("bearer"), IsActive: new(i != 3), Config: map[string]any{"token": "t"},
		}); err != nil {
			t.Fatal(err)
		}
		if i != 3 {
			want = append(want, name)
		}
	}
	slices.Reverse(want)
	var got []string
	filter := client.Filter{Limit: 2, IsActive: new(true), AuthType: "bearer"}
	for pages := 1; ; pages++ {
		list, next, err := f.client.Credentials(t.Context(), filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			got = append(got, c.Name)
		}
		if filter.Cursor = next; next == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages hold %v, want %v, the newest first", got, want)
	}
	for _, query := range []string{"limit=0", "limit=x", "cursor=x", "cursor=eHg", "isActive=maybe"} {
		if got := f.do(t, "GET", "/credentials?"+query, ""); got.status != http.StatusBadRequest {
			t.Errorf("GET /credentials?%s = %d, want 400", query, got.status)
		}
	}
}

func TestRegistry(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	d := broker.Definition{ID: "my_service", Name: "My Service", AuthorizationURL: "https://my.example/a", TokenURL: "https://my.example/t"}
	made, err := f.client.CreateProvider(ctx, d, false)
	if err != nil || made.Source != broker.SourceAPI || made.SupportsRefresh == nil || made.DefaultScopes == nil || made.Category == "" {
		t.Fatalf("CreateProvider = %+v, %v, want it completed", made, err)
	}
	if e := failureOf(t)(f.client.CreateProvider(ctx, d, false)); e.Code != "conflict" {
		t.Errorf("CreateProvider again = %+v, want conflict", e)
	}
	made.Name = "Mine"
	echoed, _ := json.Marshal(made) // with its source, as it was answered
	if got := f.do(t, "PUT", "/credentials/oauth2/providers/my_service", string(echoed)); got.status != http.StatusOK || !strings.Contains(got.body, `"name":"Mine"`) {
		t.Errorf("PUT of an answer = %d %s, want 200", got.status, got.body)
	}
	d.ID = "acme"
	if e := failureOf(t)(f.client.PutProvider(ctx, d, false)); e.Code != "conflict" {
		t.Errorf("PutProvider(acme) = %+v, want conflict", e)
	}
	if over, err := f.client.PutProvider(ctx, d, true); err != nil || over.Source != broker.SourceAPI {
		t.Errorf("PutProvider(acme, override) = %+v, %v, want it in force", over, err)
	}
	if err := f.client.DeleteProvider(ctx, "acme"); err != nil {
		t.Errorf("DeleteProvider = %v, want nil", err)
	}
	list, err := f.client.Providers(ctx)
	if err != nil || len(list) != 2 || list[0].Source != broker.SourceBuiltin {
		t.Errorf("Providers = %+v, %v, want acme, built in again, and my_service", list, err)
	}
	if e := failureOf(t)(f.client.Provider(ctx, "none")); e.Code != "unknown_provider" || e.Status != http.StatusNotFound {
		t.Errorf("Provider(none) = %+v, want 404 unknown_provider", e)
	}
	for _, body := range []string{`{"id":"other","name":"x"}`, `{"id":"my_service","name":"N","authorizationUrl":"http://my.example/a","tokenUrl":"https://my.example/t"}`, `{"refresh":{"lead":"long"}}`, `{"tokenResponse":{"scope":{}}}`} {
		if got := f.do(t, "PUT", "/credentials/oauth2/providers/my_service", body); got.status != http.StatusBadRequest || !strings.Contains(got.body, "invalid_request") {
			t.Errorf("PUT %s = %d %s, want 400 invalid_request", body, got.status, got.body)
		}
	}
}

func TestApps(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	app, err := f.client.PutApp(ctx, client.App{ProviderID: "acme", ClientID: "id", ClientSecret: "hush", PrivateKeyID: "k"})
	if err != nil || app.ClientSecret != broker.Mask || app.ClientID != "id" || app.PrivateKey != "" {
		t.Fatalf("PutApp = %+v, %v, want it masked", app, err)
	}
	app.ClientID = "id-2"
	if _, err := f.client.PutApp(ctx, app); err != nil {
		t.Fatal(err)
	}
	if stored, err := f.store.App(ctx, "acme"); err != nil || stored.Client.Secret.Reveal() != "hush" || stored.Client.ID != "id-2" {
		t.Errorf("stored app = %+v, %v, want the masked secret kept", stored, err)
	}
	if list, err := f.client.Apps(ctx); err != nil || len(list) != 1 || list[0].ClientSecret != broker.Mask {
		t.Errorf("Apps = %+v, %v, want one, masked", list, err)
	}
	if e := failureOf(t)(f.client.PutApp(ctx, client.App{ProviderID: "none", ClientID: "x"})); e.Code != "unknown_provider" {
		t.Errorf("PutApp(none) = %+v, want unknown_provider", e)
	}
	if got := f.do(t, "PUT", "/credentials/oauth2/apps/acme", `{"providerId":"other","clientId":"x"}`); got.status != http.StatusBadRequest {
		t.Errorf("PUT with another providerId = %d, want 400", got.status)
	}
	if err := f.client.DeleteApp(ctx, "acme"); err != nil {
		t.Errorf("DeleteApp = %v, want nil", err)
	}
	if e := failureOf(t)(f.client.App(ctx, "acme")); e.Status != http.StatusNotFound {
		t.Errorf("App = %+v, want 404", e)
	}
}

// failure returns what the daemon answered.
func failure(t *testing.T, err error) *client.Error {
	t.Helper()
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		t.Fatalf("error = %v, want one of the daemon's", err)
	}
	return e
}

// failureOf is failure for calls that return something too.
func failureOf(t *testing.T) func(_ any, err error) *client.Error {
	return func(_ any, err error) *client.Error {
		t.Helper()
		return failure(t, err)
	}
}
