// Package try evaluates a rule that is not deployed: the adapter computes it on live pods, and the HPA's arithmetic says what an
// autoscaler would ask for.
package try

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// Reviewer sends a review of a rule to the adapter. Implementations may be used concurrently.
type Reviewer interface {
	Review(ctx context.Context, namespace string, spec explainapi.RuleReviewSpec) (*explainapi.RuleReviewStatus, error)
}

// RuleTrial is the present result of a rule.
type RuleTrial struct {
	Namespace string    `json:"namespace"`
	File      string    `json:"file"`
	Time      time.Time `json:"time"`
	// Faults are the file's; with any, nothing is computed.
	Faults []explainapi.RuleFault `json:"faults,omitempty"`
	// Reviews are the adapter's answers, one for each metric that the file's rules serve.
	Reviews []explainapi.RuleReviewStatus `json:"reviews,omitempty"`
	// Explanation is the autoscaler's decision; nil without one.
	Explanation *explain.Explanation `json:"explanation,omitempty"`
}

// Broken reports whether the file is faulty, or some metric has no value.
func (t *RuleTrial) Broken() bool {
	if len(t.Faults) > 0 {
		return true
	}
	for _, r := range t.Reviews {
		if r.Error != "" {
			return true
		}
	}
	if t.Explanation != nil {
		for _, m := range t.Explanation.Metrics {
			if m.Error != "" {
				return true
			}
		}
	}
	return false
}

// Options are the inputs of a trial.
type Options struct {
	Reviewer  Reviewer
	Namespace string
	// File is the name of the rule's file, and Config its text.
	File, Config string
	Now          func() time.Time
}

// Review computes a metric of the file. The spec may leave the metric open if the file has a single rule with a name. Faults of the file are in
// the RuleTrial; an error means that the adapter did not answer.
func Review(ctx context.Context, spec explainapi.RuleReviewSpec, opts Options) (*RuleTrial, error) {
	spec.Config = opts.Config
	status, err := opts.Reviewer.Review(ctx, opts.Namespace, spec)
	if err != nil {
		return nil, err
	}
	t := &RuleTrial{Namespace: opts.Namespace, File: opts.File, Time: opts.Now(), Faults: status.Faults}
	if len(t.Faults) == 0 {
		t.Reviews = append(t.Reviews, *status)
	}
	return t, nil
}

// ReviewFor computes the decision of an autoscaler with the rules of the file. It reads metrics that these rules do not serve from the
// metrics APIs, by the deployed rules. If the rules serve none of the autoscaler's metrics, that is an error.
func ReviewFor(ctx context.Context, autoscaler *autoscalingv2.HorizontalPodAutoscaler, objects *inventory.Inventory, metrics reading.MetricReader, opts Options) (*RuleTrial, error) {
	if !slices.ContainsFunc(autoscaler.Spec.Metrics, isTriableMetric) {
		return nil, fmt.Errorf("hpa/%s names no metric that a rule can serve, of type Pods, Object or External", autoscaler.Name)
	}
	reviewed := &reviewReader{next: metrics.Reader, opts: opts}
	metrics.Reader = reviewed
	e := explain.Live(ctx, newTrialAutoscaler(autoscaler, objects), explain.Options{Objects: objects, Metrics: metrics, Now: opts.Now()})
	switch {
	case reviewed.err != nil:
		return nil, reviewed.err
	case len(reviewed.others) > 0 && len(reviewed.reviews) == 0 && len(reviewed.faults) == 0:
		return nil, fmt.Errorf("no rule of %s serves a metric of hpa/%s, which names %s", opts.File, autoscaler.Name, strings.Join(reviewed.others, ", "))
	}
	t := &RuleTrial{Namespace: opts.Namespace, File: opts.File, Time: opts.Now(), Faults: reviewed.faults, Reviews: reviewed.reviews}
	if len(t.Faults) == 0 {
		t.Explanation = e
		t.noteTrialOmissions()
		e.Time = t.Time // after the wait for scrapes
	}
	return t, nil
}

// isTriableMetric reports whether rules can serve a metric: CPU and memory come from the kubelet.
func isTriableMetric(m autoscalingv2.MetricSpec) bool {
	return m.Pods != nil || m.Object != nil || m.External != nil
}

// newTrialAutoscaler returns the autoscaler with the present number of pods: a manifest has no status. The conditions of a deployed
// autoscaler belong to its own metrics, and are left out.
func newTrialAutoscaler(autoscaler *autoscalingv2.HorizontalPodAutoscaler, objects *inventory.Inventory) *autoscalingv2.HorizontalPodAutoscaler {
	tried := autoscaler.DeepCopy()
	replicas := int32(len(objects.PodsOf(objects.WorkloadOf(autoscaler)))) //nolint:gosec // pods of one workload
	for i := range objects.HPAs {
		if live := &objects.HPAs[i]; live.Name == autoscaler.Name && live.Namespace == autoscaler.Namespace && live.Status.CurrentReplicas > 0 {
			replicas = live.Status.CurrentReplicas
		}
	}
	tried.Status = autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: replicas, DesiredReplicas: replicas}
	return tried
}

// noteTrialOmissions replaces the notes of pods without a value by the reasons of the review.
func (t *RuleTrial) noteTrialOmissions() {
	for _, r := range t.Reviews {
		for _, o := range r.Omitted {
			t.Explanation.NoteOmission(o, func(words string) bool {
				return words == r.Metric+" of pods" || strings.HasPrefix(words, r.Metric+"{") // with a selector
			})
		}
	}
}
