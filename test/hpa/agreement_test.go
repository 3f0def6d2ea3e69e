package hpa

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

var (
	caseCount = flag.Int("hpa.cases", 20000, "decisions to compare")
	firstSeed = flag.Uint64("hpa.seed", 1, "seed of the first controller")
)

// TestMain silences the controller's log.
func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	utilruntime.ErrorHandlers = nil
	flag.Parse()
	os.Exit(m.Run()) //nolint:forbidigo // TestMain has no other way to return the code
}

// findKubernetesMinor returns the minor version of the k8s.io/kubernetes in this test: 1.37 brought the gate HPAGeneration.
func findKubernetesMinor() int {
	if _, found := utilfeature.DefaultMutableFeatureGate.GetAll()["HPAGeneration"]; found {
		return 37
	}
	return 36
}

const decisionsPerBubble = 2000

// TestAgreement compares each decision with the real controller's: the status with its conditions, the scale, the reason, the error.
func TestAgreement(t *testing.T) {
	minor := findKubernetesMinor()
	if utilfeature.DefaultMutableFeatureGate.GetAll()["StaleControllerConsistencyHPA"].Default {
		// waits for a watch that shows the controller its own writes
		if err := utilfeature.DefaultMutableFeatureGate.Set("StaleControllerConsistencyHPA=false"); err != nil {
			t.Fatal(err)
		}
	}
	run := agreementRun{seed: *firstSeed, seen: map[string]int{}}
	for run.decisions < *caseCount && !t.Failed() {
		synctest.Test(t, func(t *testing.T) { run.compareBubble(t, minor) })
		run.seed++
	}
	t.Logf("Kubernetes 1.%d: %d decisions, %d differ; seen: %v", minor, run.decisions, run.differences, run.seen)
	for _, kind := range []string{
		"stage failed", "stage tolerated", "stage scaled", "stage ratio reversed", "stage count reversed", "stage from zero",
		"limit DesiredWithinRange", "limit TooFewReplicas", "limit TooManyReplicas", "limit ScaleUpLimit", "limit ScaleDownLimit",
		"held", "rescaled", "gave up", "missing 0", "missing target", "unready 0", "paused",
	} {
		if run.seen[kind] == 0 && (minor >= 37 || kind != "stage from zero") { // 1.36 wakes nothing at its default gates
			t.Errorf("no decision is of the kind %q: the cases are too tame", kind)
		}
	}
}

type agreementRun struct {
	seed                   uint64
	decisions, differences int
	seen                   map[string]int
}

// compareBubble compares decisions of one controller, HPA after HPA, in virtual time.
func (run *agreementRun) compareBubble(t *testing.T, minor int) {
	g := caseGenerator{rand.New(rand.NewPCG(run.seed, 0))}
	s := hpa.DefaultSettings(minor)
	if g.maybe(2) {
		s.Tolerance, s.DownscaleStabilization = g.Float64()/2, time.Duration(g.IntN(600))*time.Second
		s.CPUInitializationPeriod, s.InitialReadinessDelay = time.Duration(g.IntN(600))*time.Second, time.Duration(g.IntN(60))*time.Second
	}
	rig, stop := newControllerRig(s)
	defer stop()
	for end := run.decisions + decisionsPerBubble; run.decisions < end; {
		run.compareHPA(t, g, s, rig)
		if t.Failed() {
			return
		}
	}
}

// compareHPA compares an HPA's decisions over some turns, so that history matters.
func (run *agreementRun) compareHPA(t *testing.T, g caseGenerator, s hpa.Settings, rig *controllerRig) {
	in := hpa.Input{HPA: g.generateHPA(s), SpecReplicas: g.Int32N(12)}
	defer func() { rig.forgetHPA(in.HPA) }()
	for range 1 + g.IntN(20) {
		turn := time.Duration(g.IntN(pick(g, 2, 20, 400))) * time.Second / time.Duration(pick(g, 1, 1, 3))
		time.Sleep(turn) //nolint:forbidigo // in a synctest bubble
		in.Now = time.Now()
		g.moveOn(&in)
		d := hpa.Decide(in, s)
		err := rig.decideOnce(in)
		run.decisions++
		run.note(in, d)
		if difference := describeDifference(in, d, rig, err); difference != "" {
			run.differences++
			t.Errorf("seed %d, decision %d: %s\nspec %+v\nanswers %+v", run.seed, run.decisions, difference, in.HPA.Spec, in.Answers)
			return
		}
		in.HPA = in.HPA.DeepCopy()
		in.HPA.Status, in.History = d.Status, d.History
		if d.Replicas >= 0 { // twice the largest number overflows in the controller too; kube-apiserver rejects the scale
			in.SpecReplicas = d.Replicas
		}
	}
}

