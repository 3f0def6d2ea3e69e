// This file finds the autoscalers that a read belongs to: a read names a metric and its selectors, and no autoscaler.

package recorder

import (
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// readKind is a type of metric source.
type readKind byte

const (
	podsRead readKind = iota
	objectRead
	externalRead
)

// readKey is common to a read and the spec of its autoscaler.
type readKey struct {
	kind                                readKind
	namespace, metric, object, selector string
}

// reader is a metric of an autoscaler's spec.
type reader struct {
	record *record
	metric int
	object schema.GroupResource // of an object's kind, with the regular plural
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

// indexMetricReads replaces the keys of an autoscaler's metrics. The caller holds mu.
func (r *Recorder) indexMetricReads(rec *record, h *autoscalingv2.HorizontalPodAutoscaler) {
	var keys []readKey
	var readers []reader
	for i := range h.Spec.Metrics {
		if key, ok := newReadKey(h.Namespace, &h.Spec.Metrics[i]); ok {
			keys, readers = append(keys, key), append(readers, reader{rec, i, guessObjectResource(&h.Spec.Metrics[i])})
		}
	}
	if slices.Equal(keys, rec.keys) && slices.Equal(readers, rec.readers) {
		return
	}
	r.unindexMetricReads(rec)
	rec.keys, rec.readers = keys, readers
	for i, key := range keys {
		r.readers[key] = append(r.readers[key], readers[i])
	}
}

// guessObjectResource returns the resource of a metric's object.
func guessObjectResource(m *autoscalingv2.MetricSpec) schema.GroupResource {
	if m.Object == nil {
		return schema.GroupResource{}
	}
	plural, _ := meta.UnsafeGuessKindToResource(schema.FromAPIVersionAndKind(m.Object.DescribedObject.APIVersion, m.Object.DescribedObject.Kind))
	return plural.GroupResource()
}

// unindexMetricReads removes the keys of an autoscaler's metrics. The caller holds mu.
func (r *Recorder) unindexMetricReads(rec *record) {
	for _, key := range rec.keys {
		// A new slice: findReadingAutoscalers hands the old one out.
		rest := slices.DeleteFunc(slices.Clone(r.readers[key]), func(x reader) bool { return x.record == rec })
		if r.readers[key] = rest; len(rest) == 0 {
			delete(r.readers, key)
		}
	}
	rec.keys, rec.readers = nil, nil
}

// findReadingAutoscalers returns the metrics of autoscalers that a read may belong to. Of several with a metric of pods, it returns those
// that select the same pods, and of several with a metric of objects the reads of the object's resource. The slice is shared.
func (r *Recorder) findReadingAutoscalers(key readKey, pods labels.Selector, object schema.GroupResource) []reader {
	r.mu.RLock()
	found := r.readers[key]
	r.mu.RUnlock()
	switch {
	case len(found) < 2 || key.kind == externalRead:
		return found
	case key.kind == objectRead:
		return selectObjectReaders(found, object)
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

// selectObjectReaders returns the readers of a resource; all of them where none has it, since its plural is irregular.
func selectObjectReaders(found []reader, object schema.GroupResource) []reader {
	var same []reader
	for _, x := range found {
		if x.object == object {
			same = append(same, x)
		}
	}
	if len(same) == 0 {
		return found
	}
	return same
}
