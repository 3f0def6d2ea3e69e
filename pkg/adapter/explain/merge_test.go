package explain

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// newWholeLog returns the record that one replica would have of all reads: a status only where it changes, as the recorder keeps it.
func newWholeLog() *explainapi.DecisionLog {
	return keepChangedStatuses(replaytest.Log(replaytest.Spec("request_per_second"),
		slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(400, 8), []float64{-1}, replaytest.Repeat(120, 40), replaytest.Repeat(600, 6))...))
}

// keepChangedStatuses leaves a status only where it changes.
func keepChangedStatuses(log *explainapi.DecisionLog) *explainapi.DecisionLog {
	for i := len(log.Decisions) - 1; i > 0; i-- {
		if equalWatchedStatus(log.Decisions[i].Status, log.Decisions[i-1].Status) {
			log.Decisions[i].WrittenAfter = nil
		}
	}
	return log
}

// dealLog splits a record over replicas: each look's reads reach one of them, and the others watch its status some milliseconds later.
func dealLog(whole *explainapi.DecisionLog, replicas int, reached func(look int) int) []*explainapi.DecisionLog {
	logs := make([]*explainapi.DecisionLog, replicas)
	for r := range logs {
		logs[r] = &explainapi.DecisionLog{ObjectMeta: whole.ObjectMeta, Specs: whole.Specs, Source: whole.Source}
	}
	for i, d := range whole.Decisions {
		for r, log := range logs {
			switch {
			case reached(i) == r:
				log.Decisions = append(log.Decisions, d)
			case d.WrittenAfter != nil:
				at := d.Time.Add(d.WrittenAfter.Duration + time.Duration(1+r*7)*time.Millisecond)
				log.Decisions = append(log.Decisions, explainapi.Decision{Time: at, Spec: d.Spec, Status: d.Status})
			}
		}
	}
	for _, log := range logs {
		log.Complete()
	}
	return logs
}

// TestMergeIsTheWholeRecord: however reads spread over replicas, the merged record is that of one replica that saw them all.
func TestMergeIsTheWholeRecord(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	drawn := make([]int, 100)
	for i := range drawn {
		drawn[i] = random.IntN(3)
	}
	for name, spread := range map[string]func(look int) int{
		"one after the other": func(look int) int { return look % 2 },
		"one alone":           func(int) int { return 1 },
		"another from a time": func(look int) int { return min(1, look/20) },
		"at random":           func(look int) int { return drawn[look] },
	} {
		whole := newWholeLog()
		logs := dealLog(newWholeLog(), 3, spread)
		for range logs { // whichever replica answers
			got := mergeDecisionLogs(slices.Clone(logs))
			if diff := cmp.Diff(whole.Decisions, got.Decisions); diff != "" {
				t.Errorf("%s (-whole +merged):\n%s", name, diff)
				break
			}
			for _, l := range replay.Reproduce(got, replay.Settings()) {
				if l.Missing != "" || l.Differs() {
					t.Errorf("%s: look at %s: recorded %d, computed %d, missing %q", name, l.Time, l.Recorded, l.Computed, l.Missing)
				}
			}
			logs = append(logs[1:], logs[0])
		}
	}
}

// TestMergeJoinsOneLook: a look whose metrics were read from two replicas is one decision.
func TestMergeJoinsOneLook(t *testing.T) {
	t.Parallel()
	at := replaytest.Begin
	status := &explainapi.Status{CurrentReplicas: 2, DesiredReplicas: 4}
	read := func(metric int, after time.Duration) explainapi.Decision {
		return explainapi.Decision{
			Time: at.Add(after), Reads: []explainapi.Read{{Metric: metric, Time: at.Add(after)}}, Pods: []explainapi.Pod{{Name: "web-1"}},
		}
	}
	newLog := func(decisions ...explainapi.Decision) *explainapi.DecisionLog {
		return &explainapi.DecisionLog{Specs: []explainapi.SpecVersion{{From: at}}, Decisions: decisions}
	}
	written := func(d explainapi.Decision, after time.Duration) explainapi.Decision {
		d.Status, d.WrittenAfter = status, &metav1.Duration{Duration: after}
		return d
	}
	first, second := read(0, 0), written(read(1, 10*time.Millisecond), 30*time.Millisecond)
	alone := explainapi.Decision{Time: at.Add(45 * time.Millisecond), Status: status}
	next := read(0, 15*time.Second)
	got := mergeDecisionLogs([]*explainapi.DecisionLog{newLog(first, alone, next), newLog(second)})
	if len(got.Decisions) != 2 {
		t.Fatalf("%d decisions, want 2: %+v", len(got.Decisions), got.Decisions)
	}
	d := got.Decisions[0]
	if len(d.Reads) != 2 || d.Status != status || d.WrittenAfter == nil || d.WrittenAfter.Duration != 40*time.Millisecond {
		t.Errorf("decision %+v", d)
	}
	// The next look's read of the other metric comes after the status of this one.
	late := read(1, 100*time.Millisecond)
	if got := mergeDecisionLogs([]*explainapi.DecisionLog{newLog(written(first, 20*time.Millisecond)), newLog(late)}); len(got.Decisions) != 2 {
		t.Errorf("a read after the status belongs to the look before: %+v", got.Decisions)
	}
}

