package controller

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestFailingGates: the metric has the holds with gates that the scaler tries to shut, and not those that only a person can shut.
func TestFailingGates(t *testing.T) {
	t.Parallel()
	all := make([]hold.Object, 1, 4)
	for _, c := range []metav1.Condition{
		{Type: "GateShut", Status: metav1.ConditionFalse, Reason: "Failed"},
		{Type: "GateShut", Status: metav1.ConditionFalse, Reason: "LeftOpen"},
		{Type: "GateShut", Status: metav1.ConditionTrue, Reason: "Shut"},
	} {
		all = append(all, hold.Object{Status: hold.Status{Conditions: []metav1.Condition{c}}})
	}
	m := NewMetrics(nil)
	for _, c := range []struct {
		all  []hold.Object
		want float64
	}{{all, 1}, {nil, 0}} {
		if m.countFailingGates(c.all); testutil.ToFloat64(m.failingGates) != c.want {
			t.Errorf("%v failing gates, want %v", testutil.ToFloat64(m.failingGates), c.want)
		}
	}
}
