package surge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// The load of a faultyWorld, and the span of its fault.
const (
	steadyRate = 40.0
	faultAt    = 3 * time.Minute
	faultEnd   = 5 * time.Minute
)

// replicaFault replaces the answer of a fake replica of the adapter. since is the time since the begin of the fault.
type replicaFault func(w *faultyWorld, since time.Duration) Reading

// faultyWorld has two fake replicas of the adapter under a steady load of Poisson arrivals. kube-apiserver reads either of them.
type faultyWorld struct {
	*fakeWorld
	random *rand.Rand
	began  time.Time
	faults [2]replicaFault // nil: none
	faulty int             // answers in a fault
}

// ReadMetrics implements MetricsReader.
func (w *faultyWorld) ReadMetrics(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, selector, otherThan string) []Reading {
	all := w.fakeWorld.ReadMetrics(ctx, a, selector, otherThan)
	w.mu.Lock()
	defer w.mu.Unlock()
	replica := w.random.IntN(len(w.faults))
	if otherThan == fmt.Sprint("adapter-", replica) {
		replica = 1 - replica
	}
	since := time.Since(w.began) - faultAt
	if fault := w.faults[replica]; fault != nil && since >= 0 && since < faultEnd-faultAt {
		w.faulty++
		all[0] = fault(w, since)
	} else {
		all[0] = w.readNoisy(steadyRate, time.Minute)
	}
	all[0].Replica = fmt.Sprint("adapter-", replica)
	return all
}

// readNoisy returns a rate as a window shows it: with a deviation of sqrt(rate/window).
func (w *faultyWorld) readNoisy(rate float64, window time.Duration) Reading {
	return w.sim.readTotal(max(0, rate+w.random.NormFloat64()*math.Sqrt(rate/window.Seconds())), window)
}

// restartReplica answers after two scrapes, over the time since then.
func restartReplica(w *faultyWorld, since time.Duration) Reading {
	if since < 5*time.Second {
		return failReplica(w, since)
	}
	return w.readNoisy(steadyRate, min(time.Minute, (since-time.Second).Truncate(time.Second)))
}

func failReplica(*faultyWorld, time.Duration) Reading {
	return Reading{Answer: hpa.Answer{Err: errors.New("503: every value is stale")}}
}

// TestFaultyReplicaUnderSteadyLoad: a replica of the adapter that lies, is stale or restarts raises nothing under a steady load. A step that both
// replicas show does.
func TestFaultyReplicaUnderSteadyLoad(t *testing.T) {
	t.Parallel()
	lie := func(window time.Duration) replicaFault {
		return func(w *faultyWorld, _ time.Duration) Reading { return w.readNoisy(10*steadyRate, window) }
	}
	stale := func(w *faultyWorld, since time.Duration) Reading { // the peak of a minute ago, with the time of its sample
		r := w.sim.readTotal(2*steadyRate, 4*time.Second)
		r.Newest = r.Newest.Add(-since - time.Minute)
		return r
	}
	flap := func(w *faultyWorld, since time.Duration) Reading {
		if int(since.Seconds())%3 == 0 {
			return failReplica(w, since)
		}
		return restartReplica(w, since%(40*time.Second))
	}
	for name, tc := range map[string]struct {
		faults [2]replicaFault
		raises bool
	}{
		"one lies over a short window":         {faults: [2]replicaFault{lie(4 * time.Second), nil}},
		"one lies over the longest window":     {faults: [2]replicaFault{nil, lie(time.Minute)}},
		"one has a stale peak":                 {faults: [2]replicaFault{stale, nil}},
		"one has no young value":               {faults: [2]replicaFault{nil, failReplica}},
		"one restarts":                         {faults: [2]replicaFault{restartReplica, nil}},
		"both restart":                         {faults: [2]replicaFault{restartReplica, restartReplica}},
		"one restarts again and again":         {faults: [2]replicaFault{flap, nil}},
		"one lies while the other restarts":    {faults: [2]replicaFault{lie(4 * time.Second), restartReplica}},
		"one lies while the other has nothing": {faults: [2]replicaFault{lie(4 * time.Second), failReplica}},
		"both show a step":                     {faults: [2]replicaFault{lie(4 * time.Second), lie(4 * time.Second)}, raises: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(10) {
				w := &faultyWorld{fakeWorld: &fakeWorld{sim: newLaneSim()}, random: rand.New(rand.NewPCG(seed, 43)), faults: tc.faults}
				w.sim.observed.Autoscaler.Annotations = map[string]string{Annotation: ""}
				synctest.Test(t, func(t *testing.T) {
					w.began, w.stepAt = time.Now(), time.Now().Add(time.Hour)
					runLane(t, w, 10*time.Minute)
				})
				if raised := len(w.raises) > 0; raised != tc.raises || w.faulty < 20 {
					t.Errorf("seed %d: %d raises, want any: %t; %d answers in a fault", seed, len(w.raises), tc.raises, w.faulty)
				}
			}
		})
	}
}
