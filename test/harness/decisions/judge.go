// Package decisions compares the adapter's record of autoscalers with what the HPA controller wrote: each recorded decision must follow
// from its recorded inputs by pkg/hpa, and the record must have every wish of the controller.
package decisions

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// Verdict counts the decisions of records by how they compare with the arithmetic.
type Verdict struct {
	// Agreed are decisions that their recorded inputs give, and looks that the controller gave up.
	Agreed int
	// Changed are looks within which an input changed: their wish is that of the look beside it, or follows from the spec or the pods of that look.
	Changed int
	// Unrecorded are looks with an input that is not in the record: a replica that had it is gone, or a status changed without a read.
	Unrecorded int
	// Reasons counts the Unrecorded ones by the input that is missing.
	Reasons map[string]int
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
	for reason, n := range o.Reasons {
		v.countReason(reason, n)
	}
}

func (v *Verdict) countReason(reason string, n int) {
	if v.Reasons == nil {
		v.Reasons = map[string]int{}
	}
	v.Reasons[reason] += n
}

// ListReasons returns the reasons of the Unrecorded looks, each with its count, the most frequent first.
func (v Verdict) ListReasons() []string {
	reasons := slices.Sorted(maps.Keys(v.Reasons))
	slices.SortStableFunc(reasons, func(a, b string) int { return v.Reasons[b] - v.Reasons[a] })
	for i, reason := range reasons {
		reasons[i] = fmt.Sprintf("%d not judged: %s", v.Reasons[reason], reason)
	}
	return reasons
}

// String says the counts.
func (v Verdict) String() string {
	return fmt.Sprintf("%d decisions of the controller agree with the record, %d with an input that changed within the look, %d differ; not judged are %.1f %%: %d without a recorded input, %d after one, %d of CPU in whole percents",
		v.Agreed, v.Changed, len(v.Differences), 100*v.UnjudgedShare(), v.Unrecorded, v.Remembered, v.Rounded)
}

// UnjudgedShare returns the share of decisions that are neither agreed nor different; 0 without decisions.
func (v Verdict) UnjudgedShare() float64 {
	return float64(v.Unrecorded+v.Remembered+v.Rounded) / float64(max(1, v.Decisions()))
}

// Decisions returns the number of decisions.
func (v Verdict) Decisions() int {
	return v.Agreed + v.Changed + len(v.Differences) + v.Unrecorded + v.Remembered + v.Rounded
}

// Judge computes each decision of a complete record again, from a time on. The looks before it are the controller's memory.
func Judge(log *explainapi.DecisionLog, from time.Time) Verdict {
	var v Verdict
	looks := replay.Reproduce(log, replay.Settings())
	unknown := log.Source.UnknownBefore
	for i, l := range looks {
		d := &log.Decisions[i]
		isGivenUp := l.Missing != "" && i > 0 && keepsWishOfGivenUpLook(d, &log.Decisions[i-1])
		if l.Missing != "" && !isGivenUp {
			unknown = l.Time
		}
		spec := &log.Specs[d.Spec].Spec
		switch {
		case l.Time.Before(from), d.Status != nil && len(d.Status.Conditions) == 0: // a new autoscaler's status, before the controller's first decision
		case isGivenUp:
			v.Agreed++
		case l.Missing != "":
			v.Unrecorded++
			v.countReason(l.Missing, 1)
		case !l.Differs():
			v.Agreed++
		case followsFromNeighbour(log, looks, i):
			v.Changed++
		case l.Time.Sub(unknown) < controllerMemory(spec):
			v.Remembered++
		case hasResourceMetric(spec):
			v.Rounded++
		default:
			v.Differences = append(v.Differences, fmt.Sprintf("%s/%s at %s: the controller decided %d, by the record it would be %d: %s",
				log.Namespace, log.Name, l.Time.Format(time.RFC3339Nano), l.Recorded, l.Computed, describeRecordedLooks(log, i)))
		}
	}
	return v
}

