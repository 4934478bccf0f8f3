package metrics_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/metrics"
	"github.com/invectd/invectd/refresher"
)

func newMetrics(tokens *broker.Tokens) *metrics.Metrics {
	return metrics.New(metrics.Sources{
		Policy: broker.NewPolicy(0),
		Tokens: tokens, Version: "v1", RefusalReasons: []string{"rate", "connections"},
		Known:    func(provider string) bool { return provider == "google" },
		Writable: func() bool { return true }, Repairs: func() uint64 { return 2 }, Damaged: func() int { return 3 },
		Audit: func() metrics.AuditState {
			return metrics.AuditState{Writable: true, Missed: 3, Line: 1207, Mark: 1 << 47}
		},
		Plugins: func() []broker.Plugin {
			return []broker.Plugin{{State: broker.PluginRunning}, {State: broker.PluginUntrusted}, {State: broker.PluginUntrusted}}
		},
		Outages: func() []broker.Outage {
			return []broker.Outage{{Host: "a.example", Waiting: map[string]int{"google": 7, "mine": 2}}, {Host: "b.example", Waiting: map[string]int{"other": 1}}}
		},
	})
}

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("scrape: %d, %v", w.Code, err)
	}
	return string(body)
}

func TestMetrics(t *testing.T) {
	tokens := broker.NewTokens()
	m := newMetrics(tokens)
	soon := time.Now().Add(100 * time.Second)
	for i, provider := range []string{"google", "google", "mine"} {
		tokens.Load(broker.Summary{
			ID: broker.ID(fmt.Sprint(i)), Provider: provider, IsActive: true, Renewable: true, Status: broker.StatusActive,
			ExpiresAt: soon.Add(time.Duration(i) * time.Hour),
		})
	}
	m.Refresher().Refreshed("google", refresher.OutcomeSuccess, time.Second)
	m.Broker().TokenRead(nil)
	m.Broker().TokenRead(fmt.Errorf("credential %q: %w", "x", broker.ErrNotFound))
	m.Broker().TokenRead(&broker.ProviderError{})
	m.Broker().ProviderChanged(broker.ProviderStale)
	m.Broker().Revocation("google", broker.RevocationGivenUp)
	m.Refused("rate")
	plugins := m.Plugins()
	plugins.Ended("mine")
	plugins.Called("mine", time.Millisecond, nil)
	plugins.Called("mine", time.Second, io.EOF)
	page := scrape(t, m)
	for _, want := range []string{
		`invectd_refreshes_total{outcome="success",provider="google"} 1`,
		`invectd_refresh_duration_seconds_count{provider="google"} 1`,
		`invectd_token_reads_total{result="ok"} 1`,
		`invectd_token_reads_total{result="not_found"} 1`,
		`invectd_token_reads_total{result="provider_error"} 1`,
		`invectd_credentials{status="active"} 3`,
		`invectd_credentials{status="reauth_required"} 0`,
		`invectd_token_expiry_seconds_min{provider="google"} 99.`,
		`invectd_token_expiry_seconds_min{provider="unknown"} `,
		`invectd_provider_changes_total{change="stale"} 1`,
		`invectd_revocations_total{provider="google",result="given_up"} 1`,
		`invectd_requests_refused_total{reason="rate"} 1`,
		`invectd_requests_refused_total{reason="connections"} 0`,
		`invectd_circuits_open{provider="google"} 1`,
		`invectd_circuit_waiting_credentials{provider="google"} 7`,
		`invectd_circuits_open{provider="unknown"} 2`,
		`invectd_circuit_waiting_credentials{provider="unknown"} 3`,
		`invectd_build_info{version="v1"} 1`,
		`invectd_store_writable 1`,
		`invectd_store_repairs_total 2`,
		`invectd_store_damaged_records 3`,
		`invectd_plugins{state="running"} 1`,
		`invectd_plugins{state="untrusted"} 2`,
		`invectd_plugins{state="quarantined"} 0`,
		`invectd_plugin_ends_total{plugin="mine"} 1`,
		`invectd_plugin_call_duration_seconds_count{plugin="mine",result="ok"} 1`,
		`invectd_plugin_call_duration_seconds_count{plugin="mine",result="error"} 1`,
		`invectd_audit_writable 1`,
		`invectd_audit_altered 0`,
		`invectd_audit_missed_lines_total 3`,
		`invectd_audit_last_line 1207`,
		`invectd_audit_last_mac 1.40737488355328e+14`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// TestSeriesDoNotGrow: names that callers choose make no series.
func TestSeriesDoNotGrow(t *testing.T) {
	m := newMetrics(broker.NewTokens())
	use := func(name string) {
		m.Refresher().Refreshed(name, refresher.OutcomeTransient, time.Second)
		m.Broker().TokenRead(fmt.Errorf("credential %q: %w", name, broker.ErrNotFound))
		m.Broker().Revocation(name, broker.Revoked)
		m.Broker().TokenRead(fmt.Errorf("what nobody foresaw about %s", name))
	}
	series := func() (n int) {
		for line := range strings.Lines(scrape(t, m)) {
			if strings.HasPrefix(line, "invectd_") {
				n++
			}
		}
		return n
	}
	use("first")
	before := series()
	for i := range 100_000 {
		use(fmt.Sprint("name-", i))
	}
	if after := series(); after != before || before == 0 {
		t.Errorf("%d series became %d", before, after)
	}
}
