package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

var (
	surgeSteps  = flag.Int("surge.steps", 0, "steps of TestSurge with the lane, of some three minutes each")
	surgeEvery  = flag.Duration("surge.interval", time.Second, "scrape `interval` of TestSurge")
	surgeBeside = flag.Int("surge.beside", 3, "steps of TestSurge without the lane, spread over the others")
)

// The load of a surge, in requests per second: at 20 a pod, 2 and 20 pods.
const (
	surgePerPod = 20
	beforeSurge = 40
	duringSurge = 400
	surgePods   = 20
	surgeEnough = 18 // of 20: the HPA tolerates a tenth
	surgeWait   = 4 * time.Minute
	// The promises of docs/surge.md, in seconds: the 95th percentile until enough pods are wanted, and the median until they are ready.
	promisedWanted, promisedReady = 5, 16

	keptSurges = 3 // the first steps whose pods are watched for two periods of the HPA controller after the hold
)

// surgeTimes are the seconds from a step until enough pods are wanted, and ready, and the requests that failed meanwhile.
type surgeTimes struct {
	wanted, ready float64
	failed        int
	path          string // the numbers of pods that were wanted, each with its second
}

// TestSurge steps the load from 40 to 400 requests/s, in turns without and with the surge lane. The lane raises ahead of the HPA, which
// keeps the pods after the lane's hold is over; nothing of the hold stays.
func TestSurge(t *testing.T) {
	needSurge(t)
	load := beginSurges(t)
	times := map[bool][]surgeTimes{}
	for i := range *surgeSteps {
		if i%max(*surgeSteps/max(*surgeBeside, 1), 1) == 0 && len(times[false]) < *surgeBeside {
			times[false] = append(times[false], stepSurge(t, load, false))
		}
		times[true] = append(times[true], stepSurge(t, load, true))
		if i < keptSurges {
			surgeIsKept(t)
		}
	}
	for _, withLane := range []bool{false, true} {
		t.Logf("lane %t, %s", withLane, describeSurges(times[withLane]))
	}
	if err := judgeSurges(times[true]); err != nil {
		t.Error(err)
	}
	for _, m := range times[true] {
		if m.failed > 0 && !slices.ContainsFunc(times[false], func(m surgeTimes) bool { return m.failed > 0 }) {
			t.Errorf("with the lane %d requests of a step failed, and none without it", m.failed)
		}
	}
}

// needSurge skips the test unless `make surge` runs it.
func needSurge(t *testing.T) {
	t.Helper()
	needNode(t)
	if *surgeSteps == 0 {
		t.Skip("SKIPPED: -surge.steps is not set: run `make surge`")
	}
}

// beginSurges prepares the node for steps of the load with the lane, until the test ends, and sends the load before them.
func beginSurges(t *testing.T) *sending {
	t.Helper()
	light(t)
	scrapeEvery(t, *surgeEvery)
	reshapeForSurge(t)
	installSurgeLane(t, surge.ModeAct)
	return send(t, beforeSurge)
}

// scrapeEvery sets the adapter's scrape interval until the test ends. docs/surge.md has figures for a second: a raise waits for two scrapes.
func scrapeEvery(t *testing.T, interval time.Duration) {
	t.Helper()
	original := configuration(t)
	t.Cleanup(func() { configure(context.Background(), t, original) })
	if !strings.Contains(original, "interval: 2s") {
		t.Fatal("the configuration has no interval of 2s")
	}
	configure(t.Context(), t, strings.Replace(original, "interval: 2s", "interval: "+interval.String(), 1))
}

// stepSurge steps the load and returns the times. It expects a raise of the lane if the autoscaler is in it, and none otherwise.
func stepSurge(t *testing.T, load *sending, withLane bool) surgeTimes {
	t.Helper()
	settleBeforeSurge(t, load, annotateForSurge(t, withLane))
	before, raisedBefore := load.Result().Total(), countSurgeEvents(t.Context(), t, surge.ReasonRaised)
	load.rate.Store(duringSurge)
	m := watchSurge(t)
	after := load.Result().Total()
	m.failed = after.Failed - before.Failed
	t.Logf("lane %t: %d pods wanted after %.1f s, ready after %.1f s; %d of %d requests failed; wanted:%s", withLane, surgeEnough,
		m.wanted, m.ready, m.failed, after.Sent-before.Sent, m.path)
	if raised := countSurgeEvents(t.Context(), t, surge.ReasonRaised) > raisedBefore; raised != withLane {
		t.Errorf("lane %t: it raised: %t", withLane, raised)
	}
	return m
}

