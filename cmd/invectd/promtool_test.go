package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker/store"
)

// TestPromtool holds what is exported against Prometheus itself: promtool judges
// the page, and a Prometheus scrapes it and answers a query.
func TestPromtool(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a Prometheus, which takes seconds")
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed; Debian has it in the package prometheus")
	}
	target := startMetricsDaemon(t)
	page := fetchPage(t, "http://"+target+"/metrics")
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(page)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	api := startPrometheus(t, target)
	if got := query(t, api, `sum(invectd_credentials)`); got != "0" {
		t.Errorf("Prometheus says that there are %s credentials, want 0", got)
	}
}

// startMetricsDaemon runs a daemon until the test ends and returns where its
// metrics are.
func startMetricsDaemon(t *testing.T) (address string) {
	t.Helper()
	key, err := store.ParseKey(newKeyText())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := daemonConfig{
		Socket: filepath.Join(dir, "s"), SocketMode: 0o600, DataDir: filepath.Join(dir, "data"),
		MetricsAddr: "127.0.0.1:0", CallbackAddr: off, Key: key,
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan listeners, 1), make(chan error, 1)
	go func() {
		ended <- runDaemon(ctx, config, slog.New(slog.NewTextHandler(t.Output(), nil)), func(_ context.Context, l listeners) { ready <- l })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	})
	select {
	case l := <-ready:
		return l["metrics"]
	case err := <-ended:
		ended <- err
		t.Fatalf("the daemon ended: %v", err)
		return ""
	}
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func startPrometheus(t *testing.T, target string) (api string) {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed; Debian has it in the package prometheus")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("scrape_configs: [{job_name: invectd, scrape_interval: 1s, static_configs: [{targets: ['%s']}]}]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	prometheus := exec.CommandContext(t.Context(), binary, "--config.file="+config, "--storage.tsdb.path="+dir+"/tsdb",
		"--web.listen-address="+address, "--log.level=error")
	prometheus.Stderr = t.Output()
	if err := prometheus.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = prometheus.Process.Kill()
		_ = prometheus.Wait()
	})
	return "http://" + address
}

// query asks until there is an answer with a value.
func query(t *testing.T, api, expression string) string {
	t.Helper()
	var last string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		response, err := http.Get(api + "/api/v1/query?query=" + url.QueryEscape(expression))
		if err != nil {
			last = err.Error()
			continue
		}
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		err = json.NewDecoder(response.Body).Decode(&answer)
		response.Body.Close()
		if err == nil && len(answer.Data.Result) == 1 {
			return fmt.Sprint(answer.Data.Result[0].Value[1])
		}
		last = fmt.Sprintf("%d, %v, %d results", response.StatusCode, err, len(answer.Data.Result))
	}
	t.Fatalf("Prometheus did not answer %s: %s", expression, last)
	return ""
}

func fetchPage(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d, %v", url, response.StatusCode, err)
	}
	return string(body)
}
