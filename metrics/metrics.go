// Package metrics tells Prometheus what invectd does. It is the one importer of
// the Prometheus client: the packages below it know only structs of optional
// functions, which it fills.
//
// Label values come from closed sets, so that no caller can make series grow:
// a provider that no definition knows is [unknownProvider].
package metrics

import (
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/refresher"
)

// unknownProvider is the label value of all providers without a definition.
const unknownProvider = "unknown"

// Metrics holds what is counted.
type Metrics struct {
	registry  *prometheus.Registry
	refreshes *prometheus.CounterVec
	durations *prometheus.HistogramVec
	reads     map[string]prometheus.Counter // by result; never written after New
	changes   *prometheus.CounterVec
	revoked   *prometheus.CounterVec
	refused   map[string]prometheus.Counter // by reason; never written after New
	plugins   pluginCalls
	known     func(provider string) bool
}

// Sources are where the gauges are read from at each scrape. All are needed.
type Sources struct {
	Tokens *broker.Tokens
	// Known reports whether a definition is in force for a provider.
	Known  func(provider string) bool
	Policy *broker.Policy
	// Writable reports whether the store can be written now.
	Writable func() bool
	// Repairs counts how often the store was damaged and repaired itself.
	Repairs func() uint64
	// Damaged counts the records that the store holds and cannot read.
	Damaged func() int
	// Audit tells how the audit log is.
	Audit func() AuditState
	// Plugins returns what is in the plugins folder.
	Plugins func() []broker.Plugin
	// Outages returns the token endpoints that fail for everybody now.
	Outages func() []broker.Outage
	Version string
	// RefusalReasons are why a caller may be answered 429.
	RefusalReasons []string
}

// New returns the metrics of one daemon, in a registry of their own.
func New(s Sources) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		known:    s.Known,
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "invectd_refreshes_total",
			Help: "Refreshes that ended, by provider and outcome.",
		}, []string{"provider", "outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "invectd_refresh_duration_seconds",
			Help:    "How long refreshes took, from start to commit, by provider.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"provider"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "invectd_provider_changes_total",
			Help: "Provider definitions that changed, by what became of them.",
		}, []string{"change"}),
		revoked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "invectd_revocations_total",
			Help: "Attempts to revoke the tokens of deleted credentials, by provider and result; given_up is one that may live on.",
		}, []string{"provider", "result"}),
		reads:   map[string]prometheus.Counter{},
		plugins: newPluginCalls(),
	}
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "invectd_token_reads_total",
		Help: "Reads of tokens by runners, by result.",
	}, []string{"result"})
	for _, result := range append(readErrors.names(), resultOK, resultError) {
		m.reads[result] = reads.WithLabelValues(result)
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "invectd_requests_refused_total",
		Help: "Connections and requests that were answered 429, by which limit of a user they were beyond.",
	}, []string{"reason"})
	m.refused = make(map[string]prometheus.Counter, len(s.RefusalReasons))
	for _, reason := range s.RefusalReasons {
		m.refused[reason] = refused.WithLabelValues(reason)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "invectd_build_info",
		Help:        "Always 1; the version is in the label.",
		ConstLabels: prometheus.Labels{"version": s.Version},
	})
	info.Set(1)
	writable := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "invectd_store_writable",
		Help: "1 if the store can be written, else 0: nothing is renewed then.",
	}, func() float64 { return yes(s.Writable()) })
	repairs := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "invectd_store_repairs_total",
		Help: "How often the store was damaged and repaired itself without a loss: the disk is not to be trusted.",
	}, func() float64 { return float64(s.Repairs()) })
	damaged := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "invectd_store_damaged_records",
		Help: "Records of the store that are known to be damaged; GET /status and the log name them.",
	}, func() float64 { return float64(s.Damaged()) })
	m.registry.MustRegister(m.refreshes, m.durations, m.changes, m.revoked, reads, refused, info, writable, repairs, damaged, auditLog{s.Audit}, pluginFolder{s.Plugins}, m.plugins.ends, m.plugins.calls, policyLoaded(s.Policy), policyLoadedAt(s.Policy), &stock{tokens: s.Tokens, outages: s.Outages, label: m.label},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

func (m *Metrics) label(provider string) string {
	if !m.known(provider) {
		return unknownProvider
	}
	return provider
}

// Refused counts an answer of 429.
func (m *Metrics) Refused(reason string) { m.refused[reason].Inc() }

// Refresher returns the functions that count what the refresher does.
func (m *Metrics) Refresher() *refresher.Trace {
	return &refresher.Trace{
		Refreshed: func(provider string, outcome refresher.Outcome, took time.Duration) {
			provider = m.label(provider)
			m.refreshes.WithLabelValues(provider, string(outcome)).Inc()
			m.durations.WithLabelValues(provider).Observe(took.Seconds())
		},
	}
}

// Broker returns the functions that count what the broker does.
func (m *Metrics) Broker() broker.Trace {
	return broker.Trace{
		TokenRead:       func(err error) { m.reads[readErrors.result(err)].Inc() },
		ProviderChanged: func(status broker.Status) { m.changes.WithLabelValues(string(status)).Inc() },
		Revocation: func(provider string, result broker.RevocationResult) {
			m.revoked.WithLabelValues(m.label(provider), string(result)).Inc()
		},
	}
}

// The results of a read that no sentinel of the broker stands for.
const (
	resultOK    = "ok"
	resultError = "provider_error"
)

// results names the errors of a read in label values.
type results []struct {
	err  error
	name string
}

var readErrors = results{
	{broker.ErrReauthorize, "reauth_required"},
	{broker.ErrNotFound, "not_found"},
	{broker.ErrForbidden, "forbidden"},
	{broker.ErrAmbiguousName, "ambiguous_name"},
	{broker.ErrAmbiguousProvider, "ambiguous_provider"},
	{broker.ErrNoToken, "no_token"},
	{broker.ErrDisabled, "disabled"},
	{broker.ErrAuthorizationPending, "authorization_pending"},
	{broker.ErrStoreUnavailable, "store_unavailable"},
	{broker.ErrShuttingDown, "shutting_down"},
	{broker.ErrNotConfigured, "not_configured"},
	{broker.ErrWaitEnded, "wait_ended"},
}

func (r results) result(err error) string {
	if err == nil {
		return resultOK
	}
	for _, known := range r {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return resultError
}

func (r results) names() []string {
	names := make([]string, 0, len(r)+2)
	for _, known := range r {
		names = append(names, known.name)
	}
	return names
}