// moveOn changes the world between two turns.
func (g caseGenerator) moveOn(in *hpa.Input) {
	if g.maybe(15) {
		in.HPA = in.HPA.DeepCopy()
		g.changeSpec(in.HPA)
		in.HPA.Generation++
	}
	if g.maybe(15) {
		in.SpecReplicas = g.Int32N(14)
	}
	if g.maybe(60) {
		in.SpecReplicas = g.generateExtreme(pick[int32](g, 100, 1000))
	}
	in.StatusReplicas = in.SpecReplicas
	if g.maybe(6) {
		in.StatusReplicas = g.Int32N(14)
	}
	if len(in.Pods) != int(in.SpecReplicas) || g.maybe(3) {
		in.Pods = g.generatePods(in.SpecReplicas, in.Now)
	}
	in.Answers = nil
	for _, spec := range in.HPA.Spec.Metrics {
		in.Answers = append(in.Answers, g.generateAnswer(spec, in.Pods, in.StatusReplicas, in.Now))
	}
}

// note counts the kinds of decisions.
func (run *agreementRun) note(in hpa.Input, d hpa.Decision) {
	for _, m := range d.Metrics {
		run.seen["stage "+string(m.Stage)]++
		run.seen["missing "+string(m.Missing)]++
		run.seen["unready "+string(m.Unready)]++
	}
	if d.Limit != nil {
		run.seen["limit "+d.Limit.Reason]++
		if d.Stabilization.Holding != nil {
			run.seen["held"]++
		}
	}
	switch {
	case d.Rescale:
		run.seen["rescaled"]++
	case d.Err != nil:
		run.seen["gave up"]++
	case in.SpecReplicas == 0 && d.Metrics == nil:
		run.seen["paused"]++
	}
}

// requestError is an error about one pod's requests. The controller meets pods in a random order, and so names any of them.
var requestError = regexp.MustCompile(`(missing request for|missing pod-level request for|container \S+ not found)[^"]* Pod p\d+`)

// maskPodNames returns a status without the pod that an error about requests names.
func maskPodNames(status autoscalingv2.HorizontalPodAutoscalerStatus) autoscalingv2.HorizontalPodAutoscalerStatus {
	masked := *status.DeepCopy()
	for i := range masked.Conditions {
		masked.Conditions[i].Message = requestError.ReplaceAllString(masked.Conditions[i].Message, "requests")
	}
	return masked
}

// maskError returns an error's text without the pod that it names.
func maskError(err error) string { return requestError.ReplaceAllString(err.Error(), "requests") }

// describeDifference compares a decision with what the controller wrote; empty without a difference.
func describeDifference(in hpa.Input, d hpa.Decision, rig *controllerRig, err error) string {
	status := in.HPA.Status
	if rig.wroteStatus != nil {
		status = rig.wroteStatus.Status
	}
	d.Status, status = maskPodNames(d.Status), maskPodNames(status)
	switch {
	case !equality.Semantic.DeepEqual(d.Status, status):
		return "status: - ours, + the controller's\n" + cmp.Diff(d.Status, status)
	case d.Rescale != rig.wroteScale:
		return "only one of the two rescales"
	case d.Rescale && (d.Replicas != rig.scale.Spec.Replicas || len(rig.event) != 2 || d.Reason != rig.event[1]):
		return "rescales to another number, or for another reason: " + cmp.Diff([]any{d.Replicas, d.Reason}, rig.event)
	case (err == nil) != (d.Err == nil) || err != nil && !strings.HasSuffix(maskError(err), maskError(d.Err)):
		return fmt.Sprintf("error: ours %v, the controller's %v", d.Err, err)
	}
	return ""
}