// describeSurges returns the quantiles of steps as a text.
func describeSurges(all []surgeTimes) string {
	wanted, ready := sortSurgeTimes(all)
	return fmt.Sprintf("%d steps: %d pods wanted after %.1f s (median), %.1f s (95th percentile), ready after %.1f s, %.1f s", len(all), surgeEnough,
		surgeQuantile(wanted, 50), surgeQuantile(wanted, 95), surgeQuantile(ready, 50), surgeQuantile(ready, 95))
}

// judgeSurges returns an error if the steps with the lane break its promises.
func judgeSurges(all []surgeTimes) error {
	wanted, ready := sortSurgeTimes(all)
	if p95, p50 := surgeQuantile(wanted, 95), surgeQuantile(ready, 50); p95 > promisedWanted || p50 > promisedReady {
		return fmt.Errorf("with the lane %d pods are wanted after %.1f s (95th percentile) and ready after %.1f s (median); promised are %d s and %d s",
			surgeEnough, p95, p50, promisedWanted, promisedReady)
	}
	return nil
}

// sortSurgeTimes returns the times of steps until enough pods are wanted, and ready.
func sortSurgeTimes(all []surgeTimes) (wanted, ready []float64) {
	for _, m := range all {
		wanted, ready = append(wanted, m.wanted), append(ready, m.ready)
	}
	slices.Sort(wanted)
	slices.Sort(ready)
	return wanted, ready
}

// surgeQuantile returns the sorted time that a percentage of them comes before; 0 of none.
func surgeQuantile(sorted []float64, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// reshapeForSurge gives the sample's HPA room for 20 pods, and a quick way down. The test's end restores it.
func reshapeForSurge(t *testing.T) {
	t.Helper()
	original, err := hpa(t.Context(), "sample")
	if err != nil {
		t.Fatal(err)
	}
	updateSampleHPA(t, func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.MaxReplicas = surgePods
		h.Spec.Metrics[0].Pods.Target.AverageValue = resource.NewQuantity(surgePerPod, resource.DecimalSI)
		h.Spec.Behavior.ScaleDown = &autoscalingv2.HPAScalingRules{
			StabilizationWindowSeconds: new(int32(15)),
			Policies:                   []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}},
		}
	})
	t.Cleanup(func() {
		updateSampleHPA(t, func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec, h.Annotations = original.Spec, original.Annotations
		})
	})
}

// updateSampleHPA changes the sample's HPA.
func updateSampleHPA(t *testing.T, change func(*autoscalingv2.HorizontalPodAutoscaler)) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		h, err := hpa(ctx, "sample")
		if err != nil {
			return err
		}
		change(h)
		_, err = s.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).Update(ctx, h, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Errorf("update the HPA: %v", err)
	}
}

// annotateForSurge puts the sample's HPA into the lane, or takes it out. It reports whether the HPA enters it.
func annotateForSurge(t *testing.T, isIn bool) (enters bool) {
	t.Helper()
	updateSampleHPA(t, func(h *autoscalingv2.HorizontalPodAutoscaler) {
		_, wasIn := h.Annotations[surge.Annotation]
		enters = isIn && !wasIn
		delete(h.Annotations, surge.Annotation)
		if isIn {
			metav1.SetMetaDataAnnotation(&h.ObjectMeta, surge.Annotation, "")
		}
	})
	return enters
}

