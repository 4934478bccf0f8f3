package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/invectd/invectd/socket/client"
)

// TestWalkSaysWhatFailed walks with a sandbox that is gone.
func TestWalkSaysWhatFailed(t *testing.T) {
	socket := startDev(t)
	gone, err := newSandbox(walkLifetime, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := gone.Serve(over); err != nil {
		t.Fatal(err)
	}
	api := client.New(socket)
	defer api.Close()
	err = newWalk(io.Discard, api, socket, gone).run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "dev --auto: connecting: ") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("run = %v, want that connecting failed as the connection was refused", err)
	}
}
