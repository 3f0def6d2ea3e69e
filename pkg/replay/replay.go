// Package replay runs the record of an autoscaler through the HPA's arithmetic: with its own spec, which must give the recorded
// decisions, or with another spec.
package replay

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// Memory returns how far back the controller's memory of an autoscaler reaches: its longest window or policy period, and the default.
func Memory(spec *autoscalingv2.HorizontalPodAutoscalerSpec) time.Duration {
	longest := Settings().DownscaleStabilization
	if b := spec.Behavior; b != nil {
		for _, rules := range []*autoscalingv2.HPAScalingRules{b.ScaleUp, b.ScaleDown} {
			if rules == nil {
				continue
			}
			if rules.StabilizationWindowSeconds != nil {
				longest = max(longest, time.Duration(*rules.StabilizationWindowSeconds)*time.Second)
			}
			for _, p := range rules.Policies {
				longest = max(longest, time.Duration(p.PeriodSeconds)*time.Second)
			}
		}
	}
	return longest + time.Minute
}

// Look is a recorded decision with a computed one.
type Look struct {
	Time time.Time
	// Replicas is the number of pods before the decision, Recorded the recorded wish after all limits, and Computed the computed one.
	Replicas, Recorded, Computed int32
	// Decision has the steps of the arithmetic.
	Decision hpa.Decision
	// Unknown: the recorded numbers are not known, so that all three are 0.
	Unknown bool
	// Missing says which input was not recorded. Nothing is computed then.
	Missing string
	// ScaleFailed: the controller could not write the computed number to the scale, as its status tells, and so keeps the wish of before.
	ScaleFailed bool
	// AfterGap: the record has a gap so shortly before the look that the controller may remember a wish or a change of it. A look that differs
	// proves nothing then.
	AfterGap bool
}

// Differs reports whether the computed decision is another than the recorded one.
func (l Look) Differs() bool { return l.Missing == "" && l.Recorded != l.Computed }

// Settings are the settings of kube-controller-manager that a replay supposes: its defaults. HPAScaleToZero counts as on, because the
// recorded status tells: only a controller with the gate writes the condition ScaledToZero, and without it a 0 is a person's.
func Settings() hpa.Settings {
	s := hpa.DefaultSettings(36)
	s.ScaleToZero = true
	return s
}

// Reproduce computes each decision of a complete log from its own inputs, with the spec and the number of pods of its time. The
// controller's memory is empty at the begin of the log, so that an earlier wish may hold a number that is not computed.
func Reproduce(log *explainapi.DecisionLog, s hpa.Settings) []Look {
	var looks []Look
	var history hpa.History
	var before *explainapi.Decision
	gaps := newGapTracker(log)
	for i := range log.Decisions {
		d := &log.Decisions[i]
		spec := &log.Specs[d.Spec].Spec
		look := newReplayedLook(d, before)
		in := inputBuilder{spec: spec, recorded: spec, decision: d}
		status := statusBeforeReplay(before)
		if look.Missing == "" {
			look.Missing = in.findMissingInput(look.Replicas, status)
		}
		if look.Missing == "" {
			decideReplayedLook(&look, in.buildReplayInput(look.Replicas, look.Replicas, status, history), s)
			if look.ScaleFailed = look.Decision.Rescale && hasFailedScale(d); look.ScaleFailed {
				look.Computed = status.DesiredReplicas
			}
		}
		history = rememberRecordedLook(history, &look, d, spec.Behavior, s)
		look.AfterGap = gaps.isAfterGap(&look, len(d.Reads) > 0, Memory(spec))
		looks, before = append(looks, look), d
	}
	return looks
}

