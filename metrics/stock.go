package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/invectd/invectd/broker"
)

var (
	credentialsDesc = prometheus.NewDesc("invectd_credentials",
		"Credentials that are held, by status.", []string{"status"}, nil)
	expiryDesc = prometheus.NewDesc("invectd_token_expiry_seconds_min",
		"Seconds until the first token of a provider ends that is to be renewed; below zero if it has ended.", []string{"provider"}, nil)
	circuitDesc = prometheus.NewDesc("invectd_circuits_open",
		"Token endpoints that fail for every credential of a provider and are probed from time to time.", []string{"provider"}, nil)
	waitingDesc = prometheus.NewDesc("invectd_circuit_waiting_credentials",
		"Credentials of a provider that are to be renewed and wait for such an endpoint.", []string{"provider"}, nil)
)

// A stock collects what is held at the moment of a scrape.
type stock struct {
	tokens  *broker.Tokens
	outages func() []broker.Outage
	label   func(provider string) string
}

// Describe implements [prometheus.Collector].
func (s *stock) Describe(out chan<- *prometheus.Desc) {
	out <- credentialsDesc
	out <- expiryDesc
	out <- circuitDesc
	out <- waitingDesc
}

// Collect implements [prometheus.Collector].
func (s *stock) Collect(out chan<- prometheus.Metric) {
	now := time.Now()
	for status, count := range s.tokens.CountByStatus(now) {
		out <- prometheus.MustNewConstMetric(credentialsDesc, prometheus.GaugeValue, float64(count), string(status))
	}
	soonest := map[string]float64{} // several unknown providers share one label
	open, waiting := map[string]int{}, map[string]int{}
	for provider, at := range s.tokens.SoonestExpiry() {
		left, label := at.Sub(now).Seconds(), s.label(provider)
		open[label], waiting[label] = 0, 0 // whoever may have an outage has a series before
		if known, ok := soonest[label]; !ok || left < known {
			soonest[label] = left
		}
	}
	for provider, left := range soonest {
		out <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, left, provider)
	}
	for _, o := range s.outages() {
		for provider, count := range o.Waiting {
			open[s.label(provider)]++
			waiting[s.label(provider)] += count
		}
	}
	for provider, count := range open {
		out <- prometheus.MustNewConstMetric(circuitDesc, prometheus.GaugeValue, float64(count), provider)
		out <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(waiting[provider]), provider)
	}
}
