package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// TestErrorTable sends each error of the domain through the whole server.
func TestErrorTable(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "mail", 0) // has expired, so that each read refreshes
	provider := func(e broker.ProviderError) error {
		e.Op, e.Provider, e.Host = "refresh", "acme", "acme.example"
		return fmt.Errorf("refreshing: %w", &broker.RetryError{After: 1500 * time.Millisecond, Err: &e})
	}
	for _, test := range []struct {
		err        error
		status     int
		code       string
		retryAfter string
	}{
		{&broker.InvalidError{Message: "config.x: is wrong", Fields: []broker.FieldError{{Path: "config.x", Message: "is wrong"}}}, 400, "invalid_request", ""},
		{broker.ErrInvalidState, 400, "invalid_state", ""},
		{broker.ErrForbidden, 403, "forbidden", ""},
		{broker.ErrAccessDenied, 403, "access_denied", ""},
		{fmt.Errorf("credential: %w", broker.ErrNotFound), 404, "not_found", ""},
		{broker.ErrUnknownProvider, 404, "unknown_provider", ""},
		{broker.ErrAmbiguousName, 409, "ambiguous_name", ""},
		{broker.ErrAmbiguousProvider, 409, "ambiguous_provider", ""},
		{broker.ErrConflict, 409, "conflict", ""},
		{&broker.ReauthorizeError{ID: "i", Provider: "acme"}, 409, "reauth_required", ""},
		{broker.ErrAuthorizationPending, 409, "authorization_pending", ""},
		{broker.ErrNoToken, 409, "no_token", ""},
		{broker.ErrDisabled, 409, "disabled", ""},
		{broker.ErrShuttingDown, 503, "shutting_down", "1"},
		{fmt.Errorf("full: %w", broker.ErrStoreUnavailable), 503, "store_unavailable", "1"},
		{broker.ErrWaitEnded, 503, "provider_unavailable", "1"},
		{&broker.RetryError{After: time.Minute, Err: broker.ErrWaitEnded}, 503, "provider_unavailable", "60"},
		{&broker.RetryError{After: -time.Minute, Err: broker.ErrStoreUnavailable}, 503, "store_unavailable", "1"},
		{provider(broker.ProviderError{Sent: broker.SentNever, Err: errors.New("refused")}), 503, "provider_unavailable", "2"},
		{provider(broker.ProviderError{Sent: broker.SentUnknown, Err: errors.New("reset")}), 503, "provider_unavailable", "2"},
		{provider(broker.ProviderError{Sent: broker.SentAnswered, Status: 500}), 503, "provider_unavailable", "2"},
		{provider(broker.ProviderError{Sent: broker.SentAnswered, Status: 429}), 503, "provider_unavailable", "2"},
		{provider(broker.ProviderError{Sent: broker.SentUnknown, Timeout: true}), 504, "provider_timeout", "2"},
		{provider(broker.ProviderError{Sent: broker.SentAnswered, Status: 200, Err: errors.New("no JSON")}), 502, "provider_error", "2"},
		{provider(broker.ProviderError{Sent: broker.SentAnswered, Status: 401, Code: "invalid_client"}), 502, "provider_error", "2"},
		{&broker.ProviderError{Sent: broker.SentAnswered, Status: 400, Code: "invalid_request"}, 502, "provider_error", ""},
		{&broker.ProviderError{Sent: broker.SentAnswered, Status: 503, RetryAfter: 9 * time.Second}, 503, "provider_unavailable", "9"},
	} {
		f.refresher.fail(test.err)
		got := f.do(t, "GET", "/credentials/mail/token", "")
		var body client.ErrorBody
		if err := json.Unmarshal([]byte(got.body), &body); err != nil {
			t.Errorf("%v: body %q is no JSON", test.err, got.body)
		}
		if got.status != test.status || body.Code != test.code || got.header.Get("Retry-After") != test.retryAfter || body.Error == "" {
			t.Errorf("%v = %d %q Retry-After %q %q, want %d %q Retry-After %q", test.err, got.status, body.Code, got.header.Get("Retry-After"), body.Error, test.status, test.code, test.retryAfter)
		}
		if got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%v: header %v, want JSON, no-store and nosniff", test.err, got.header)
		}
	}
	if log := f.log.String(); log != "" {
		t.Errorf("log = %s, want nothing: the caller heard all", log)
	}
}

