package apiserver

import (
	"strings"
	"testing"
)

// TestRejectedToken: an adapter whose own token kube-apiserver rejects is silent for Prometheus too, so that TachometerDown fires.
func TestRejectedToken(t *testing.T) {
	t.Parallel()
	r := serve(t, Health{})
	eventually(t, "serving", r.answers(t))
	if code, body := r.get(t, "reader", "/metrics"); code != 200 {
		t.Fatalf("%d before: %s", code, body)
	}
	r.kube.unauthorized.Store(true)
	// Another caller: the review of the first is remembered for some seconds.
	if code, body := r.get(t, "reader-of-later", "/metrics"); code < 400 || strings.Contains(body, "tachometer_test_one") {
		t.Errorf("self-metrics with a rejected token: %d %s", code, body)
	}
	if code, _ := r.get(t, "", "/readyz"); code != 200 {
		t.Errorf("/readyz: %d: the runbook says that the pods stay ready", code)
	}
}
