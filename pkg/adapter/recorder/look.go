// This file groups the entries of a record into the looks of the HPA controller.

package recorder

import (
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// maxLook bounds the time from the first read of a look to its last entry. kube-controller-manager reads at most every few seconds.
const maxLook = 5 * time.Second

// lookTracker tells which entries belong to one look: the reads of different metrics, then a status.
type lookTracker struct {
	begin   int64  // Unix time in milliseconds; 0: no look yet
	metrics uint64 // the metrics that were read, by the rest of their index
	closed  bool   // its status came
	status  *explainapi.Status
}

// trackLookRead notes a read, and reports whether it begins a look.
func (l *lookTracker) trackLookRead(at int64, metric int) (begins bool) {
	bit := uint64(1) << (metric % 64)
	begins = l.begin == 0 || l.closed || l.metrics&bit != 0 || at-l.begin > maxLook.Milliseconds()
	if begins {
		l.begin, l.closed, l.metrics = at, false, 0
	}
	l.metrics |= bit
	return begins
}

// trackLookStatus notes a status, and reports whether it belongs to the look that is open.
func (l *lookTracker) trackLookStatus(at int64, s *explainapi.Status) (belongs bool) {
	belongs = l.begin != 0 && !l.closed && at-l.begin <= maxLook.Milliseconds()
	l.closed, l.status = true, s
	return belongs
}

// decisionBuilder turns entries into decisions.
type decisionBuilder struct {
	specs     []explainapi.SpecVersion // until now; the last is in force
	looks     lookTracker
	decisions []explainapi.Decision
	pods      []podEntry // of the newest decision that has pods
}

// addDecisionEntry adds an entry under the newest spec. first marks the entry that opens a block: it may repeat the status in force.
func (b *decisionBuilder) addDecisionEntry(e *entry, first bool) {
	at := time.UnixMilli(e.at).UTC()
	if e.status != nil {
		b.addDecisionStatus(e, at, first)
		return
	}
	if b.looks.trackLookRead(e.at, e.read.Metric) {
		b.decisions = append(b.decisions, explainapi.Decision{Time: at, Spec: len(b.specs) - 1})
	}
	d := &b.decisions[len(b.decisions)-1]
	e.read.Time = at
	d.Reads = append(d.Reads, *e.read)
	if e.pods != nil && !equalStatusSlices(e.pods, b.pods) {
		d.Pods, b.pods = convertRecordedPods(e.pods), e.pods
	}
}

// addDecisionStatus adds a status. The controller decided by the spec in force at its write: the API server takes no status of an autoscaler that changed
// since the controller read it. The adapter may have learned of that spec after the look's reads.
func (b *decisionBuilder) addDecisionStatus(e *entry, at time.Time, first bool) {
	before, spec := b.looks.status, len(b.specs)-1
	if first && equalHPAStatus(before, e.status) {
		return
	}
	if b.looks.trackLookStatus(e.at, e.status) {
		d := &b.decisions[len(b.decisions)-1]
		d.Status = e.status
		if HaveSameReads(&b.specs[d.Spec].Spec, &b.specs[spec].Spec) {
			d.Spec = spec
		}
		d.WrittenAfter = &metav1.Duration{Duration: at.Sub(d.Time)}
		return
	}
	b.decisions = append(b.decisions, explainapi.Decision{Time: at, Spec: spec, Status: e.status})
}

// HaveSameReads reports whether two specs have the same metrics in the same order: a read under one is a read under the other.
func HaveSameReads(a, b *autoscalingv2.HorizontalPodAutoscalerSpec) bool {
	return slices.EqualFunc(a.Metrics, b.Metrics, func(x, y autoscalingv2.MetricSpec) bool {
		xKey, xOK := newReadKey("", &x)
		yKey, yOK := newReadKey("", &y)
		return x.Type == y.Type && xOK == yOK && xKey == yKey && (x.Object == nil || x.Object.DescribedObject == y.Object.DescribedObject)
	})
}

func convertRecordedPods(pods []podEntry) []explainapi.Pod {
	all := make([]explainapi.Pod, len(pods))
	for i, p := range pods {
		all[i] = explainapi.Pod{Name: p.name, Created: convertUnixToTime(p.created), Readied: convertUnixToTime(p.readied)}
		if p.state >= 0 && p.state < int64(len(podStates)) {
			all[i].State = podStates[p.state]
		}
	}
	return all
}