// installSurgeLane installs the scaler with the lane in a mode. The test's end removes it before the HPA is restored.
func installSurgeLane(t *testing.T, mode surge.Mode) {
	t.Helper()
	dir := map[surge.Mode]string{surge.ModeAct: "test/e2e/manifests/surge", surge.ModeObserve: "test/e2e/manifests/surge-observe"}[mode]
	t.Cleanup(func() {
		if t.Failed() {
			dumpScaler()
		}
		for _, args := range [][]string{
			{"-n", stack.SampleNamespace, "delete", "holds", "--all", "--timeout=60s"},
			{"delete", "--ignore-not-found", "-n", stack.AdapterNamespace, "deploy/tachometer-scaler", "configmap/tachometer-scaler-config", "lease/tachometer-scaler"},
			{"wait", "--for=delete", "--timeout=60s", "-n", stack.AdapterNamespace, "pod", "-l", "app.kubernetes.io/name=tachometer-scaler"},
		} {
			if _, err := s.Kubectl(context.Background(), args...); err != nil {
				t.Error(err)
			}
		}
	})
	if err := s.Apply(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), "-n", stack.AdapterNamespace, "rollout", "status", "deploy/tachometer-scaler", "--timeout=120s"); err != nil {
		t.Fatal(err)
	}
}

// settleBeforeSurge waits for two pods under the low load, and until the lane has settled if the HPA enters it. The step comes at any
// time of the HPA's period.
func settleBeforeSurge(t *testing.T, load *sending, enters bool) {
	t.Helper()
	load.rate.Store(beforeSurge)
	if err := stack.Wait(t.Context(), surgeWait, func(ctx context.Context) error { return steady(ctx, 2) }); err != nil {
		t.Fatal(err)
	}
	settle := 20 * time.Second
	if enters { // the lane reads the HPA for a minute, and for half a minute over the longest window
		settle = 100 * time.Second
	}
	waitForSurge(t, settle+rand.N(15*time.Second))
}

// watchSurge returns the times from now until enough pods are wanted, and ready.
func watchSurge(t *testing.T) surgeTimes {
	t.Helper()
	var m surgeTimes
	stepped, wanted := time.Now(), int32(0)
	err := stack.Wait(t.Context(), surgeWait, func(ctx context.Context) error {
		d, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, "sample", metav1.GetOptions{})
		if err != nil {
			return err
		}
		pods, err := s.ReadyPods(ctx)
		if err != nil {
			return err
		}
		if wanted != *d.Spec.Replicas {
			wanted = *d.Spec.Replicas
			m.path += fmt.Sprintf(" %d at %.1f s", wanted, time.Since(stepped).Seconds())
		}
		if m.wanted == 0 && wanted >= surgeEnough {
			m.wanted = time.Since(stepped).Seconds()
		}
		if len(pods) < surgeEnough {
			return fmt.Errorf("%d pods are wanted and %d ready, want %d", wanted, len(pods), surgeEnough)
		}
		m.ready = time.Since(stepped).Seconds()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// surgeIsKept waits until no hold is left and the HPA has its own bounds, and expects that the HPA keeps the pods by itself.
func surgeIsKept(t *testing.T) {
	t.Helper()
	err := stack.Wait(t.Context(), surgeWait, func(ctx context.Context) error {
		all, err := sampleHolds(ctx)
		if err != nil {
			return err
		}
		h, err := hpa(ctx, "sample")
		if err == nil && (len(all) > 0 || *h.Spec.MinReplicas != 2) {
			err = fmt.Errorf("%d holds are left, and minReplicas is %d", len(all), *h.Spec.MinReplicas)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(32 * time.Second); time.Now().Before(end); <-time.After(time.Second) { // two periods of the HPA controller
		d, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(t.Context(), "sample", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if *d.Spec.Replicas < surgeEnough {
			t.Fatalf("after the surge %d pods are wanted, want at least %d", *d.Spec.Replicas, surgeEnough)
		}
	}
}

// countSurgeEvents counts the Events of the lane with a reason.
func countSurgeEvents(ctx context.Context, t *testing.T, reason string) int {
	t.Helper()
	list, err := s.Client.CoreV1().Events(stack.SampleNamespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range list.Items {
		if list.Items[i].Source.Component == hold.Manager {
			n++
		}
	}
	return n
}
