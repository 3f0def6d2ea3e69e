package surge

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// replicatedWorld has two replicas of the adapter. All connections of kube-apiserver end at the one that lies.
type replicatedWorld struct {
	*fakeWorld
	calm    func(*laneSim) Reading // of both until stepAt
	lie     func(*laneSim) Reading // of the replica liar then
	truth   func(*laneSim) Reading // of the replica honest then
	isAlone bool                   // the replica honest cannot be reached
	honest  int                    // reads of it
}

func (w *replicatedWorld) ReadMetrics(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, selector, otherThan string) []Reading {
	all := w.fakeWorld.ReadMetrics(ctx, a, selector, otherThan)
	w.mu.Lock()
	defer w.mu.Unlock()
	read, replica := w.lie, "liar"
	if otherThan == "liar" && !w.isAlone {
		w.honest++
		read, replica = w.truth, "honest"
	}
	if time.Now().Before(w.stepAt) {
		read = w.calm
	}
	all[0] = read(w.sim)
	all[0].Replica = replica
	return all
}

// playReplicas runs the lane on a world for ten minutes. One replica lies in eight of them.
func playReplicas(t *testing.T, w *replicatedWorld) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.stepAt = time.Now().Add(2*time.Minute + 300*time.Millisecond)
		w.sim.observed.Autoscaler.Annotations = map[string]string{Annotation: ""}
		lane := New(Options{Config: Config{Mode: ModeAct}, Namespaces: []string{"shop"}, Reader: w, Readings: w, Raiser: w, Events: w})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := lane.Run(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// TestLyingReplica: a replica of the adapter that always lies, and that kube-apiserver sends all reads to, raises and wakes nothing while
// another one can be reached. Where none can, its reads are those of an adapter with one replica.
func TestLyingReplica(t *testing.T) {
	t.Parallel()
	total := func(total float64, window time.Duration) func(*laneSim) Reading {
		return func(s *laneSim) Reading { return s.readTotal(total, window) }
	}
	failed := func(*laneSim) Reading { return Reading{Answer: hpa.Answer{Err: errors.New("503")}} }
	queue := func(messages int64) func(*laneSim) Reading {
		return func(*laneSim) Reading { return readQueue(messages) }
	}
	calm, step := total(40, time.Minute), total(400, 4*time.Second)
	atZero := func(w *replicatedWorld) {
		w.sim.setPods(0)
		a := w.sim.observed.Autoscaler
		a.Spec.MinReplicas, a.Spec.Metrics = new(int32(0)), newQueueSim(nil).observed.Autoscaler.Spec.Metrics
		a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScaledToZero, Status: corev1.ConditionTrue}}
	}
	for name, tc := range map[string]struct {
		calm, lie, truth func(*laneSim) Reading
		change           func(*replicatedWorld)
		raises           bool
	}{
		"a step over a short window": {calm: calm, lie: step, truth: calm},
		"a step of a gauge":          {calm: total(40, 0), lie: total(400, 0), truth: total(40, 0)},
		"the other has no answer":    {calm: calm, lie: step, truth: failed},
		"a queue":                    {calm: queue(0), lie: queue(60), truth: queue(0), change: atZero},
		"a queue, and no lie":        {calm: queue(0), lie: queue(60), truth: queue(60), change: atZero, raises: true},
		"no lie":                     {calm: calm, lie: step, truth: step, raises: true},
		"the other is not reached":   {calm: calm, lie: step, truth: calm, raises: true, change: func(w *replicatedWorld) { w.isAlone = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &replicatedWorld{fakeWorld: &fakeWorld{sim: newLaneSim()}, calm: tc.calm, lie: tc.lie, truth: tc.truth}
			if tc.change != nil {
				tc.change(w)
			}
			playReplicas(t, w)
			if raised := len(w.raises) > 0; raised != tc.raises {
				t.Errorf("%d raises, want any: %t", len(w.raises), tc.raises)
			}
			if !w.isAlone && w.honest == 0 {
				t.Error("the other replica was never asked")
			}
		})
	}
}
