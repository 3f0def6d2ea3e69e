package rollout

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestTransitionsBeginAtZero expects the counter of each state before its first transition, so that an alert sees the first one.
func TestTransitionsBeginAtZero(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	NewMetrics(registry)
	if count, err := testutil.GatherAndCount(registry, "tachometer_scaler_hold_transitions_total"); err != nil || count != 8 {
		t.Errorf("%d states have a counter, want 8 (%v)", count, err)
	}
}