// rememberRecordedLook returns the controller's memory after a look. Where the computed decision is another than the recorded one, or there is none,
// the status tells whether the controller wrote the scale. A hold that changes the autoscaler within a look makes such a difference.
func rememberRecordedLook(before hpa.History, l *Look, d *explainapi.Decision, b *autoscalingv2.HorizontalPodAutoscalerBehavior, s hpa.Settings) hpa.History {
	after := before
	if l.Missing == "" {
		after = l.Decision.History
		if !l.Differs() && !l.ScaleFailed {
			return after
		}
	}
	after.ScaleUps, after.ScaleDowns = slices.Clone(before.ScaleUps), slices.Clone(before.ScaleDowns)
	if d.WrittenAfter != nil && d.Status.HasReason("SucceededRescale") {
		after.AddRescale(b, l.Replicas, l.Recorded, l.Time, s)
	}
	return after
}

// hasFailedScale reports whether the status of a look says that the scale could not be written.
func hasFailedScale(d *explainapi.Decision) bool { return d.Status.HasReason("FailedUpdateScale") }

// Simulate computes the decisions of another spec from the first look on. Where the number of pods is not the recorded one,
// the recorded total is spread evenly over the pods. The error says why a metric forbids that.
func Simulate(log *explainapi.DecisionLog, spec *autoscalingv2.HorizontalPodAutoscalerSpec, s hpa.Settings) ([]Look, error) {
	var looks []Look
	var history hpa.History
	var before *explainapi.Decision
	var status *explainapi.Status // nil before the first look
	replicas := int32(0)
	for i := range log.Decisions {
		d := &log.Decisions[i]
		look := newReplayedLook(d, before)
		recorded := look.Replicas
		if status == nil {
			replicas = recorded
			if look.Missing == "" {
				status = statusBeforeReplay(before)
			}
		}
		look.Replicas, look.Computed = replicas, replicas
		in := inputBuilder{spec: spec, recorded: &log.Specs[d.Spec].Spec, decision: d}
		if look.Missing == "" {
			look.Missing = in.findMissingInput(replicas, status)
		}
		if look.Missing == "" {
			if replicas != recorded {
				if err := in.checkLoadIndependence(); err != nil {
					return nil, err
				}
			}
			decideReplayedLook(&look, in.buildReplayInput(replicas, recorded, status, history), s)
			history = look.Decision.History
			status = newSimulatedStatus(&look.Decision.Status)
			replicas = look.Decision.Replicas
		}
		looks, before = append(looks, look), d
	}
	return looks, nil
}

// newSimulatedStatus returns the part of a status that the next look depends on.
func newSimulatedStatus(s *autoscalingv2.HorizontalPodAutoscalerStatus) *explainapi.Status {
	out := &explainapi.Status{DesiredReplicas: s.DesiredReplicas}
	for _, c := range s.Conditions {
		out.Conditions = append(out.Conditions, explainapi.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason})
	}
	return out
}

// newReplayedLook returns the recorded part of a look. The status after the look has the number of pods before it. Without a new
// status the number is the wish of the status before, if the scale got it.
func newReplayedLook(d, before *explainapi.Decision) Look {
	look := Look{Time: d.Time}
	switch {
	case d.Status == nil:
		look.Unknown, look.Missing = true, "the status is not known"
		return look
	case len(d.Status.Conditions) == 0:
		look.Unknown, look.Missing = true, "the controller has not looked yet"
		return look
	}
	look.Replicas, look.Recorded = d.Status.CurrentReplicas, d.Status.DesiredReplicas
	if d.WrittenAfter == nil && len(d.Reads) > 0 && before != nil && before.Status != nil && before.WrittenAfter != nil && !hasFailedScale(before) {
		look.Replicas = before.Status.DesiredReplicas
	}
	return look
}

func statusBeforeReplay(before *explainapi.Decision) *explainapi.Status {
	if before == nil || before.Status == nil {
		return &explainapi.Status{}
	}
	return before.Status
}

func decideReplayedLook(look *Look, in hpa.Input, s hpa.Settings) {
	look.Decision = hpa.Decide(in, s)
	look.Computed = look.Decision.Status.DesiredReplicas
}

// loadedByPods matches the metrics with a value that depends on the number of pods in another way than as a share of a total.
var loadedByPods = regexp.MustCompile(`(?i)(^|_)p\d{2,3}(_|$)|quantile|latency|duration|response_?time|_(seconds|milliseconds|ms|ratio|percent|percentage)$|utili[sz]ation|saturation`)

