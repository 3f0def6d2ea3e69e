package filewatch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics holds the self-metrics of a configuration file, the same three in every program.
type Metrics struct {
	generation, lastSuccess, faults prometheus.Gauge
}

// NewMetrics returns the metrics of a program ("adapter", "scaler"), registered with r; a nil r registers nothing.
func NewMetrics(r prometheus.Registerer, program string) *Metrics {
	f := promauto.With(r)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{
			Name: "tachometer_config_" + name, Help: help, ConstLabels: prometheus.Labels{"program": program},
		})
	}
	return &Metrics{
		generation:  gauge("generation", "Configurations applied since the start."),
		lastSuccess: gauge("last_success_timestamp_seconds", "When the active configuration was read."),
		faults:      gauge("faults", "Faults in the newest configuration file; above 0 the previous one stays active."),
	}
}

// RecordApplied counts a configuration that became active at now. The generation is set last: a reader that sees it also sees the other metrics.
func (m *Metrics) RecordApplied(now time.Time) {
	m.faults.Set(0)
	m.lastSuccess.Set(float64(now.Unix()))
	m.generation.Inc()
}

// RecordRejected records the faults of a rejected configuration, at least 1.
func (m *Metrics) RecordRejected(faults int) { m.faults.Set(float64(max(1, faults))) }
