// Zeros: an autoscaler's own zero is not given back, and a person's is.

package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestOwnZero: a hold on a workload at zero ends. Behind it an autoscaler that scaled to zero itself decides, and its pods stay until
// then; a workload that a person switched off is switched off again.
func TestOwnZero(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		scaledToZero bool
		minReplicas  int32
		want         bool // the scaler sets 0
	}{
		"the autoscaler's own zero":                 {scaledToZero: true},
		"a person's zero":                           {want: true},
		"a person's zero of an autoscaler from 2":   {minReplicas: 2, want: true},
		"its own zero, but minReplicas is 2 by now": {scaledToZero: true, minReplicas: 2, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := rowObserved(func(o *HeldWorkload, h *hold.Object) {
				h.Spec.Replicas, h.Status.Numbers = 1, nil
				o.Scale.Replicas, o.Pods = 0, nil
				o.Autoscaler.Bounds.MinReplicas, o.Autoscaler.ScaledToZero = tc.minReplicas, tc.scaledToZero
			})
			n := o.planHoldNumbers(hold.Numbers{}, benchStart)
			if n.Replicas.Set != max(1, tc.minReplicas) && n.Replicas.Set != 1 || n.MinReplicas.Set != max(1, tc.minReplicas) {
				t.Fatalf("the hold plans %+v, want a pod", n)
			}
			n.Sequence++
			o.Scale.Replicas, o.Autoscaler.Bounds.MinReplicas = n.Replicas.Set, n.MinReplicas.Set
			n = o.confirmHoldNumbers(n)
			n = o.planHoldNumbers(n, benchStart.Add(2*time.Hour))
			if isZero := n.Replicas.Set == 0; isZero != tc.want || n.MinReplicas.Set != tc.minReplicas {
				t.Errorf("after the hold it plans %+v, want zero: %t, minReplicas %d", n, tc.want, tc.minReplicas)
			}
		})
	}
}
