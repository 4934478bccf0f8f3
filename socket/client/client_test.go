package client

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serve answers on a new socket until the test ends.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	path := socketPath(t)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	c := New(path)
	t.Cleanup(c.Close)
	return c
}

func TestNoDaemon(t *testing.T) {
	path := socketPath(t)
	_, err := New(path).Version(t.Context())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "invectd serve") {
		t.Errorf("Version without a socket = %v, want the path and what to do", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	_, err = New(path).Version(t.Context())
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "any more") {
		t.Errorf("Version of a dead socket = %v, want the path and what to do", err)
	}
}

func TestCancelled(t *testing.T) {
	entered := make(chan struct{})
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	go func() {
		<-entered
		cancel(enough)
	}()
	if _, err := c.Token(ctx, "x", ReadOptions{}); !errors.Is(err, enough) {
		t.Errorf("Token = %v, want the cause of the cancellation", err)
	}
}

func TestErrors(t *testing.T) {
	var status int
	var body, retry string
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	})
	status, retry = 409, "7"
	body = `{"error":"a person must consent","code":"reauth_required","details":[{"path":"a","message":"b"}],
		"connect":{"method":"POST","path":"/p","body":{"existingCredentialId":"i"},"command":"invectd connect"}}`
	_, err := c.Credential(t.Context(), "x")
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != 409 || e.Code != CodeReauthRequired || e.Error() != "a person must consent" || e.RetryAfter != 7*time.Second ||
		len(e.Details) != 1 || e.Connect == nil || e.Connect.Body.ExistingCredentialID != "i" {
		t.Errorf("Credential = %+v, want all that was answered", err)
	}
	for _, foreign := range []string{"", "<html>secret", `{"message":"secret"}`, "[]"} {
		status, retry, body = 502, "soon", foreign
		_, err := c.Credential(t.Context(), "x")
		if e, ok := errors.AsType[*Error](err); !ok || e.Status != 502 || e.Code != "" || e.RetryAfter != 0 || strings.Contains(e.Message, "secret") {
			t.Errorf("Credential, answered %q = %v, want an error that does not quote it", foreign, err)
		}
	}
	status, body = 200, "secret"
	if _, err := c.Credential(t.Context(), "x"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Credential, answered no JSON = %v, want an error that does not quote it", err)
	}
}

// TestRequests compares what is sent with the contract.
func TestRequests(t *testing.T) {
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		if r.ContentLength != 0 {
			if r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s: Content-Type %q, want JSON", r.Method, r.URL, r.Header.Get("Content-Type"))
			}
			json.NewDecoder(r.Body).Decode(&body)
		}
		got = strings.TrimSpace(r.Method + " " + r.URL.String() + " " + string(body))
		if r.Method == "DELETE" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Link", `</credentials?cursor=a%2Bb&limit=2>; rel="next"`)
		if strings.HasSuffix(r.URL.Path, "s") && r.Method == "GET" && !strings.HasSuffix(r.URL.Path, "status") {
			w.Write([]byte("[]"))
			return
		}
		w.Write([]byte("{}"))
	})
	ctx := t.Context()
	for want, call := range map[string]func() error{
		"GET /credentials/a%20%2F%3Fb/token?minValidity=5m0s&wait=1s": func() error {
			_, err := c.Token(ctx, "a /?b", ReadOptions{MinValidity: 5 * time.Minute, Wait: time.Second})
			return err
		},
		"GET /token?provider=google":                    func() error { _, err := c.ProviderToken(ctx, "google", ReadOptions{}); return err },
		"GET /credentials/x/resolve":                    func() error { _, err := c.Resolve(ctx, "x", ReadOptions{}); return err },
		"GET /credentials/x/header?wait=10s":            func() error { _, err := c.Header(ctx, "x", ReadOptions{Wait: 10 * time.Second}); return err },
		`POST /credentials/x/rejected {"generation":7}`: func() error { _, err := c.Rejected(ctx, "x", 7, ReadOptions{}); return err },
		"GET /credentials?isActive=false&limit=2": func() error {
			_, next, err := c.Credentials(ctx, Filter{IsActive: new(false), Limit: 2})
			if next != "a+b" {
				t.Errorf("next cursor = %q, want a+b", next)
			}
			return err
		},
		`POST /credentials {"name":"n","config":{"a":null},"isShared":false}`: func() error {
			_, err := c.CreateCredential(ctx, CredentialInput{Name: new("n"), Config: map[string]any{"a": nil}, IsShared: new(false)})
			return err
		},
		`PATCH /credentials/x {"description":"","metadata":{}}`: func() error {
			_, err := c.UpdateCredential(ctx, "x", CredentialInput{Description: new(""), Metadata: map[string]any{}})
			return err
		},
		"DELETE /credentials/x?revoke=true": func() error { return c.DeleteCredential(ctx, "x", true) },
		"DELETE /credentials/x":             func() error { return c.DeleteCredential(ctx, "x", false) },
		"POST /credentials/x/refresh":       func() error { _, err := c.RefreshCredential(ctx, "x"); return err },
		"POST /credentials/x/test":          func() error { _, err := c.TestCredential(ctx, "x"); return err },
		`POST /credentials/oauth2/start {"providerId":"p","scopes":[]}`: func() error {
			_, err := c.Start(ctx, StartRequest{ProviderID: "p", Scopes: []string{}})
			return err
		},
		`POST /credentials/oauth2/callback {"code":"c","state":"s"}`: func() error {
			_, err := c.Callback(ctx, CallbackRequest{Code: "c", State: "s"})
			return err
		},
		"GET /credentials/oauth2/providers":      func() error { _, err := c.Providers(ctx); return err },
		"DELETE /credentials/oauth2/providers/p": func() error { return c.DeleteProvider(ctx, "p") },
		`PUT /credentials/oauth2/apps/p {"providerId":"p","clientId":"c"}`: func() error {
			_, err := c.PutApp(ctx, App{ProviderID: "p", ClientID: "c"})
			return err
		},
		"GET /credentials/oauth2/apps":      func() error { _, err := c.Apps(ctx); return err },
		"DELETE /credentials/oauth2/apps/p": func() error { return c.DeleteApp(ctx, "p") },
		"GET /status":                       func() error { _, err := c.Status(ctx); return err },
		"GET /healthz":                      func() error { _, err := c.Health(ctx); return err },
		"GET /readyz":                       func() error { _, err := c.Ready(ctx); return err },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
}
