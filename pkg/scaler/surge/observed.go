// The inputs of a decision: the observation of a look, and the memory of the looks before.

package surge

import (
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// LaneAutoscaler is all that the lane knows about an autoscaler at a look. Decide changes nothing of it.
type LaneAutoscaler struct {
	Autoscaler *autoscalingv2.HorizontalPodAutoscaler
	Replicas   int32         // of the target's scale
	Pods       []*corev1.Pod // of the target
	Readings   []Reading     // belong to the autoscaler's metrics, in their order
	Holds      []hold.Object // of the workload
	Terms      Terms
	Mode       Mode
	Now        time.Time
	// IsShared reports whether another autoscaler has the same target or the same pods: the HPA controller then scales for neither.
	IsShared bool
}

// Reading is the answer of a metrics API for one metric.
type Reading struct {
	hpa.Answer
	// IsUnread marks a metric that the lane does not read; Answer.Err says so.
	IsUnread bool
	// Window is the longest window of the values; 0: they have none.
	Window time.Duration
	// Newest is the time of the newest sample.
	Newest time.Time
	// Replica is the name of the adapter's replica that answered; empty: not told.
	Replica string
}

// Memory is the lane's memory of an autoscaler. The zero value is its start.
type Memory struct {
	// Target is the workload that the memory belongs to. An autoscaler that is pointed at another one begins anew.
	Target hold.Workload
	// GoodSince is the begin of the good answers; zero: there was none yet. FailedSince is the first failure since the last good
	// answer; zero: the last answer was good.
	GoodSince, FailedSince time.Time
	Metrics                []LaneMetricMemory // of the autoscaler, in their order
	Replicas               int32              // at the latest look that taught a steady demand
	Agreement              Agreement
	Raise                  *Raise // in force, or in the mode observe supposed to be; nil: none
	// Raises are the times of the raises within the budget's period.
	Raises []time.Time
	// OffUntil is the end of a time without raises.
	OffUntil time.Time
	// BudgetToldAt is the time of the last notice about an exhausted budget.
	BudgetToldAt time.Time
	// UnplacedToldAt is the time of the last log line about a hold that could not be placed; zero: the last one could.
	UnplacedToldAt time.Time
	// Expected are the raises of the mode observe that the autoscaler has not made yet.
	Expected []Raise
}

// Agreement is a row of looks that all find a surge.
type Agreement struct {
	Since     time.Time // zero: no row
	Looks     int
	Samples   int // looks with a newer sample than the look before
	Shortened int // latest looks in a row with a shortened window
	Newest    time.Time
	// Replica is the adapter's replica that answered the latest look; empty: not told. IsConfirmed is set if another one answered the look before.
	Replica     string
	IsConfirmed bool
	Last, Low   int32 // wish of the latest look, and the lower wish of the latest two
	// Wishes are the wishes of the time that the autoscaler wants a wish to last, of which no later one is below.
	Wishes []hpa.Recommendation
	// First and Demand are the demands of the first look and of the latest, Earlier and Before the demands of the two looks before the latest.
	First, Earlier, Before, Demand float64
}

// Raise is a raise to a number of replicas.
type Raise struct {
	Replicas     int32
	From         int32 // replicas before it
	Began, Until time.Time
	Cause        string // for people
	IsWake       bool   // it is the first pod
	IsSeen       bool   // its hold was there at a look
}

// cloneLaneMemory returns a copy that can be changed.
func cloneLaneMemory(m Memory) Memory {
	m.Metrics, m.Raises, m.Expected = slices.Clone(m.Metrics), slices.Clone(m.Raises), slices.Clone(m.Expected)
	if m.Raise != nil {
		raise := *m.Raise
		m.Raise = &raise
	}
	return m
}

// removeUnreadMetrics removes the metrics that the lane does not read: the arithmetic takes them for failed ones. At zero it removes failed
// metrics beside others too: metrics of the workload's own pods have no answer there. The autoscaler is changed in a copy.
func (o *LaneAutoscaler) removeUnreadMetrics() {
	all, isAnswered := o.Autoscaler.Spec.Metrics, func(r Reading) bool { return r.Err == nil }
	mayFail := o.Replicas == 0 && slices.ContainsFunc(o.Readings, isAnswered)
	isRemoved := func(r Reading) bool { return r.IsUnread || mayFail && !isAnswered(r) }
	if len(o.Readings) != len(all) || !slices.ContainsFunc(o.Readings, isRemoved) {
		return
	}
	a := *o.Autoscaler
	a.Spec.Metrics = nil
	for i, r := range o.Readings {
		if !isRemoved(r) {
			a.Spec.Metrics = append(a.Spec.Metrics, all[i])
		}
	}
	o.Autoscaler, o.Readings = &a, slices.DeleteFunc(slices.Clone(o.Readings), isRemoved)
}

// findSurgeHold returns the lane's hold on the workload, or nil. A person may have given another object the same ID.
func (o *LaneAutoscaler) findSurgeHold() *hold.Object {
	i := slices.IndexFunc(o.Holds, o.isSurgeHold)
	if i < 0 {
		return nil
	}
	return &o.Holds[i]
}

// isSurgeHold reports whether a hold is the lane's.
func (o *LaneAutoscaler) isSurgeHold(h hold.Object) bool {
	return h.HoldID() == HoldID && h.Name == hold.ObjectName(workloadOfAutoscaler(o.Autoscaler), HoldID)
}

// isWorkloadHeldByPerson reports whether a hold that no program made is on the workload, or a hold that left its number to another client.
func (o *LaneAutoscaler) isWorkloadHeldByPerson() bool {
	return slices.ContainsFunc(o.Holds, func(h hold.Object) bool {
		id := h.HoldID()
		isProgram := o.isSurgeHold(h) || strings.HasPrefix(id, hold.SchedulePrefix) || strings.HasPrefix(id, hold.EventPrefix)
		return !h.IsOver(o.Now) && (!isProgram || len(h.Status.Yielded) > 0)
	})
}

// scaledItselfToZero reports whether the autoscaler itself has scaled the workload to zero, and can wake it. Any other zero is a person's.
func (o *LaneAutoscaler) scaledItselfToZero() bool {
	return hpa.IsOwnZero(o.Autoscaler, hpa.DefaultSettings(hpaMinor))
}

// isScaleUpDisabled reports whether the autoscaler's behavior forbids to scale up.
func (o *LaneAutoscaler) isScaleUpDisabled() bool {
	b := o.Autoscaler.Spec.Behavior
	return b != nil && b.ScaleUp != nil && b.ScaleUp.SelectPolicy != nil && *b.ScaleUp.SelectPolicy == autoscalingv2.DisabledPolicySelect
}

// scaleUpStabilization returns the time for which the autoscaler's behavior wants a wish to last.
func (o *LaneAutoscaler) scaleUpStabilization() time.Duration {
	b := o.Autoscaler.Spec.Behavior
	if b == nil || b.ScaleUp == nil || b.ScaleUp.StabilizationWindowSeconds == nil {
		return 0
	}
	return time.Duration(*b.ScaleUp.StabilizationWindowSeconds) * time.Second
}

// maxRaisedReplicas returns the highest number of a raise.
func (o *LaneAutoscaler) maxRaisedReplicas() int32 {
	highest := min(o.Autoscaler.Spec.MaxReplicas, maxHoldReplicas)
	if o.Terms.MaxReplicas > 0 {
		highest = min(highest, o.Terms.MaxReplicas)
	}
	return highest
}
