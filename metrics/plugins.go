package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/invectd/invectd/broker"
	"github.com/invectd/invectd/plugins/host"
)

// pluginStates are all that a plugin can be in, so that none is missing.
var pluginStates = []broker.PluginState{
	broker.PluginRunning, broker.PluginUntrusted, broker.PluginRefused, broker.PluginQuarantined, broker.PluginStopped,
}

// pluginFolder counts what is in the plugins folder at each scrape.
type pluginFolder struct{ list func() []broker.Plugin }

var pluginsDesc = prometheus.NewDesc("invectd_plugins", "Programs in the plugins folder, by state.", []string{"state"}, nil)

// Describe implements [prometheus.Collector].
func (pluginFolder) Describe(to chan<- *prometheus.Desc) { to <- pluginsDesc }

// Collect implements [prometheus.Collector].
func (p pluginFolder) Collect(to chan<- prometheus.Metric) {
	counts := map[broker.PluginState]int{}
	for _, plugin := range p.list() {
		counts[plugin.State]++
	}
	for _, state := range pluginStates {
		to <- prometheus.MustNewConstMetric(pluginsDesc, prometheus.GaugeValue, float64(counts[state]), string(state))
	}
}

// pluginCalls measures what plugins do. Their names are those of files that an
// operator trusted, which are few.
type pluginCalls struct {
	ends  *prometheus.CounterVec
	calls *prometheus.HistogramVec
}

func newPluginCalls() pluginCalls {
	return pluginCalls{
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "invectd_plugin_ends_total",
			Help: "How often a plugin ended by itself or could not be started.",
		}, []string{"plugin"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "invectd_plugin_call_duration_seconds",
			Help:    "How long calls of plugins' hooks took, by result: ok, or error.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .5, 1, 5},
		}, []string{"plugin", "result"}),
	}
}

// Plugins returns the functions that count what the host of plugins does.
func (m *Metrics) Plugins() host.Trace {
	return host.Trace{
		Ended: func(plugin string) { m.plugins.ends.WithLabelValues(plugin).Inc() },
		Called: func(plugin string, took time.Duration, err error) {
			result := resultOK
			if err != nil {
				result = "error"
			}
			m.plugins.calls.WithLabelValues(plugin, result).Observe(took.Seconds())
		},
	}
}
