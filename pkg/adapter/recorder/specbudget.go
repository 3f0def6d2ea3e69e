// This file bounds the specs that the recorder keeps. A spec may have as many bytes as etcd takes.

package recorder

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxSpecBytes bounds a spec. One with fifty metrics has about 10 KiB.
	maxSpecBytes = 32 << 10
	// maxNamespaceSpecBytes bounds the specs of a namespace: those of some thousand usual autoscalers.
	maxNamespaceSpecBytes = 4 << 20
)

// admitRecordedSpec reports whether there is room for the spec of an autoscaler. Without it, the autoscaler has no record.
func (r *Recorder) admitRecordedSpec(h *autoscalingv2.HorizontalPodAutoscaler) bool {
	key := types.NamespacedName{Namespace: h.Namespace, Name: h.Name}
	size := h.Spec.Size()
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[key]
	others := r.specBytes[h.Namespace]
	if rec != nil {
		others -= rec.specBytes
	}
	if size <= maxSpecBytes && others+size <= maxNamespaceSpecBytes {
		return true
	}
	if rec != nil {
		r.forgetRecord(rec)
	}
	return false
}

// countRecordedSpec counts the spec of a record; 0 for one that is forgotten. The caller holds mu.
func (r *Recorder) countRecordedSpec(rec *record, size int) {
	namespace := rec.key.Namespace
	r.specBytes[namespace] += size - rec.specBytes
	if rec.specBytes = size; r.specBytes[namespace] == 0 {
		delete(r.specBytes, namespace)
	}
}
