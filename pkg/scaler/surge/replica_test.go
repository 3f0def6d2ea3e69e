package surge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
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

// laneWorld is all that a lane reads and writes.
type laneWorld interface {
	rollout.Reader
	MetricsReader
	Raiser
	EventWriter
}

// runLane runs a lane that acts on a world, in a bubble.
func runLane(t *testing.T, w laneWorld, length time.Duration) {
	t.Helper()
	lane := New(Options{Config: Config{Mode: ModeAct}, Namespaces: []string{"shop"}, Reader: w, Readings: w, Raiser: w, Events: w})
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	if err := lane.Run(ctx); err != nil {
		t.Error(err)
	}
	synctest.Wait()
}

// playReplicas runs the lane on a world for ten minutes. One replica lies in eight of them.
func playReplicas(t *testing.T, w *replicatedWorld) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.stepAt = time.Now().Add(2*time.Minute + 300*time.Millisecond)
		w.sim.observed.Autoscaler.Annotations = map[string]string{Annotation: ""}
		runLane(t, w, 10*time.Minute)
	})
}

// queuedWorld has two replicas of the adapter that scrape a queue each second, each at a phase of its own. A read takes 20 ms.
type queuedWorld struct {
	*fakeWorld
	phases [2]time.Duration // of the scrapes, from start on
	start  time.Time
	itemAt time.Time // of the first item
}

func (w *queuedWorld) ReadMetrics(_ context.Context, _ *autoscalingv2.HorizontalPodAutoscaler, _, otherThan string) []Reading {
	waitVirtually(20 * time.Millisecond)
	replica := 0 // all connections of kube-apiserver end there
	if otherThan == "adapter-0" {
		replica = 1
	}
	first := w.start.Add(w.phases[replica])
	scraped := first.Add(time.Since(first).Truncate(time.Second))
	var messages int64
	if !scraped.Before(w.itemAt) {
		messages = 40
	}
	r := readQueue(messages)
	r.Newest, r.Replica = scraped, fmt.Sprint("adapter-", replica)
	return []Reading{r}
}

// setAtZero lets the autoscaler of a queue be at its own zero.
func (w *fakeWorld) setAtZero() {
	w.sim.setPods(0)
	a := w.sim.observed.Autoscaler
	a.Spec.MinReplicas, a.Spec.Metrics = new(int32(0)), newQueueSim(nil).observed.Autoscaler.Spec.Metrics
	a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScaledToZero, Status: corev1.ConditionTrue}}
}

// TestWakeWithinTwoSeconds: the first pod is asked for within two seconds of the first item, at any phase of the scrapes and looks, and
// although two replicas must agree.
func TestWakeWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	var slowest time.Duration
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 41))
		w := &queuedWorld{fakeWorld: &fakeWorld{sim: newLaneSim()}, phases: [2]time.Duration{
			time.Duration(random.Int64N(int64(time.Second))), time.Duration(random.Int64N(int64(time.Second))),
		}}
		w.setAtZero()
		w.sim.observed.Autoscaler.Annotations = map[string]string{Annotation: ""}
		synctest.Test(t, func(t *testing.T) {
			w.start = time.Now().Add(-time.Second)
			w.itemAt = time.Now().Add(90*time.Second + time.Duration(random.Int64N(int64(time.Second))))
			runLane(t, w, 100*time.Second)
		})
		if len(w.raiseAt) == 0 {
			t.Fatalf("seed %d: no wake", seed)
		}
		slowest = max(slowest, w.raiseAt[0].Sub(w.itemAt))
	}
	t.Logf("the slowest of 100 wakes took %s", slowest)
	if slowest > 2*time.Second {
		t.Errorf("the slowest wake took %s, want 2 s", slowest)
	}
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
	atZero := func(w *replicatedWorld) { w.setAtZero() }
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