// TestMergeKeepsTheNewestSpecLast: replicas see a spec at their own times.
func TestMergeKeepsTheNewestSpecLast(t *testing.T) {
	t.Parallel()
	version := func(seconds int, maxReplicas int32) explainapi.SpecVersion {
		v := explainapi.SpecVersion{From: replaytest.Begin.Add(time.Duration(seconds) * time.Second)}
		v.Spec.MaxReplicas = maxReplicas
		return v
	}
	decision := func(seconds, spec int) explainapi.Decision {
		return explainapi.Decision{Time: replaytest.Begin.Add(time.Duration(seconds) * time.Second), Spec: spec, Reads: []explainapi.Read{{}}}
	}
	got := mergeDecisionLogs([]*explainapi.DecisionLog{
		{Specs: []explainapi.SpecVersion{version(0, 5), version(60, 9), version(120, 5)}, Decisions: []explainapi.Decision{decision(15, 0), decision(75, 1), decision(135, 2)}},
		{Specs: []explainapi.SpecVersion{version(61, 9), version(121, 5)}, Decisions: []explainapi.Decision{decision(90, 0), decision(150, 1)}},
	})
	var specs, used []int32
	for _, s := range got.Specs {
		specs = append(specs, s.Spec.MaxReplicas)
	}
	for _, d := range got.Decisions {
		used = append(used, got.Specs[d.Spec].Spec.MaxReplicas)
	}
	if !slices.Equal(specs, []int32{5, 9, 5}) || !slices.Equal(used, []int32{5, 9, 9, 5, 5}) {
		t.Errorf("specs %v, of decisions %v", specs, used)
	}
}

// newEventfulLog returns the record that one replica would have of all reads, over a rollout and an edit of the spec.
func newEventfulLog() *explainapi.DecisionLog {
	edited := replaytest.Spec("request_per_second")
	edited.MaxReplicas = 8
	edited.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(60))}}
	var steps []replaytest.Step
	for _, load := range slices.Concat(replaytest.Repeat(90, 6), replaytest.Repeat(400, 14), replaytest.Repeat(120, 30), replaytest.Repeat(600, 30), replaytest.Repeat(90, 30)) {
		steps = append(steps, replaytest.Step{Load: load})
	}
	steps[18].Recreate, steps[24].Recreate, steps[22].Spec = true, true, &edited
	return keepChangedStatuses(replaytest.LogSteps(replaytest.Spec("request_per_second"), steps...))
}

// TestMergeOverGap: one of two replicas restarts. Where the other one has the reads of that time, the merged record gives each decision again. Where the
// restarted one took reads with it, each look that is not given again is known to be soon after the gap.
func TestMergeOverGap(t *testing.T) {
	t.Parallel()
	const down, up = 17, 26 // looks
	for name, tc := range map[string]struct {
		reached                func(look int) int
		agreed, lost, unjudged int // looks; 4 of those without a read changed no status, so that nothing of them is in the record
	}{
		"the other has all reads": {func(look int) int {
			if look >= down && look < up {
				return 0
			}
			return look % 2
		}, 110, 0, 0},
		"reads are lost in the gap": {func(look int) int { return look % 2 }, 104, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := newEventfulLog()
			logs := dealLog(newEventfulLog(), 2, tc.reached)
			gap := explainapi.Gap{From: whole.Decisions[down].Time.Add(-time.Second), Until: whole.Decisions[up].Time.Add(-time.Second)}
			logs[1].Decisions = slices.DeleteFunc(logs[1].Decisions, func(d explainapi.Decision) bool { return d.Time.After(gap.From) && d.Time.Before(gap.Until) })
			merged := mergeDecisionLogs(logs)
			merged.Source.Replicas = []explainapi.ReplicaRecord{{Name: "a"}, {Name: "b", Gaps: []explainapi.Gap{gap}}}
			agreed, lost, unjudged := 0, 0, 0
			for _, l := range replay.Reproduce(merged, replay.Settings()) {
				switch {
				case l.Missing != "":
					lost++
				case !l.Differs():
					agreed++
				case l.AfterGap:
					unjudged++
				default:
					t.Errorf("look at %s: recorded %d, computed %d", l.Time, l.Recorded, l.Computed)
				}
			}
			if agreed != tc.agreed || lost != tc.lost || unjudged != tc.unjudged {
				t.Errorf("%d agreed, %d lost, %d unjudged of %d looks; want %d, %d, %d", agreed, lost, unjudged, len(whole.Decisions), tc.agreed, tc.lost, tc.unjudged)
			}
		})
	}
}
