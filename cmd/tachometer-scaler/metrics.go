// The self-metrics of the program; each component has its own.

package main

import "github.com/prometheus/client_golang/prometheus"

// newLeaderGauge returns the gauge tachometer_scaler_leader.
func newLeaderGauge(lead *leadership) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_scaler_leader", Help: "1 if this replica leads, else 0.",
	}, func() float64 {
		if ctx, _, _ := lead.getLeaderSnapshot(); ctx != nil {
			return 1
		}
		return 0
	})
}
