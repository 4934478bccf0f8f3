package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/socket/client"
)

var kills = flag.Int("kills", 8, "how often TestKillUnderLoad kills the daemon")

// An acknowledgement is the most that callers were told of one credential. While
// there is load, each is owned by the one goroutine that makes it.
type acknowledgement struct {
	generation  uint64
	description int
}

// TestKillUnderLoad kills the daemon at random moments while operators renew and
// write, and runners read. What was acknowledged is there afterwards, and a
// family of tokens is revoked only where the daemon died between the provider's
// answer and its own commit, which it says.
func TestKillUnderLoad(t *testing.T) {
	rounds := *kills
	if testing.Short() {
		rounds = min(rounds, 2)
	}
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	p := startChild(t)
	p.know(server)
	credentials := map[string]*acknowledgement{}
	for i := range 12 {
		credentials[p.create(fmt.Sprint("c", i), grant(server, time.Now().Add(time.Hour)), nil)] = &acknowledgement{generation: 1}
	}
	windows, acknowledged := 0, 0
	for range rounds {
		acknowledged += p.loadUntilKilled(credentials, 20+rand.IntN(400))
		p.start()
		for id, told := range credentials {
			if p.interrupted(id, told) {
				windows++
				told.generation = p.reconnect(id, grant(server, time.Now().Add(time.Hour)))
			}
		}
		if stats := server.Stats(); stats.Reuses != windows || stats.FamiliesRevoked != windows {
			t.Fatalf("%d refresh tokens were used again and %d families revoked, want only the %d that the daemon told of", stats.Reuses, stats.FamiliesRevoked, windows)
		}
	}
	t.Logf("%d kills, %d acknowledged writes, none lost; %d refreshes; %d died between the provider's answer and the commit, and say so",
		rounds, acknowledged, server.Stats().Refreshes, windows)
}

// loadUntilKilled keeps the daemon busy, kills it after so many answers and
// returns how many came.
func (p *childDaemon) loadUntilKilled(credentials map[string]*acknowledgement, answers int) int {
	ctx, stop := context.WithCancel(p.t.Context())
	defer stop()
	var load sync.WaitGroup
	var count atomic.Int64
	enough := make(chan struct{})
	for id, told := range credentials {
		load.Go(func() {
			for ctx.Err() == nil && p.act(ctx, id, told) == nil {
				if count.Add(1) == int64(answers) {
					close(enough)
				}
			}
		})
	}
	<-enough
	p.kill()
	stop()
	load.Wait()
	return int(count.Load())
}

// act does one thing with a credential and notes what was acknowledged.
func (p *childDaemon) act(ctx context.Context, id string, told *acknowledgement) error {
	switch rand.IntN(3) {
	case 0:
		c, err := p.RefreshCredential(ctx, id)
		if err == nil {
			told.generation = max(told.generation, c.Generation)
		}
		return err
	case 1:
		_, err := p.UpdateCredential(ctx, id, client.CredentialInput{Description: new(strconv.Itoa(told.description + 1))})
		if err == nil {
			told.description++
		}
		return err
	}
	token, err := p.Token(ctx, id, client.ReadOptions{})
	if err == nil {
		told.generation = max(told.generation, token.Generation)
	}
	return err
}

// interrupted checks what is left of a credential, and reports whether its last
// refresh was cut off for good.
func (p *childDaemon) interrupted(id string, told *acknowledgement) bool {
	p.t.Helper()
	before, err := p.Credential(p.t.Context(), id)
	if err != nil {
		p.t.Fatalf("Credential(%s) = %v after a kill", id, err)
	}
	written := 0
	if before.Description != nil {
		written, _ = strconv.Atoi(*before.Description)
	}
	if written < told.description || before.Generation < told.generation {
		p.t.Errorf("credential %s has description %d and generation %d, and %d and %d were acknowledged", id, written, before.Generation, told.description, told.generation)
	}
	told.description = written
	_, err = p.RefreshCredential(p.t.Context(), id)
	if err == nil {
		return false
	}
	refused, ok := errors.AsType[*client.Error](err)
	if !ok || refused.Code != "reauth_required" || !strings.Contains(refused.Message, "interrupted_rotation") {
		p.t.Errorf("RefreshCredential(%s) = %v after a kill, want success or interrupted_rotation", id, err)
	}
	return true
}

// reconnect writes what a person's new consent brought.
func (p *childDaemon) reconnect(id string, config map[string]any) uint64 {
	p.t.Helper()
	c, err := p.UpdateCredential(p.t.Context(), id, client.CredentialInput{Config: config})
	if err != nil || c.Status != "active" {
		p.t.Fatalf("UpdateCredential(%s) = %s, %v", id, c.Status, err)
	}
	return c.Generation
}
