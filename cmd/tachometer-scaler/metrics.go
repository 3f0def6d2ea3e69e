package main

import "github.com/prometheus/client_golang/prometheus"

// newLeaderGauge returns the gauge that tells whether this replica leads.
func newLeaderGauge(lead *leadership) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tachometer_scaler_leader", Help: "1 where this replica leads, else 0.",
	}, func() float64 {
		if ctx, _, _ := lead.snapshotLeader(); ctx != nil {
			return 1
		}
		return 0
	})
}
