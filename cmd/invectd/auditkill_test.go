package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/invectd/invectd/broker/audit"
	"github.com/invectd/invectd/broker/store"
	"github.com/invectd/invectd/socket/client"
)

// TestAuditSurvivesKills kills the daemon at random moments while many change
// and read credentials. The chain holds, and every change that was acknowledged
// has its line.
func TestAuditSurvivesKills(t *testing.T) {
	rounds := *kills
	if testing.Short() {
		rounds = min(rounds, 2)
	}
	p := startChild(t)
	var acknowledged []string // ids
	for range rounds {
		acknowledged = append(acknowledged, createUntilKilled(p, 10+rand.IntN(100))...)
		p.start()
	}
	report := verifyChild(t, p)
	announced := map[string]bool{}
	for line, err := range audit.Lines(p.dataDir(), 0) {
		if err != nil {
			t.Fatalf("Lines = %v", err)
		}
		if line.Event == audit.EventChange {
			announced[line.Credential] = true
		}
	}
	for _, id := range acknowledged {
		if !announced[id] {
			t.Errorf("credential %s was acknowledged and has no line in the audit", id)
		}
	}
	t.Logf("%d kills, %d acknowledged changes, all of them among %d lines", rounds, len(acknowledged), report.Lines)
}

// createUntilKilled creates credentials from many sides until so many are
// acknowledged, kills the daemon under them and returns their ids.
func createUntilKilled(p *childDaemon, enough int) (created []string) {
	ctx, stop := context.WithCancel(p.t.Context())
	defer stop()
	var load sync.WaitGroup
	var count atomic.Int64
	var mu sync.Mutex
	reached := make(chan struct{})
	for caller := range 8 {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprint("c", caller, "-", i)
				c, err := p.CreateCredential(ctx, client.CredentialInput{
					Name: &name, AuthType: new("bearer"), Config: map[string]any{"token": "t"},
				})
				if err != nil {
					return
				}
				mu.Lock()
				created = append(created, c.ID)
				mu.Unlock()
				if count.Add(1) == int64(enough) {
					close(reached)
				}
				if _, err := p.Token(ctx, c.ID, client.ReadOptions{}); err != nil {
					return
				}
			}
		})
	}
	<-reached
	p.kill()
	stop()
	load.Wait()
	return created
}

func (p *childDaemon) dataDir() string { return filepath.Join(filepath.Dir(p.socket), "store") }

// verifyChild fails unless the audit log of a daemon is whole.
func verifyChild(t *testing.T, p *childDaemon) audit.Report {
	t.Helper()
	var text string
	for _, variable := range p.env {
		if value, ok := strings.CutPrefix(variable, "INVECT_ENCRYPTION_KEY="); ok {
			text = value
		}
	}
	kek, err := store.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	key, err := store.ReadAuditKey(p.dataDir(), kek)
	if err != nil {
		t.Fatalf("ReadAuditKey = %v", err)
	}
	report, err := audit.Verify(p.dataDir(), key, nil)
	if err != nil || len(report.Problems)+len(report.Notices) > 0 {
		t.Fatalf("Verify = %v, %v, %v", report.Problems, report.Notices, err)
	}
	return report
}
