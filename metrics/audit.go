package metrics

import "github.com/prometheus/client_golang/prometheus"

// An AuditState is how the audit log is.
type AuditState struct {
	Writable bool
	Altered  bool   // by somebody else
	Missed   uint64 // lines that could not be written since the start
	Line     uint64 // the number of the last one
	Mark     uint64 // the first 48 bits of its mac, which a float64 holds exactly
}

var (
	auditWritable = prometheus.NewDesc("invectd_audit_writable", "1 if the audit log can be written, else 0: no change is made then.", nil, nil)
	auditAltered  = prometheus.NewDesc("invectd_audit_altered", "1 if somebody changed the audit log, as was seen since the start.", nil, nil)
	auditMissed   = prometheus.NewDesc("invectd_audit_missed_lines_total", "Lines of the audit log that could not be written.", nil, nil)
	auditLine     = prometheus.NewDesc("invectd_audit_last_line", "The number of the last line of the audit log. It never falls.", nil, nil)
	auditMark     = prometheus.NewDesc("invectd_audit_last_mac", "The first 48 bits of the mac of that line. In hex, invectd audit verify --expect compares with it.", nil, nil)
)

// An auditLog collects all that is told of the audit log from one moment, so that
// line and mac belong together.
type auditLog struct{ state func() AuditState }

// Describe implements [prometheus.Collector].
func (a auditLog) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{auditWritable, auditAltered, auditMissed, auditLine, auditMark} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (a auditLog) Collect(to chan<- prometheus.Metric) {
	state := a.state()
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	gauge(auditWritable, yes(state.Writable))
	gauge(auditAltered, yes(state.Altered))
	gauge(auditLine, float64(state.Line))
	gauge(auditMark, float64(state.Mark))
	to <- prometheus.MustNewConstMetric(auditMissed, prometheus.CounterValue, float64(state.Missed))
}

func yes(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