// describeRecordedLooks returns a look with its spec and the three looks before it, as JSON: enough to compute it again.
func describeRecordedLooks(log *explainapi.DecisionLog, i int) string {
	looks := struct {
		Spec  autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec"`
		Looks []explainapi.Decision                     `json:"looks"`
	}{log.Specs[log.Decisions[i].Spec].Spec, log.Decisions[max(0, i-3) : i+1]}
	data, err := json.Marshal(looks)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// keepsWishOfGivenUpLook reports whether the controller gave a look up, as its status tells, and kept the wish of before: it had no scale, no selector or
// no metric, perhaps because no read reached the adapter. Such a look leaves nothing in the controller's memory.
func keepsWishOfGivenUpLook(d, before *explainapi.Decision) bool {
	if d.Status == nil || before.Status == nil || len(d.Reads) > 0 && d.WrittenAfter == nil { // the status is of an earlier look
		return false
	}
	isGivenUp := slices.ContainsFunc(d.Status.Conditions, func(c explainapi.Condition) bool {
		return c.Status == string(corev1.ConditionFalse) && (c.Type == string(autoscalingv2.AbleToScale) && c.Reason == "FailedGetScale" ||
			c.Type == string(autoscalingv2.ScalingActive) && c.Reason != "ScalingDisabled")
	})
	return isGivenUp && d.Status.DesiredReplicas == before.Status.DesiredReplicas && d.Status.LastScaleTime.Equal(before.Status.LastScaleTime)
}

// followsFromNeighbour reports whether a look's recorded wish is what it would be with an input of the look before or after it: that input changed
// between the adapter's answer and the controller's decision. The inputs are the computed wish, the spec (as by a hold that raises minReplicas), and
// the pods, of which some may have changed before the decision and some after it.
func followsFromNeighbour(log *explainapi.DecisionLog, looks []replay.Look, i int) bool {
	for _, j := range []int{i - 1, i + 1} {
		if j < 0 || j >= len(looks) {
			continue
		}
		if looks[j].Missing == "" && looks[j].Computed == looks[i].Recorded {
			return true
		}
		own, other := &log.Decisions[i], &log.Decisions[j]
		specs := slices.Compact([]int{own.Spec, other.Spec})
		for _, pods := range mixPods(own.Pods, other.Pods) {
			if slices.ContainsFunc(specs, func(spec int) bool { return agreesWith(log, i, spec, pods) }) {
				return true
			}
		}
	}
	return false
}

// agreesWith reports whether a look's recorded wish follows from its reads with a spec and pods of the caller's.
func agreesWith(log *explainapi.DecisionLog, i, spec int, pods []explainapi.Pod) bool {
	changed := *log
	changed.Decisions = slices.Clone(log.Decisions[:i+1])
	changed.Decisions[i].Spec, changed.Decisions[i].Pods = spec, pods
	look := replay.Reproduce(&changed, replay.Settings())[i]
	return look.Missing == "" && !look.Differs()
}

// maxMixedPods bounds the pods that mixPods mixes.
const maxMixedPods = 8

// mixPods returns the lists that lie between two lists of pods: each pod that differs is as in the one or as in the other. Of more than maxMixedPods
// it returns the two lists alone.
func mixPods(a, b []explainapi.Pod) [][]explainapi.Pod {
	find := func(all []explainapi.Pod, name string) int {
		return slices.IndexFunc(all, func(p explainapi.Pod) bool { return p.Name == name })
	}
	var same []explainapi.Pod
	var changed [][2][]explainapi.Pod // as in a and as in b, each of one pod or none
	for _, p := range a {
		at := find(b, p.Name)
		switch {
		case at < 0:
			changed = append(changed, [2][]explainapi.Pod{{p}, nil})
		case b[at] != p:
			changed = append(changed, [2][]explainapi.Pod{{p}, {b[at]}})
		default:
			same = append(same, p)
		}
	}
	for _, p := range b {
		if find(a, p.Name) < 0 {
			changed = append(changed, [2][]explainapi.Pod{nil, {p}})
		}
	}
	if len(changed) > maxMixedPods {
		return [][]explainapi.Pod{a, b}
	}
	var all [][]explainapi.Pod
	for mix := range 1 << len(changed) {
		pods := slices.Clone(same)
		for i, states := range changed {
			pods = append(pods, states[mix>>i&1]...)
		}
		all = append(all, pods)
	}
	return all
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
