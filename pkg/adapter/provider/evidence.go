// The findings of a read besides its values, for a caller that records answers.

package provider

import (
	"context"
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Evidence has the findings of a read of a metric of pods, besides its values.
type Evidence struct {
	// Pods are the selected pods, sorted. They must not be changed.
	Pods []discovery.Pod
	// Omitted are the live pods without a value.
	Omitted []metric.Omission
}

type evidenceKey struct{}

// evidenceContext has the evidence of a read: one allocation for both.
type evidenceContext struct {
	context.Context
	evidence Evidence
}

// Value implements context.Context.
func (c *evidenceContext) Value(key any) any {
	if _, ok := key.(evidenceKey); ok {
		return &c.evidence
	}
	return c.Context.Value(key)
}

// WithEvidence returns a context: a read of a metric of pods with it fills in the evidence.
func WithEvidence(ctx context.Context) (context.Context, *Evidence) {
	c := &evidenceContext{Context: ctx}
	return c, &c.evidence
}

// EvidenceOf returns the evidence that the context of a read asks for; nil if it asks for none.
func EvidenceOf(ctx context.Context) *Evidence {
	e, _ := ctx.Value(evidenceKey{}).(*Evidence)
	return e
}

// fillReadEvidence fills in the evidence that the context asks for, if any.
func fillReadEvidence(ctx context.Context, pods []discovery.Pod, v podValues) {
	if e := EvidenceOf(ctx); e != nil {
		e.Pods, e.Omitted = pods, slices.Concat(v.omitted, v.unready)
	}
}
