package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/invectd/invectd/broker/brokertest"
)

// TestKillOwesRevocations: what was deleted while the provider was away is revoked
// by the process after the one that was killed.
func TestKillOwesRevocations(t *testing.T) {
	server := brokertest.NewAuthServer(brokertest.AuthConfig{})
	var away atomic.Bool
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(listening.Close)
	server.URL = listening.URL
	p := startChild(t)
	p.know(server)
	const count = 5
	var ids, tokens []string
	for i := range count {
		config := grant(server, time.Now().Add(time.Hour))
		tokens = append(tokens, config["accessToken"].(string))
		ids = append(ids, p.create(fmt.Sprint("c", i), config, nil))
	}
	away.Store(true)
	for _, id := range ids {
		if err := p.DeleteCredential(t.Context(), id, true); err != nil {
			t.Fatalf("DeleteCredential(%s) = %v, want it deleted", id, err)
		}
	}
	p.kill()
	for i, token := range tokens {
		if !server.Live(token) {
			t.Fatalf("the token of credential %d is dead before the provider is back", i)
		}
	}
	away.Store(false)
	p.start()
	for alive := true; alive; {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		status, err := p.Status(t.Context())
		if err != nil {
			t.Fatalf("Status = %v", err)
		}
		alive = len(status.Problems) > 0
	}
	for i, token := range tokens {
		if server.Live(token) {
			t.Errorf("the token of credential %d still lives", i)
		}
	}
}
