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
