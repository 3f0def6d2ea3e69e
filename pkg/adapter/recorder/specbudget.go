// This file bounds the specs that the recorder keeps. A spec may have as many bytes as etcd takes.

package recorder

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

const (
	// maxSpecBytes bounds a spec. One with fifty metrics has about 10 KiB.
	maxSpecBytes = 32 << 10
	// maxAllSpecBytes bounds the bytes of all records beside their closed blocks, and maxNamespaceSpecBytes the same of a namespace.
	maxAllSpecBytes       = memorybounds.RecordedSpecs
	maxNamespaceSpecBytes = maxAllSpecBytes / 2
	// openRecordBytes are about the bytes of a record with its open block and its newest status. A spec takes specRatio times its bytes.
	openRecordBytes, specRatio = 4 << 10, 2
)

// measureSpecMemory returns about the memory of a record beside its closed blocks.
func measureSpecMemory(h *autoscalingv2.HorizontalPodAutoscaler) int {
	return openRecordBytes + specRatio*h.Spec.Size()
}

// admitHPASpec reports whether there is room for the spec of an autoscaler. Without it, the autoscaler has no record. If all specs are
// at their bound, a namespace with fewer bytes takes the place of records of the namespace with the most.
func (r *Recorder) admitHPASpec(h *autoscalingv2.HorizontalPodAutoscaler) bool {
	key := types.NamespacedName{Namespace: h.Namespace, Name: h.Name}
	size := measureSpecMemory(h)
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[key]
	others, all := r.specBytes[h.Namespace], r.allSpecBytes
	if rec != nil {
		others, all = others-rec.specBytes, all-rec.specBytes
	}
	if h.Spec.Size() <= maxSpecBytes && others+size <= maxNamespaceSpecBytes && r.evictRecordsForSpec(h.Namespace, others+size, all+size) {
		return true
	}
	if rec != nil {
		r.forgetRecord(rec)
	}
	return false
}

// evictRecordsForSpec forgets records of namespaces with more bytes than a namespace will have, until all specs are within their bound. It reports
// whether they are. The caller holds mu.
func (r *Recorder) evictRecordsForSpec(namespace string, own, all int) bool {
	for all > maxAllSpecBytes {
		greediest := ""
		for n, bytes := range r.specBytes {
			if n != namespace && bytes > own && (greediest == "" || bytes > r.specBytes[greediest] || bytes == r.specBytes[greediest] && n < greediest) {
				greediest = n
			}
		}
		if greediest == "" {
			return false
		}
		var largest *record
		for key, rec := range r.records {
			if key.Namespace == greediest && (largest == nil || rec.specBytes > largest.specBytes) {
				largest = rec
			}
		}
		all -= largest.specBytes
		r.forgetRecord(largest)
	}
	return true
}

// countSpecMemory counts a record with its spec; 0 for a forgotten record. The caller holds mu.
func (r *Recorder) countSpecMemory(rec *record, size int) {
	namespace := rec.key.Namespace
	r.specBytes[namespace] += size - rec.specBytes
	r.allSpecBytes += size - rec.specBytes
	if rec.specBytes = size; r.specBytes[namespace] == 0 {
		delete(r.specBytes, namespace)
	}
}
