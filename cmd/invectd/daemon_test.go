package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/socket/client"
)

// A testDaemon is a whole daemon in this process: a real socket, a real store on
// disk, providers on loopback.
type testDaemon struct {
	*client.Client
	t         *testing.T
	socket    string
	listeners listeners
	log       lockedBuffer
}

// startDaemon runs a daemon until the test ends.
func startDaemon(t *testing.T) *testDaemon {
	t.Helper()
	// The path of a socket has to be short, and the name of a test may not be.
	dir, err := os.MkdirTemp("", "invectd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	key, err := store.ParseKey(newKeyText())
	if err != nil {
		t.Fatal(err)
	}
	d := &testDaemon{t: t, socket: filepath.Join(dir, "s")}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, done := make(chan listeners, 1), make(chan error, 1)
	go func() {
		done <- runDaemon(ctx, daemonConfig{
			Socket: d.socket, SocketMode: 0o600, DataDir: filepath.Join(dir, "store"), PluginsDir: filepath.Join(dir, "plugins"), ProvidersDir: filepath.Join(dir, "providers"),
			Addresses:   broker.Addresses{netip.MustParsePrefix("127.0.0.0/8")},
			MetricsAddr: off, CallbackAddr: "127.0.0.1:0", Key: key,
		}, slog.New(slog.NewTextHandler(&d.log, nil)), func(_ context.Context, l listeners) { ready <- l })
	}()
	select {
	case d.listeners = <-ready:
	case err := <-done:
		stop()
		t.Fatalf("runDaemon() = %v before it was ready", err)
	}
	d.Client = client.New(d.socket)
	t.Cleanup(func() {
		d.Close()
		stop()
		if err := <-done; err != nil {
			t.Errorf("runDaemon() = %v, want nil", err)
		}
	})
	return d
}

// callback is the redirect URI of the daemon's own callback.
func (d *testDaemon) callback() string { return callbackURL(d.listeners["callback"]) }

// credential returns what operators see of a credential.
func (d *testDaemon) credential(ref string) client.Credential {
	d.t.Helper()
	c, err := d.Credential(d.t.Context(), ref)
	if err != nil {
		d.t.Fatalf("Credential(%s) = %v", ref, err)
	}
	return c
}

// wantToken reads a token as a runner does. life is how long it lives, 0 for
// ever.
func (d *testDaemon) wantToken(ref, access, scope string, generation uint64, life time.Duration) {
	d.t.Helper()
	got, err := d.Token(d.t.Context(), ref, client.ReadOptions{})
	if err != nil {
		d.t.Errorf("Token(%s) = %v", ref, err)
		return
	}
	if got.AccessToken != access || got.Scope != scope || got.Generation != generation || got.TokenType != "Bearer" || got.Degraded {
		d.t.Errorf("Token(%s) = %+v, want %q with scope %q of generation %d", ref, got, access, scope, generation)
	}
	const slow = time.Minute
	left := time.Until(got.ExpiresAt)
	if life == 0 && (!got.ExpiresAt.IsZero() || got.ExpiresIn != nil) || life > 0 && (left > life || left < life-slow) {
		d.t.Errorf("Token(%s) lives %v, want %v", ref, left, life)
	}
}

// refresh renews a token.
func (d *testDaemon) refresh(ref string) {
	d.t.Helper()
	if c, err := d.RefreshCredential(d.t.Context(), ref); err != nil || c.Status != "active" {
		d.t.Errorf("RefreshCredential(%s) = status %q, %v, want active", ref, c.Status, err)
	}
}

// wantRefreshError asks for a renewal that fails, and returns how.
func (d *testDaemon) wantRefreshError(ref string, status int, code string) *client.Error {
	d.t.Helper()
	_, err := d.RefreshCredential(d.t.Context(), ref)
	return wantError(d.t, "RefreshCredential("+ref+")", err, status, code)
}

// wantStatus looks at a credential's status and at why it is so.
func (d *testDaemon) wantStatus(ref, status, reason string) {
	d.t.Helper()
	c := d.credential(ref)
	why := ""
	if c.StatusReason != nil {
		why = *c.StatusReason
	}
	if c.Status != status || !strings.Contains(why, reason) {
		d.t.Errorf("credential %s is %s: %q, want %s: %q", ref, c.Status, why, status, reason)
	}
}

// wantTest asks the provider whether a token works; failure is what the answer
// has to say, "" for success.
func (d *testDaemon) wantTest(ref, failure string) {
	d.t.Helper()
	got, err := d.TestCredential(d.t.Context(), ref)
	if err != nil || got.Success != (failure == "") || !strings.Contains(got.Error, failure) {
		d.t.Errorf("TestCredential(%s) = %+v, %v, want failure %q", ref, got, err, failure)
	}
}

// wantError returns the daemon's own error.
func wantError(t *testing.T, what string, err error, status int, code string) *client.Error {
	t.Helper()
	got, ok := errors.AsType[*client.Error](err)
	if !ok || got.Status != status || got.Code != code {
		t.Errorf("%s = %v, want %d %s", what, err, status, code)
		return &client.Error{}
	}
	return got
}

// A lockedBuffer takes the log of a daemon.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

var _ io.Writer = (*lockedBuffer)(nil)

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