func TestReauthSaysHowToConnect(t *testing.T) {
	f := newFixture(t)
	c := f.oauth(t, "mail", 0)
	f.refresher.fail(&broker.ReauthorizeError{ID: broker.ID(c.ID), Name: "mail", Provider: "acme", Reason: "invalid_grant"})
	_, err := f.client.Token(t.Context(), "mail", client.ReadOptions{})
	e := failure(t, err)
	if e.Connect == nil || e.Connect.Path != "/credentials/oauth2/start" || e.Connect.Body.ExistingCredentialID != c.ID || e.Connect.Command != "invectd connect acme --existing "+c.ID {
		t.Fatalf("connect = %+v, want how to reconnect", e.Connect)
	}
	// What it says works as it stands.
	body, _ := json.Marshal(e.Connect.Body)
	if got := f.do(t, e.Connect.Method, e.Connect.Path, string(body)); got.status != http.StatusOK {
		t.Errorf("%s %s %s = %d %s, want 200", e.Connect.Method, e.Connect.Path, body, got.status, got.body)
	}
}

func TestUnknownErrorIsFixedAndLoggedOnce(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "mail", 0)
	f.refresher.fail(errors.New("an unforeseen thing"))
	got := f.do(t, "GET", "/credentials/mail/token", "")
	if got.status != http.StatusInternalServerError || !strings.Contains(got.body, `"code":"internal"`) || strings.Contains(got.body, "unforeseen") {
		t.Errorf("GET = %d %s, want a fixed 500", got.status, got.body)
	}
	if n := strings.Count(f.log.String(), "an unforeseen thing"); n != 1 {
		t.Errorf("the log has it %d times, want once: %s", n, f.log.String())
	}
}

func TestPanicIsNotShown(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "mail", 0)
	f.refresher.refresh = func(context.Context, broker.ID, broker.Need) (broker.Token, error) { panic("with a secret-token") }
	got := f.do(t, "GET", "/credentials/mail/token", "")
	if got.status != http.StatusInternalServerError || !strings.Contains(got.body, `"code":"internal"`) {
		t.Errorf("GET = %d %s, want a fixed 500", got.status, got.body)
	}
	if log := f.log.String(); strings.Contains(log, "secret-token") || strings.Count(log, "a request handler panicked") != 1 {
		t.Errorf("log = %s, want the panic without its value", log)
	}
}

func TestAmbiguity(t *testing.T) {
	f := newFixture(t)
	f.oauth(t, "mail", time.Hour)
	f.oauth(t, "mail", time.Hour)
	for path, want := range map[string]string{"/credentials/mail/token": "ambiguous_name", "/credentials/mail": "ambiguous_name", "/token?provider=acme": "ambiguous_provider"} {
		if got := f.do(t, "GET", path, ""); got.status != http.StatusConflict || !strings.Contains(got.body, want) {
			t.Errorf("GET %s = %d %s, want 409 %s", path, got.status, got.body, want)
		}
	}
}

func TestStoreUnavailable(t *testing.T) {
	f := newFixture(t)
	f.store.Fail(errors.New("disk full"))
	got := f.do(t, "POST", "/credentials", `{"authType":"bearer","config":{"token":"t"}}`)
	if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "store_unavailable") {
		t.Errorf("POST = %d %s, want 503 store_unavailable", got.status, got.body)
	}
	for _, path := range []string{"/readyz", "/healthz"} {
		if got := f.do(t, "GET", path, ""); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, `"store":"unavailable"`) {
			t.Errorf("GET %s = %d %s, want 503", path, got.status, got.body)
		}
	}
	first, err := f.client.Status(t.Context())
	if err != nil || first.Store.Writable || len(first.Problems) != 1 || first.Problems[0].Todo == "" {
		t.Fatalf("Status = %+v, %v, want the problem", first, err)
	}
	if second, err := f.client.Status(t.Context()); err != nil || !second.Problems[0].Since.Equal(first.Problems[0].Since) {
		t.Errorf("Status = %+v, %v, want the problem since %v", second, err, first.Problems[0].Since)
	}
	f.store.Fail(nil)
	if ready, err := f.client.Ready(t.Context()); err != nil || ready.Status != "ok" || ready.Checks["store"] != "ok" {
		t.Errorf("Ready = %+v, %v, want ok", ready, err)
	}
	status, err := f.client.Status(t.Context())
	if err != nil || len(status.Problems) != 0 || status.Version != "1.2.3" || status.Providers != 1 || status.Listeners["socket"] != f.path || len(status.Credentials) != 6 {
		t.Errorf("Status = %+v, %v, want no problem", status, err)
	}
}
