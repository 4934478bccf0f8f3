package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
)

// connection is one of the provider that the hostile plugin brings.
func (f *fixture) connection(t *testing.T) broker.Connection {
	t.Helper()
	d, err := f.registry.Definition("hostile")
	if err != nil {
		t.Fatal(err)
	}
	return broker.Connection{Definition: d.Definition, Client: broker.Client{ID: "client", Secret: broker.NewSecret("canary-of-the-client")}}
}

func tokenRequest(t *testing.T, f *fixture) (broker.HookRequest, error) {
	t.Helper()
	return f.TokenRequest(t.Context(), f.connection(t), "refresh", broker.HookRequest{
		Method: "POST", URL: "https://token.example/token", Body: []byte("refresh_token=canary-of-the-token"),
	})
}

// TestGrants: a hook that was not granted is not called, and without it nothing
// is ready.
func TestGrants(t *testing.T) {
	f := newFixture(t, map[string]string{"moves": hostilePackage})
	p := f.trust(t, "moves")
	if len(p.Declared) != 1 || p.Declared[0] != broker.HookTokenRequest || !strings.Contains(p.Error, "not granted") {
		t.Errorf("declared %v, error %q, want token_request, and that it is not granted", p.Declared, p.Error)
	}
	d := f.connection(t).Definition
	want := "invectd plugins trust moves --hook token_request"
	if err := f.Ready(&d); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Ready() = %v, want what to do: %s", err, want)
	}
	if _, err := tokenRequest(t, f); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("TokenRequest() = %v, want what to do: %s", err, want)
	}
	running := f.process("moves")
	if p = f.trust(t, "moves", broker.HookTokenRequest); p.Error != "" || f.process("moves") != running {
		t.Errorf("granted: %q, want no error and the same process", p.Error)
	}
	if err := f.Ready(&d); err != nil {
		t.Errorf("Ready() = %v, want nil", err)
	}
	if changed, err := tokenRequest(t, f); err != nil || changed.URL != "https://evil.example/token" {
		t.Errorf("TokenRequest() = %+v, %v, want what the plugin made of it", changed, err)
	}
	if f.trust(t, "moves"); f.Ready(&d) == nil {
		t.Error("after the grant was taken back Ready() = nil, want an error")
	}
}

// TestHookThatDies: a call that kills the plugin fails, and the next one finds it
// running again.
func TestHookThatDies(t *testing.T) {
	f := newFixture(t, map[string]string{"dies": hostilePackage})
	f.trust(t, "dies", broker.HookTokenRequest)
	if _, err := tokenRequest(t, f); err == nil || !strings.Contains(err.Error(), "plugin dies failed in the hook token_request") {
		t.Errorf("TokenRequest() = %v, want that the plugin failed", err)
	}
	f.waitFor(t, "dies", broker.PluginStopped)
	f.waitFor(t, "dies", broker.PluginRunning)
	d := f.connection(t).Definition
	if err := f.Ready(&d); err != nil {
		t.Errorf("Ready() = %v, want nil", err)
	}
}

// TestHookThatTells: a secret is neither in an error nor in the log.
func TestHookThatTells(t *testing.T) {
	f := newFixture(t, map[string]string{"tells": hostilePackage})
	f.trust(t, "tells", broker.HookTokenRequest)
	_, err := tokenRequest(t, f)
	if _, refused := errors.AsType[*broker.HookRefusal](err); !refused || strings.Contains(err.Error(), "canary") {
		t.Errorf("TokenRequest() = %v, want a refusal without the secret", err)
	}
	// The former goes on printing while the next one starts, which was shown nothing.
	former := f.process("tells")
	f.upgrade(t, "tells", broker.HookTokenRequest)
	<-former.command.exited
	if strings.Contains(f.log.String(), "canary") {
		t.Errorf("the log has the secret:\n%s", f.log)
	}
}

