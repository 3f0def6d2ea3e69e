// This file finds the autoscalers that a read belongs to: a read names a metric and its selectors, and no autoscaler.

package recorder

import (
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// readKind is a type of metric source.
type readKind byte

const (
	podsRead readKind = iota
	objectRead
	externalRead
)

// readKey is what a read and the spec of its autoscaler have in common.
type readKey struct {
	kind                                readKind
	namespace, metric, object, selector string
}

// reader is a metric of an autoscaler's spec.
type reader struct {
	record *record
	metric int
}

// formatReadSelector returns equal texts for equal selectors; empty for a selector that selects all.
func formatReadSelector(s labels.Selector) string {
	if s == nil || s.Empty() {
		return ""
	}
	return s.String()
}

// newReadKey returns the key of a metric of the spec, and false for a metric that this adapter does not see the reads of.
func newReadKey(namespace string, m *autoscalingv2.MetricSpec) (readKey, bool) {
	key := readKey{namespace: namespace}
	var id autoscalingv2.MetricIdentifier
	switch {
	case m.Pods != nil:
		key.kind, id = podsRead, m.Pods.Metric
	case m.Object != nil:
		key.kind, id, key.object = objectRead, m.Object.Metric, m.Object.DescribedObject.Name
		if m.Object.DescribedObject.Kind == "Namespace" { // the controller reads the autoscaler's own
			key.object = namespace
		}
	case m.External != nil:
		key.kind, id = externalRead, m.External.Metric
	default:
		return key, false
	}
	key.metric = id.Name
	if id.Selector != nil {
		s, err := metav1.LabelSelectorAsSelector(id.Selector)
		if err != nil {
			return key, false // the controller does not read it
		}
		key.selector = formatReadSelector(s)
	}
	return key, true
}

// indexReads replaces the keys of an autoscaler's metrics. The caller holds mu.
func (r *Recorder) indexReads(rec *record, h *autoscalingv2.HorizontalPodAutoscaler) {
	var keys []readKey
	var metrics []int
	for i := range h.Spec.Metrics {
		if key, ok := newReadKey(h.Namespace, &h.Spec.Metrics[i]); ok {
			keys, metrics = append(keys, key), append(metrics, i)
		}
	}
	if slices.Equal(keys, rec.keys) && slices.Equal(metrics, rec.keyMetrics) {
		return
	}
	r.unindexReads(rec)
	rec.keys, rec.keyMetrics = keys, metrics
	for i, key := range keys {
		r.readers[key] = append(r.readers[key], reader{rec, metrics[i]})
	}
}

// unindexReads removes the keys of an autoscaler's metrics. The caller holds mu.
func (r *Recorder) unindexReads(rec *record) {
	for _, key := range rec.keys {
		// A new slice: findReaders hands the old one out.
		rest := slices.DeleteFunc(slices.Clone(r.readers[key]), func(x reader) bool { return x.record == rec })
		if r.readers[key] = rest; len(rest) == 0 {
			delete(r.readers, key)
		}
	}
	rec.keys, rec.keyMetrics = nil, nil
}

// findReaders returns the metrics of autoscalers that a read may belong to. Of several with a metric of pods, it returns those
// that select the same pods. The slice is shared.
func (r *Recorder) findReaders(key readKey, pods labels.Selector) []reader {
	r.mu.RLock()
	found := r.readers[key]
	r.mu.RUnlock()
	if key.kind != podsRead || len(found) < 2 {
		return found
	}
	want := formatReadSelector(pods)
	var same []reader
	for _, x := range found {
		if s := r.targets.ScaleTargetSelector(x.record.key.Namespace, x.record.key.Name); s != nil && formatReadSelector(s) == want {
			same = append(same, x)
		}
	}
	return same
}
