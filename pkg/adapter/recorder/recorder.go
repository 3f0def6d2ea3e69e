// Package recorder records the answers to each HorizontalPodAutoscaler and its decisions: values of pods, omissions and status changes,
// encoded in blocks of memory.
//
// A record is a list of blocks of delta-coded entries. The newest hours of it are kept, within bounds for each autoscaler and for
// all. It lives in the memory of a replica and ends with the autoscaler.
package recorder

// This file has the exported type Recorder, and follows the autoscalers.

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

const (
	// defaultRecordBytes bounds the closed blocks of an autoscaler: about five hours at 20 pods and a look every 15 s.
	defaultRecordBytes = memorybounds.RecordBytes
	// defaultBytes bounds the closed blocks of all autoscalers.
	defaultBytes = memorybounds.Records
)

// ScaleTargets tells the pods of scale targets. It answers from memory and is safe for concurrent use.
type ScaleTargets interface {
	// ScaleTargetSelector returns the pod selector of an autoscaler's scale target; nil while it is unknown.
	ScaleTargetSelector(namespace, name string) labels.Selector
	// Pods returns the pods that a selector matches, sorted by name. The caller owns the slice.
	Pods(namespace string, selector labels.Selector) []discovery.Pod
}

// Options tune a Recorder. Now and Autoscalers are required.
type Options struct {
	// Now is the clock of the values' times.
	Now func() time.Time
	// Autoscalers are the user names of HPA controllers. Only their reads are recorded.
	Autoscalers []string
	// MaxRecordBytes and MaxBytes bound the memory of one autoscaler's record and of all; 0 means the bounds of memorybounds.
	MaxRecordBytes, MaxBytes int
	// Directory is where RestoreRecords and RunSaves have their file; empty: the records end with the process.
	Directory string
	// RuleName returns the name of a metric's rule in a namespace, for the self-metrics; empty without a rule. The resource of an external metric is
	// empty. It is called concurrently. Nil names none.
	RuleName func(namespace, resource, metric string, external bool) string
	// Registerer takes the self-metrics; nil registers none.
	Registerer prometheus.Registerer
}

// Recorder keeps the records of all autoscalers. It is safe for concurrent use.
type Recorder struct {
	opts    Options
	metrics *metrics
	packer  blockPacker
	targets ScaleTargets // set once, before the first read

	mu      sync.RWMutex
	records map[types.NamespacedName]*record // guarded by mu
	readers map[readKey][]reader             // guarded by mu
	// saved are the records of the file whose autoscalers are not yet observed; guarded by mu.
	saved map[types.NamespacedName]*savedRecord
	log   klog.Logger // of RestoreRecords; guarded by mu
	// specBytes are the bytes of the records beside their closed blocks by namespace, allSpecBytes their sum; guarded by mu.
	specBytes    map[string]int
	allSpecBytes int

	usageMu sync.Mutex
	usage   map[string]int // bytes of closed blocks by namespace; guarded by usageMu
	used    int            // their sum; guarded by usageMu

	pending atomic.Int64 // values and pods of the answers that wait in all records
}

// New returns a Recorder without records.
func New(opts Options) *Recorder {
	opts.MaxRecordBytes = cmp.Or(opts.MaxRecordBytes, defaultRecordBytes)
	opts.MaxBytes = cmp.Or(opts.MaxBytes, defaultBytes)
	r := &Recorder{opts: opts, records: map[types.NamespacedName]*record{}, readers: map[readKey][]reader{}, specBytes: map[string]int{}, usage: map[string]int{}}
	r.metrics = newMetrics(opts.Registerer, r)
	return r
}

// SetScaleTargets sets the source of pods. Call it before the first read.
func (r *Recorder) SetScaleTargets(t ScaleTargets) { r.targets = t }

// ObserveAutoscaler notes the state of a new or changed autoscaler. It keeps parts of the object.
func (r *Recorder) ObserveAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	if !r.admitHPASpec(h) {
		return
	}
	now := r.opts.Now()
	rec := r.openRecord(h, now)
	status := newHPAStatus(h)
	rec.mu.Lock()
	defer r.boundRecords() // after the unlock
	defer rec.mu.Unlock()
	r.encodePendingAnswers(rec) // they were given before
	if isRecordOfEarlierSpec(h) && rec.spec != nil {
		defer rec.setHPASpec(h, now)
	} else {
		rec.setHPASpec(h, now)
	}
	before := rec.looks.status
	if equalHPAStatus(before, status) {
		return
	}
	begin := rec.looks.begin
	belongs := rec.looks.trackLookStatus(now.UnixMilli(), status)
	r.addClosedBlockBytes(rec, rec.appendBlockEntry(&entry{at: now.UnixMilli(), status: status}))
	if before != nil {
		r.metrics.countHPADecision(before, status)
		if belongs && !before.LastScaleTime.Equal(status.LastScaleTime) {
			r.metrics.observeReaction(rec.lookRule, stageDecision, now.Sub(time.UnixMilli(begin)))
		}
	}
}

