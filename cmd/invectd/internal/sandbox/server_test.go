package sandbox

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	listen := func(address string) net.Listener {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		return listener
	}
	loopback := listen("127.0.0.1:0")
	good := []string{testRedirect}
	for name, test := range map[string]struct {
		listener net.Listener
		cfg      Config
	}{
		"an open address":      {listen("0.0.0.0:0"), Config{RedirectURIs: good}},
		"a short lifetime":     {loopback, Config{RedirectURIs: good, AccessTokenLifetime: time.Millisecond}},
		"no redirect URI":      {loopback, Config{}},
		"a clear redirect URI": {loopback, Config{RedirectURIs: []string{"http://app.example.com/callback"}}},
		"a fragment":           {loopback, Config{RedirectURIs: []string{testRedirect + "#f"}}},
		"a custom scheme":      {loopback, Config{RedirectURIs: []string{"app:/callback"}}},
	} {
		if _, err := New(test.listener, test.cfg); err == nil {
			t.Errorf("New() with %s = nil, want an error", name)
		}
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := New(listener, Config{RedirectURIs: []string{testRedirect}})
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := server.Serve(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve() = %v, want %v", err, net.ErrClosed)
	}
}
