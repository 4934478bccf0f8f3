package main

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker/brokertest"
	"github.com/invectd/invectd/socket/client"
)

var crowd = flag.Int("crowd", 500, "how many credentials TestCrowdExpires has")

// TestThousandReaders has a thousand runners read a token that has ended, over
// the real socket: one request is made, and all get what it brought.
func TestThousandReaders(t *testing.T) {
	readers := 1000
	if testing.Short() {
		readers = 200
	}
	server := brokertest.StartAuthServer(t, brokertest.AuthConfig{})
	p := startChild(t)
	p.know(server)
	id := p.create("c", grant(server, time.Now().Add(-time.Second)), map[string]any{"refresh": "lazy"})
	reached, answer := make(chan struct{}), make(chan struct{})
	server.Fail(brokertest.Fault{Reached: reached, Wait: answer, Process: true})

	tokens := make([]client.Token, readers)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			var err error
			if tokens[i], err = p.Token(t.Context(), id, client.ReadOptions{}); err != nil {
				t.Errorf("Token = %v", err)
			}
		})
	}
	<-reached
	close(answer)
	all.Wait()
	for _, token := range tokens {
		if token.AccessToken != tokens[0].AccessToken || token.Generation != 2 || !server.Live(token.AccessToken) {
			t.Fatalf("a reader got generation %d, want 2, the same token for all", token.Generation)
		}
	}
	if stats := server.Stats(); stats.Requests != 1 || stats.Refreshes != 1 {
		t.Errorf("%d readers made %d requests, want 1", readers, stats.Requests)
	}
}

// TestCrowdExpires has very many tokens end in the same minute: all are renewed
// before that, and never more at once than one provider may be asked.
func TestCrowdExpires(t *testing.T) {
	count, life := *crowd, 12*time.Second
	if testing.Short() {
		count, life = min(count, 50), 6*time.Second
	}
	if count > 1000 {
		life = 3 * time.Minute // creating them takes time too
	}
	server := startCrowdedServer(t, count, 20*time.Millisecond)
	p := startChild(t)
	p.know(server.AuthServer)
	ends := time.Now().Add(life)
	names := make(chan int)
	ids := make([]string, count)
	var makers sync.WaitGroup
	for range 16 {
		makers.Go(func() {
			for i := range names {
				ids[i] = p.create(fmt.Sprint("c", i), grant(server.AuthServer, ends), nil)
			}
		})
	}
	for i := range ids {
		names <- i
	}
	close(names)
	makers.Wait()
	t.Logf("%d credentials were made %v before they end", count, time.Until(ends).Round(time.Second))

	select {
	case <-server.served:
	case <-time.After(time.Until(ends)): // real time: the daemon is a process of its own
	}
	perSecond := make([]int, int(life/time.Second)+1)
	for _, r := range server.Requests() {
		early := ends.Sub(r.At)
		if early < 0 {
			t.Errorf("a token was renewed %v after it had ended", -early)
			early = 0
		}
		perSecond[int(early/time.Second)]++
	}
	for _, id := range ids {
		if token, err := p.Token(t.Context(), id, client.ReadOptions{}); err != nil || token.Generation != 2 || token.Degraded {
			t.Fatalf("Token(%s) = generation %d, degraded %v, %v, want 2", id, token.Generation, token.Degraded, err)
		}
	}
	if stats := server.Stats(); stats.Refreshes != count || stats.Reuses != 0 {
		t.Errorf("%d refreshes and %d reuses, want %d and 0", stats.Refreshes, stats.Reuses, count)
	}
	if peak := server.peak.Load(); peak > 8 {
		t.Errorf("%d requests at once, want 8 at most", peak)
	}
	printCurve(t, perSecond)
	t.Logf("at most %d requests at once", server.peak.Load())
}

// printCurve shows how many were renewed in each second before the end.
func printCurve(t *testing.T, perSecond []int) {
	highest := 1
	for _, n := range perSecond {
		highest = max(highest, n)
	}
	for second := len(perSecond) - 1; second >= 0; second-- {
		if n := perSecond[second]; n > 0 {
			t.Logf("%4ds before the end %5d %s", second, n, strings.Repeat("#", max(1, 50*n/highest)))
		}
	}
}
