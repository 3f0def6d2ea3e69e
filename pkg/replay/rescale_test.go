package replay_test

import (
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// newHeldZeroLog returns the record of workers at their autoscaler's own zero. A hold raises minReplicas to 1 right before the second look, and
// the third look, which reads the messages, comes 400 ms later.
func newHeldZeroLog(second, third *explainapi.Status) *explainapi.DecisionLog {
	log := replaytest.ZeroLog(0)
	log.Specs[0].Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}}
	held := log.Specs[0]
	held.Spec.MinReplicas = new(int32(1))
	log.Specs = append(log.Specs, held)
	look := func(after time.Duration, milli int64, status *explainapi.Status) explainapi.Decision {
		at := replaytest.Begin.Add(2*replaytest.Period + after)
		return explainapi.Decision{
			Time: at, Spec: 1, Reads: []explainapi.Read{{Time: at, Values: []explainapi.Value{{Milli: milli}}}},
			Status: status, WrittenAfter: &metav1.Duration{Duration: 14 * time.Millisecond},
		}
	}
	log.Decisions = append(log.Decisions, look(0, 0, second), look(400*time.Millisecond, 400_000, third))
	return log
}

// newWorkerStatus returns a status with the conditions of an autoscaler's own zero, after a rescale without them.
func newWorkerStatus(current, desired int32, isRescaled bool) *explainapi.Status {
	s := &explainapi.Status{CurrentReplicas: current, DesiredReplicas: desired, Conditions: []explainapi.Condition{
		{Type: "AbleToScale", Status: "True", Reason: "ReadyForNewScale"}, {Type: "ScaledToZero", Status: "True", Reason: "ScaledToZero"},
	}}
	if isRescaled {
		s.Conditions[0].Reason, s.Conditions[1] = "SucceededRescale", explainapi.Condition{Type: "ScaledToZero", Status: "False", Reason: "NotScaledToZero"}
	}
	return s
}

// TestRescalesFollowTheStatus: where a look differs from the record, since a hold changed the autoscaler within it, the controller remembers the
// rescale that its status tells, and not the computed one. The looks after it, which policies limit by that memory, agree.
func TestRescalesFollowTheStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log          *explainapi.DecisionLog
		second       int32 // the computed number of the second look
		readsMissing bool
	}{
		"the controller did not see the hold yet":  {log: newHeldZeroLog(newWorkerStatus(0, 0, false), newWorkerStatus(0, 4, true)), second: 1},
		"the controller saw more than the record":  {log: newHeldZeroLog(newWorkerStatus(0, 2, true), newWorkerStatus(2, 4, true)), second: 1},
		"the look before has no read":              {log: newHeldZeroLog(newWorkerStatus(0, 2, true), newWorkerStatus(2, 4, true)), readsMissing: true},
		"the look before has no read nor rescale":  {log: newHeldZeroLog(newWorkerStatus(0, 0, false), newWorkerStatus(0, 4, true)), readsMissing: true},
		"the status is of a rescale before a look": {log: newHeldZeroLog(newWorkerStatus(0, 1, true), newWorkerStatus(1, 4, true)), second: 1},
	} {
		if c.readsMissing {
			c.log.Decisions[2].Reads = nil
		}
		looks := replay.Reproduce(c.log, replay.Settings())
		if got := looks[2].Computed; got != c.second || c.readsMissing != (looks[2].Missing != "") {
			t.Errorf("%s: the second look %+v, want %d", name, looks[2], c.second)
		}
		if l := looks[3]; l.Missing != "" || l.Differs() {
			t.Errorf("%s: by the record the third look gives %d, the controller decided %d (%s)", name, l.Computed, l.Recorded, l.Missing)
		}
	}
}

// TestFailedScale: a controller that cannot write the scale keeps its wish of before, also where its status stays the same, and remembers no rescale.
func TestFailedScale(t *testing.T) {
	t.Parallel()
	spec := replaytest.Spec("request_per_second")
	spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	log := replaytest.Log(spec, replaytest.Repeat(200, 6)...)
	denied := &explainapi.Status{CurrentReplicas: 2, DesiredReplicas: 2, Conditions: []explainapi.Condition{
		{Type: "AbleToScale", Status: "False", Reason: "FailedUpdateScale"}, {Type: "ScalingActive", Status: "True", Reason: "ValidMetricFound"},
	}}
	first := log.Decisions[0]
	for i := range log.Decisions {
		d := first
		d.Time = first.Time.Add(time.Duration(i) * time.Second) // within the period of the policy
		d.Status, d.WrittenAfter = denied, nil
		log.Decisions[i] = d
	}
	log.Decisions[0].WrittenAfter = first.WrittenAfter
	last := &log.Decisions[len(log.Decisions)-1]
	last.Status, last.WrittenAfter = newWorkerStatus(2, 4, true), first.WrittenAfter
	before := log.Decisions[0]
	before.Time, before.Reads, before.Status = first.Time.Add(-replaytest.Period), nil, newWorkerStatus(2, 2, false)
	log.Decisions = append([]explainapi.Decision{before}, log.Decisions...)
	looks := replay.Reproduce(log, replay.Settings())[1:]
	for i, l := range looks {
		if want := i < len(looks)-1; l.Missing != "" || l.Differs() || l.ScaleFailed != want || l.Replicas != 2 || l.Decision.Replicas != 4 {
			t.Errorf("look %d: %d pods, %d recorded, %d computed, failed %v, %d decided (%s)", i, l.Replicas, l.Recorded, l.Computed, l.ScaleFailed, l.Decision.Replicas, l.Missing)
		}
	}
}
