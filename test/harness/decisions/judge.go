// Package decisions compares the adapter's record of autoscalers with what the HPA controller wrote: each recorded decision must follow
// from its recorded inputs by pkg/hpa, and the record must have every wish of the controller.
package decisions

import (
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// Verdict counts the decisions of records by how they compare with the arithmetic.
type Verdict struct {
	// Agreed are decisions that their recorded inputs give.
	Agreed int
	// Changed are looks within which an input changed: their wish is that of the look beside it or follows from the spec of that look, or
	// pods changed between the read and the decision.
	Changed int
	// Unrecorded are looks with an input that is not in the record: a replica that had it is gone, or a status changed without a read.
	Unrecorded int
	// Remembered are looks that another wish decides, so shortly after an unrecorded one that the controller may remember it.
	Remembered int
	// Rounded are looks at CPU or memory, of which the status has whole percents alone.
	Rounded int
	// Differences are decisions that do not follow from the record, in words.
	Differences []string
}

// Add adds the counts of another verdict.
func (v *Verdict) Add(o Verdict) {
	v.Agreed, v.Changed, v.Unrecorded = v.Agreed+o.Agreed, v.Changed+o.Changed, v.Unrecorded+o.Unrecorded
	v.Remembered, v.Rounded = v.Remembered+o.Remembered, v.Rounded+o.Rounded
	v.Differences = append(v.Differences, o.Differences...)
}

// String says the counts.
func (v Verdict) String() string {
	return fmt.Sprintf("%d decisions of the controller agree with the record, %d differ; not judged: %d changed within the look, %d without a recorded input, %d after one, %d of CPU in whole percents",
		v.Agreed, len(v.Differences), v.Changed, v.Unrecorded, v.Remembered, v.Rounded)
}

// Judge computes each decision of a complete record again, from a time on. The looks before it are the controller's memory.
func Judge(log *explainapi.DecisionLog, from time.Time) Verdict {
	var v Verdict
	looks := replay.Reproduce(log, replay.Settings())
	unknown := log.Source.UnknownBefore
	for i, l := range looks {
		d := &log.Decisions[i]
		if l.Missing != "" {
			unknown = l.Time
		}
		spec := &log.Specs[d.Spec].Spec
		switch {
		case l.Time.Before(from):
		case l.Missing != "":
			v.Unrecorded++
		case !l.Differs():
			v.Agreed++
		case isBetweenLooks(log, looks, i), followsFromNeighbourSpec(log, i):
			v.Changed++
		case l.Time.Sub(unknown) < controllerMemory(spec):
			v.Remembered++
		case hasResourceMetric(spec):
			v.Rounded++
		default:
			v.Differences = append(v.Differences, fmt.Sprintf("%s/%s at %s: the controller decided %d, by the record it would be %d: %+v",
				log.Namespace, log.Name, l.Time.Format(time.RFC3339Nano), l.Recorded, l.Computed, *d))
		}
	}
	return v
}

// isBetweenLooks reports whether a look's recorded wish follows from the inputs of the look before or after it.
func isBetweenLooks(log *explainapi.DecisionLog, looks []replay.Look, i int) bool {
	for _, j := range []int{i - 1, i + 1} {
		if j < 0 || j >= len(looks) {
			continue
		}
		if looks[j].Missing == "" && looks[j].Computed == looks[i].Recorded || !slices.Equal(log.Decisions[j].Pods, log.Decisions[i].Pods) {
			return true
		}
	}
	return false
}

// followsFromNeighbourSpec reports whether a look's recorded wish is what its inputs give with the spec of the look before or after it:
// the spec changed between the controller's read and its decision, as by a hold that raises minReplicas.
func followsFromNeighbourSpec(log *explainapi.DecisionLog, i int) bool {
	for _, j := range []int{i - 1, i + 1} {
		if j < 0 || j >= len(log.Decisions) || log.Decisions[j].Spec == log.Decisions[i].Spec {
			continue
		}
		other := *log
		other.Decisions = slices.Clone(log.Decisions[:i+1])
		other.Decisions[i].Spec = log.Decisions[j].Spec
		look := replay.Reproduce(&other, replay.Settings())[i]
		if look.Missing == "" && !look.Differs() {
			return true
		}
	}
	return false
}

// controllerMemory returns how long the controller remembers a wish or a change: the longest window or policy of a spec.
func controllerMemory(spec *autoscalingv2.HorizontalPodAutoscalerSpec) time.Duration {
	down := replay.Settings().DownscaleStabilization
	longest := 15 * time.Second // the default policies
	if b := spec.Behavior; b != nil {
		if b.ScaleDown != nil && b.ScaleDown.StabilizationWindowSeconds != nil {
			down = time.Duration(*b.ScaleDown.StabilizationWindowSeconds) * time.Second
		}
		for _, rules := range []*autoscalingv2.HPAScalingRules{b.ScaleUp, b.ScaleDown} {
			if rules == nil {
				continue
			}
			if w := rules.StabilizationWindowSeconds; w != nil {
				longest = max(longest, time.Duration(*w)*time.Second)
			}
			for _, p := range rules.Policies {
				longest = max(longest, time.Duration(p.PeriodSeconds)*time.Second)
			}
		}
	}
	return max(longest, down) + time.Second
}

func hasResourceMetric(spec *autoscalingv2.HorizontalPodAutoscalerSpec) bool {
	return len(spec.Metrics) == 0 || slices.ContainsFunc(spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		return m.Resource != nil || m.ContainerResource != nil
	})
}
