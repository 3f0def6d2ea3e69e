package hpa

import (
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// TestMain silences the controller's log.
func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	utilruntime.ErrorHandlers = nil
	flag.Parse()
	os.Exit(m.Run())
}

// readNumber returns a number from the environment, or its default.
func readNumber(t *testing.T, name string, number int) int {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		var err error
		if number, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return number
}

// kubernetesMinor returns the minor version of k8s.io/kubernetes that this test was built with.
func kubernetesMinor(t *testing.T) int {
	t.Helper()
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == "k8s.io/kubernetes" {
			minor, err := strconv.Atoi(strings.Split(dep.Version, ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			return minor
		}
	}
	t.Fatal("the test is built without k8s.io/kubernetes")
	return 0
}

const decisionsPerBubble = 2000

// TestAgreement compares each decision with the real controller's. HPA_CASES is the number of decisions, HPA_SEED the first seed.
func TestAgreement(t *testing.T) {
	cases, seed, minor := readNumber(t, "HPA_CASES", 20000), readNumber(t, "HPA_SEED", 1), kubernetesMinor(t)
	if utilfeature.DefaultMutableFeatureGate.GetAll()["StaleControllerConsistencyHPA"].Default {
		// waits for a watch that shows the controller its own writes
		if err := utilfeature.DefaultMutableFeatureGate.Set("StaleControllerConsistencyHPA=false"); err != nil {
			t.Fatal(err)
		}
	}
	run := agreementRun{seen: map[string]int{}}
	for run.decisions < cases && !t.Failed() {
		run.seed = uint64(seed)
		synctest.Test(t, func(t *testing.T) { run.compareBubble(t, minor) })
		seed++
	}
	t.Logf("Kubernetes 1.%d: %d decisions, %d differ; seen: %v", minor, run.decisions, run.differences, run.seen)
	for _, kind := range []string{
		"stage failed", "stage tolerated", "stage scaled", "stage ratio reversed", "stage count reversed", "stage from zero",
		"limit DesiredWithinRange", "limit TooFewReplicas", "limit TooManyReplicas", "limit ScaleUpLimit", "limit ScaleDownLimit",
		"held", "rescaled", "gave up", "missing 0", "missing target", "unready 0", "paused",
	} {
		if run.seen[kind] == 0 {
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
	defer func() { rig.forget(in.HPA) }()
	for range 1 + g.IntN(20) {
		time.Sleep(time.Duration(g.IntN(pick(g, 2, 20, 400))) * time.Second / time.Duration(pick(g, 1, 1, 3)))
		in.Now = time.Now()
		g.moveOn(&in)
		d := hpa.Decide(in, s)
		err := rig.turn(in)
		run.decisions++
		run.note(in, d)
		if difference := describeDifference(in, d, rig, err); difference != "" {
			run.differences++
			t.Errorf("seed %d, decision %d: %s\nspec %+v\nanswers %+v", run.seed, run.decisions, difference, in.HPA.Spec, in.Answers)
			return
		}
		in.HPA = in.HPA.DeepCopy()
		in.HPA.Status, in.History, in.SpecReplicas = d.Status, d.History, d.Replicas
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

// describeDifference compares a decision with what the controller wrote; empty without a difference.
func describeDifference(in hpa.Input, d hpa.Decision, rig *controllerRig, err error) string {
	status := in.HPA.Status
	if rig.wroteStatus != nil {
		status = rig.wroteStatus.Status
	}
	switch {
	case !equality.Semantic.DeepEqual(d.Status, status):
		return "status: - ours, + the controller's\n" + cmp.Diff(d.Status, status, cmp.Comparer(equality.Semantic.DeepEqual))
	case d.Rescale != rig.wroteScale:
		return "only one of the two rescales"
	case d.Rescale && (d.Replicas != rig.scale.Spec.Replicas || len(rig.event) != 2 || d.Reason != rig.event[1]):
		return "rescales to another number, or for another reason: " + cmp.Diff([]any{d.Replicas, d.Reason}, rig.event)
	case (err == nil) != (d.Err == nil) || err != nil && !strings.HasSuffix(err.Error(), d.Err.Error()):
		return "error: " + cmp.Diff(d.Err, err, cmp.Comparer(func(a, b error) bool { return a == b }))
	}
	return ""
}