// quantileLabel matches a selector with the label of a summary's quantiles.
var quantileLabel = regexp.MustCompile(`(^|,)quantile(=| in )`)

// rateName matches the names of rates per second.
var rateName = regexp.MustCompile(`_per_second$|(^|_)(rps|qps)$`)

// IsRateName reports whether a metric is a rate per second by its name: a load that adds up over pods.
func IsRateName(name string) bool { return rateName.MatchString(name) }

// isLoadedByPods judges a metric by its name and by the labels of its selector, as a summary has them. A rate is a load, also of a
// histogram's counters.
func isLoadedByPods(m *autoscalingv2.MetricSpec) bool {
	name := nameReplayedMetric(m)
	if IsRateName(name) {
		return false
	}
	var selector *metav1.LabelSelector
	switch {
	case m.Pods != nil:
		selector = m.Pods.Metric.Selector
	case m.Object != nil:
		selector = m.Object.Metric.Selector
	case m.External != nil:
		selector = m.External.Metric.Selector
	}
	return loadedByPods.MatchString(name) || quantileLabel.MatchString(metav1.FormatLabelSelector(selector))
}

// checkLoadIndependence returns an error if a metric's value with another number of pods cannot be told.
func (b *inputBuilder) checkLoadIndependence() error {
	for i := range b.spec.Metrics {
		if m := &b.spec.Metrics[i]; isLoadedByPods(m) {
			return fmt.Errorf("metric %s depends on the number of pods, so that its values with another number are not in the record: "+
				"replay can compare specs that decide alike, or metrics that are a share of a load, such as a rate", nameReplayedMetric(m))
		}
	}
	return nil
}

// Compute returns the newest decision of a complete log by the arithmetic; nil if its inputs are not complete.
func Compute(log *explainapi.DecisionLog, s hpa.Settings) *explainapi.Computed {
	looks := Reproduce(log, s)
	for i := len(looks) - 1; i >= 0; i-- {
		if looks[i].Missing != "" {
			continue
		}
		return newComputedDecision(looks[i])
	}
	return nil
}

func newComputedDecision(l Look) *explainapi.Computed {
	d := l.Decision
	c := &explainapi.Computed{Replicas: d.Replicas, Wanted: d.Wanted}
	for _, m := range d.Metrics {
		step := explainapi.ComputedMetric{Name: m.Name, Stage: string(m.Stage), Wish: m.Replicas, Usage: m.Usage, Target: m.Target, Ratio: m.UsageRatio}
		if m.IsShareOfNone() { // JSON has no infinite numbers
			step.Usage, step.Ratio = m.Total, 0
		}
		if m.Err != nil {
			step.Error = m.Err.Error()
		}
		c.Metrics = append(c.Metrics, step)
	}
	if st := d.Stabilization; st != nil && st.Holding != nil {
		c.Holding = NewHeldWish(l)
	}
	if d.Limit != nil {
		c.Limit = d.Limit.Reason
	}
	return c
}

// NewHeldWish returns the earlier wish that a window of a look holds: the newest one as far from the present wish as the one that
// decides, since the window keeps the number until that one is too old. The look must have one.
func NewHeldWish(l Look) *explainapi.HeldWish {
	st := l.Decision.Stabilization
	from, isUp := st.DownFrom, st.Replicas < l.Decision.Wanted
	if isUp {
		from = st.UpFrom
	}
	held := *st.Holding
	for _, rec := range l.Decision.History.Recommendations {
		holds := !isUp && rec.Replicas >= held.Replicas || isUp && rec.Replicas <= held.Replicas
		if holds && rec.Time.After(held.Time) && rec.Time.Before(l.Time) {
			held = rec
		}
	}
	return &explainapi.HeldWish{Replicas: st.Holding.Replicas, Time: held.Time.UTC(), Until: held.Time.Add(l.Time.Sub(from)).UTC()}
}