// isRecordOfEarlierSpec reports whether the controller wrote the status before the spec changed: both changes came at once, as after an interrupted watch.
// A controller before Kubernetes 1.37 does not tell.
func isRecordOfEarlierSpec(h *autoscalingv2.HorizontalPodAutoscaler) bool {
	observed := h.Status.ObservedGeneration
	return observed != nil && *observed < h.Generation
}

// setHPASpec notes the spec of an autoscaler, if it is another. The caller holds mu.
func (r *record) setHPASpec(h *autoscalingv2.HorizontalPodAutoscaler, now time.Time) {
	if r.spec == nil || !equality.Semantic.DeepEqual(r.spec.spec, &h.Spec) {
		spec := h.Spec // a copy: a pointer into the object would keep the page that it was listed in
		r.spec = &specVersion{now, formatResourceVersion(parseResourceVersion(h.ResourceVersion)), &spec, spec.Size()}
	}
}

// openRecord returns the record of an autoscaler, and makes it if it is new or has another UID than before.
func (r *Recorder) openRecord(h *autoscalingv2.HorizontalPodAutoscaler, now time.Time) *record {
	key := types.NamespacedName{Namespace: h.Namespace, Name: h.Name}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[key]
	if rec != nil && rec.uid != h.UID {
		r.forgetRecord(rec)
		rec = nil
	}
	if rec == nil {
		rec = &record{key: key, uid: h.UID, since: now, opened: now, packer: &r.packer}
		r.records[key] = rec
		r.restoreRecord(rec)
	}
	r.countSpecMemory(rec, measureSpecMemory(h))
	r.indexMetricReads(rec, h)
	return rec
}

// ForgetAutoscaler drops the record of a deleted autoscaler.
func (r *Recorder) ForgetAutoscaler(namespace, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := types.NamespacedName{Namespace: namespace, Name: name}
	delete(r.saved, key)
	if rec := r.records[key]; rec != nil {
		r.forgetRecord(rec)
	}
}

// RetainAutoscalers drops the records of all autoscalers but the given ones, after a new list of all.
func (r *Recorder) RetainAutoscalers(exists func(namespace, name string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saved = nil // all that exist were observed before
	for key, rec := range r.records {
		if !exists(key.Namespace, key.Name) {
			r.forgetRecord(rec)
		}
	}
}

// forgetRecord drops a record. The caller holds mu.
func (r *Recorder) forgetRecord(rec *record) {
	delete(r.records, rec.key)
	r.countSpecMemory(rec, 0)
	r.unindexMetricReads(rec)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r.addClosedBlockBytes(rec, -rec.bytes)
	rec.blocks, rec.bytes, rec.isForgotten = nil, 0, true
	r.dropPendingAnswers(rec)
}

// addClosedBlockBytes counts the bytes of closed blocks, and drops the oldest blocks of the record beyond its bound. The caller holds rec.mu.
func (r *Recorder) addClosedBlockBytes(rec *record, bytes int) {
	if rec.isForgotten || bytes == 0 {
		return
	}
	for bytes > 0 && rec.bytes > r.opts.MaxRecordBytes {
		bytes -= rec.dropOldestBlock()
	}
	r.usageMu.Lock()
	defer r.usageMu.Unlock()
	r.used += bytes
	if r.usage[rec.key.Namespace] += bytes; r.usage[rec.key.Namespace] == 0 {
		delete(r.usage, rec.key.Namespace)
	}
}

// boundRecords drops blocks while all records together are over their bound: the oldest of the largest record of the namespace with
// the most. So no namespace pushes out the records of others. The caller holds no lock.
func (r *Recorder) boundRecords() {
	for {
		largest, over := r.findLargestNamespace()
		if !over || !r.dropBlockOfLargestRecord(largest) {
			return
		}
	}
}

func (r *Recorder) findLargestNamespace() (namespace string, over bool) {
	r.usageMu.Lock()
	defer r.usageMu.Unlock()
	if r.used <= r.opts.MaxBytes {
		return "", false
	}
	most := -1
	for n, bytes := range r.usage {
		if bytes > most || bytes == most && n < namespace {
			namespace, most = n, bytes
		}
	}
	return namespace, true
}

// dropBlockOfLargestRecord drops the oldest block of the largest record in a namespace, and reports whether there was one.
func (r *Recorder) dropBlockOfLargestRecord(namespace string) bool {
	var largest *record
	most := 0
	r.mu.RLock()
	for key, rec := range r.records {
		if key.Namespace != namespace {
			continue
		}
		rec.mu.Lock()
		if rec.bytes > most {
			largest, most = rec, rec.bytes
		}
		rec.mu.Unlock()
	}
	r.mu.RUnlock()
	if largest == nil {
		return false
	}
	largest.mu.Lock()
	defer largest.mu.Unlock()
	dropped := largest.dropOldestBlock()
	r.addClosedBlockBytes(largest, -dropped)
	return dropped > 0
}
