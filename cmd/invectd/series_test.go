package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/socket/client"
)

// TestSeriesDoNotGrow: whatever callers ask for, the metrics have the series that
// they had before.
func TestSeriesDoNotGrow(t *testing.T) {
	d := startDaemon(t)
	if _, err := d.CreateCredential(t.Context(), client.CredentialInput{
		Name: new("mail"), AuthType: new("bearer"), Config: map[string]any{"token": "t"},
	}); err != nil {
		t.Fatal(err)
	}
	requests := 100_000
	if testing.Short() {
		requests = 4_000
	}
	const workers = 8
	d.askAtRandom(requests/100, 0) // so that all results have been seen once
	before := d.series()
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() { d.askAtRandom(requests/workers, worker+1) })
	}
	wg.Wait()
	if after := d.series(); !slices.Equal(before, after) {
		t.Errorf("after %d requests with random names there are %d series, want the %d before", requests, len(after), len(before))
	}
	if len(before) < 20 {
		t.Errorf("there are only the series %v", before)
	}
}

// askAtRandom sends requests whose names, providers and paths nobody has sent
// before.
func (d *testDaemon) askAtRandom(count, worker int) {
	conn, err := net.Dial("unix", d.socket)
	if err != nil {
		d.t.Error(err)
		return
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for i := range count {
		name := fmt.Sprintf("%s-%d-%d", strings.ToLower(string(broker.NewID()[:6])), worker, i)
		path := []string{"/credentials/" + name + "/token", "/token?provider=" + name, "/credentials/" + name + "/header", "/" + name, "/credentials/mail/token"}[i%5]
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nX-User-ID: %s\r\n\r\n", path, name, name)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			d.t.Errorf("GET %s: %v", path, err)
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		if want := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[i%5 == 4]; response.StatusCode != want {
			d.t.Errorf("GET %s = %d, want %d", path, response.StatusCode, want)
			return
		}
	}
}

// series returns the names and labels of all series, in order.
func (d *testDaemon) series() []string {
	d.t.Helper()
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}}
	defer c.CloseIdleConnections()
	response, err := c.Get("http://localhost/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	var series []string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if name, _, ok := strings.Cut(lines.Text(), " "); ok && name != "#" {
			series = append(series, name)
		}
	}
	slices.Sort(series)
	return series
}