// TestHookOfAnother: a plugin that brings what is another's does not get its calls,
// not even while that one is down.
func TestHookOfAnother(t *testing.T) {
	f := newFixture(t, map[string]string{"moves": hostilePackage, "tells": hostilePackage})
	f.trust(t, "moves", broker.HookTokenRequest)
	_ = f.process("moves").command.Kill(t.Context())
	f.waitFor(t, "moves", broker.PluginStopped)
	p := f.trust(t, "tells", broker.HookTokenRequest)
	if p.State != broker.PluginRunning || len(p.Providers) > 0 || len(p.Declared) > 0 || !strings.Contains(p.Error, "which no plugin replaces") {
		t.Errorf("a plugin with another's provider = %+v, want it running without, and told", p)
	}
	if _, err := tokenRequest(t, f); err != nil && strings.Contains(err.Error(), "tells") {
		t.Errorf("TokenRequest() = %v, want it to be no business of the other plugin", err)
	}
	f.waitFor(t, "moves", broker.PluginRunning)
	if changed, err := tokenRequest(t, f); err != nil || changed.URL != "https://evil.example/token" {
		t.Errorf("TokenRequest() = %+v, %v, want it answered by the owner", changed, err)
	}
}

// TestCallersTime: a caller that has less time than a plugin blames no plugin.
func TestCallersTime(t *testing.T) {
	f := newFixture(t, map[string]string{"hangs": hostilePackage})
	f.trust(t, "hangs", broker.HookTokenRequest)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for range missedCalls {
		if _, err := f.TokenRequest(ctx, f.connection(t), "refresh", broker.HookRequest{Method: "POST", URL: "https://token.example/token"}); err == nil {
			t.Error("TokenRequest() of a caller without time = nil, want an error")
		}
	}
	if err := f.process("hangs").alive(t.Context()); err != nil {
		t.Errorf("alive() = %v, want it to run on", err)
	}
	if missed := f.plugins["hangs"].missed; missed > 0 {
		t.Errorf("missed calls = %d, want 0", missed)
	}
}

// TestHookThatHangs: a call ends in time, and a plugin that leaves several without
// an answer is started again.
func TestHookThatHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes the time that plugins are given")
	}
	f := newFixture(t, map[string]string{"hangs": hostilePackage})
	f.trust(t, "hangs", broker.HookTokenRequest)
	for range missedCalls {
		if _, err := tokenRequest(t, f); err == nil || !strings.Contains(err.Error(), "did not answer in time") {
			t.Errorf("TokenRequest() = %v, want that it did not answer in time", err)
		}
	}
	f.waitFor(t, "hangs", broker.PluginStopped)
	if p := f.waitFor(t, "hangs", broker.PluginRunning); p.Restarts != 1 {
		t.Errorf("restarts = %d, want 1", p.Restarts)
	}
}

func TestRedacted(t *testing.T) {
	client := broker.Client{Secret: broker.NewSecret("s3cr3t-of-the-client")}
	secrets := secretsOf(broker.Connection{Client: client}, `{"access_token":"tok-1234567890"}`, "code=4%2F0AbCdEf-x%3D%3D", `{"t":"1\/\/0gAbCdEf"}`)
	for message, shown := range map[string]bool{
		"the clock is wrong":                     true,
		"bad key":                                true,
		"the secret s3cr3t-of-the-client is":     false,
		"cut: s3cr3t-of-th":                      false,
		"token=tok-1234567890":                   false,
		"token='tok-12345678'":                   false,
		"no code 4/0AbCdEf-x== is known":         false,
		"no token 1//0gAbCdEf is known":          false,
		"the answer has no field \"expires_in\"": true,
	} {
		got := redacted(message, secrets)
		if (got == message) != shown {
			t.Errorf("redacted(%q) = %q, want it shown: %t", message, got, shown)
		}
	}
	if got := redacted("a\x1b[2Jb", nil); strings.ContainsRune(got, '\x1b') {
		t.Errorf("redacted() = %q, want no control characters", got)
	}
}
