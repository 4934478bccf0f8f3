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
)

// A stock collects what is held at the moment of a scrape.
type stock struct {
	tokens *broker.Tokens
	label  func(provider string) string
}

// Describe implements [prometheus.Collector].
func (s *stock) Describe(out chan<- *prometheus.Desc) {
	out <- credentialsDesc
	out <- expiryDesc
}

// Collect implements [prometheus.Collector].
func (s *stock) Collect(out chan<- prometheus.Metric) {
	now := time.Now()
	for status, count := range s.tokens.CountByStatus(now) {
		out <- prometheus.MustNewConstMetric(credentialsDesc, prometheus.GaugeValue, float64(count), string(status))
	}
	soonest := map[string]float64{} // several unknown providers share one label
	for provider, at := range s.tokens.SoonestExpiry() {
		left, label := at.Sub(now).Seconds(), s.label(provider)
		if known, ok := soonest[label]; !ok || left < known {
			soonest[label] = left
		}
	}
	for provider, left := range soonest {
		out <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, left, provider)
	}
}
