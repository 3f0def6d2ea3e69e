package rollout

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// pauseHold sets the pause of a stored hold, as a person does.
func (b *bench) pauseHold(t *testing.T, workload, id string, paused bool, until *metav1.Time) {
	t.Helper()
	h := b.find(workload, id).DeepCopy()
	h.Spec.Paused, h.Spec.PausedUntil = paused, until
	if _, err := b.UpdateHold(t.Context(), h); err != nil {
		t.Fatal(err)
	}
}

// TestPauseEnds: a paused hold gives the numbers back, and raises again when the pause ends: by itself, or by a person.
func TestPauseEnds(t *testing.T) {
	t.Parallel()
	for name, byItself := range map[string]bool{"by itself": true, "by a person": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
			b.apply(t, "shop", nightHold(8))
			b.mustPass(t)
			end := metav1.NewTime(b.now.Add(5 * time.Second))
			var until *metav1.Time
			if byItself {
				until = &end
			}
			b.pauseHold(t, "shop", "schedule/hours", true, until)
			b.mustPass(t)
			if w.hpa.bounds.MinReplicas != 2 {
				t.Fatalf("paused: %+v", w.hpa.bounds)
			}
			b.apply(t, "shop", nightHold(9)) // the next window
			r, err := b.engine.ReconcileOnce(t.Context(), memoryRef("shop"), b.now)
			if err != nil || w.hpa.bounds.MinReplicas != 2 {
				t.Fatalf("the next window of a paused schedule: %v, %+v", err, w.hpa.bounds)
			}
			if byItself && !r.NextPass.Equal(end.Time) {
				t.Errorf("the next pass is at %s, and the pause ends at %s", r.NextPass, end)
			}
			b.now = end.Time
			if !byItself {
				b.pauseHold(t, "shop", "schedule/hours", false, nil)
			}
			b.mustPass(t)
			if w.hpa.bounds.MinReplicas != 9 {
				t.Errorf("after the pause: %+v", w.hpa.bounds)
			}
		})
	}
}

// TestPauseAtEveryStep: a hold that is paused after any write on its way up, also by the next process, shuts its gate and gives the numbers back;
// resumed, it comes up.
func TestPauseAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		states := map[hold.State]bool{}
		for writes := 1; writes < 20; writes++ {
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			b.apply(t, "shop", saleHold())
			b.writesLeft = writes
			for range 3 {
				_ = b.pass(t.Context())
				w.ready = w.replicas
			}
			states[b.find("shop", "event/sale").Status.State] = true
			b.restart()
			b.pauseHold(t, "shop", "event/sale", true, nil)
			b.mustPass(t)
			if w.hpa != nil && w.hpa.bounds != bounds || w.hpa == nil && w.replicas != 2 || b.gates.open["sale"] {
				t.Fatalf("%s, paused after %d writes: %d replicas, %+v, gate %v", name, writes, w.replicas, w.hpa, b.gates.open["sale"])
			}
			b.pauseHold(t, "shop", "event/sale", false, nil)
			b.mustPass(t)
			w.ready = w.replicas
			b.mustPass(t)
			if wantState(t, b.find("shop", "event/sale"), hold.Open, ""); !b.gates.open["sale"] {
				t.Fatalf("%s, resumed after %d writes: the gate is shut", name, writes)
			}
		}
		if len(states) < 5 {
			t.Errorf("%s: paused in the states %v only", name, states)
		}
	}
}
