package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/invectd/invectd/broker"
)

// policyLoaded tells whether what is in force is what the policy file says.
func policyLoaded(p *broker.Policy) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "invectd_policy_last_reload_successful",
		Help: "1 if the policy file is in force as it is, or there is none; 0 if it is broken and an older version is.",
	}, func() float64 {
		if p.State().Fault == "" {
			return 1
		}
		return 0
	})
}

// policyLoadedAt tells since when the rules are in force.
func policyLoadedAt(p *broker.Policy) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "invectd_policy_last_reload_success_timestamp_seconds",
		Help: "When the rules in force were read, in Unix time; 0 without a policy file.",
	}, func() float64 {
		if at := p.State().LoadedAt; !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	})
}
