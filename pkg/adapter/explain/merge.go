// One record from the records of several replicas.

package explain

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// mergeReach bounds the difference between the times that two replicas give to one status, and between the reads of one look.
const mergeReach = 5 * time.Second

// partialLook is a look as some of the replicas recorded it.
type partialLook struct {
	explainapi.Decision
	replicas []int
}

// mergeExplainedLogs merges the complete logs of several replicas into one log of all reads. Every replica watches the status, so that
// one status is in each log: the replica that was read has it with the look, and the others have it alone.
func mergeExplainedLogs(logs []*explainapi.DecisionLog) *explainapi.DecisionLog {
	if len(logs) == 1 {
		return logs[0]
	}
	out := &explainapi.DecisionLog{ObjectMeta: logs[0].ObjectMeta, Source: logs[0].Source}
	specs := mergeExplainedSpecs(out, logs)
	var looks []partialLook
	var statuses []explainapi.Decision
	for replica, log := range logs {
		if begin := log.Source.UnknownBefore; begin.Before(out.Source.UnknownBefore) {
			out.Source.UnknownBefore = begin
		}
		for _, d := range log.Decisions {
			d.Spec = specs[replica][d.Spec]
			if len(d.Reads) == 0 {
				d.Pods = nil // as of this replica's last read, which may be long ago
				statuses = append(statuses, d)
				continue
			}
			looks = append(looks, partialLook{d, []int{replica}})
		}
	}
	whole := joinExplainedLooks(looks)
	sortExplainedDecisions(statuses)
	var alone []explainapi.Decision
	for i := range statuses {
		if s := &statuses[i]; !hasExplainedStatus(whole, s) && !hasExplainedStatus(alone, s) {
			alone = append(alone, *s)
		}
	}
	out.Decisions = slices.Concat(whole, alone)
	sortExplainedDecisions(out.Decisions)
	out.Complete()
	return out
}

// mergeExplainedSpecs sets the specs of all logs in the order of time, and returns the new index of each log's specs.
func mergeExplainedSpecs(out *explainapi.DecisionLog, logs []*explainapi.DecisionLog) [][]int {
	type place struct{ replica, spec int }
	var places []place
	indexes := make([][]int, len(logs))
	for replica, log := range logs {
		indexes[replica] = make([]int, len(log.Specs))
		for spec := range log.Specs {
			places = append(places, place{replica, spec})
		}
	}
	at := func(p place) *explainapi.SpecVersion { return &logs[p.replica].Specs[p.spec] }
	slices.SortStableFunc(places, func(a, b place) int { return at(a).From.Compare(at(b).From) })
	for _, p := range places {
		last := len(out.Specs) - 1
		if last < 0 || !equality.Semantic.DeepEqual(out.Specs[last].Spec, at(p).Spec) {
			out.Specs = append(out.Specs, *at(p))
			last++
		}
		indexes[p.replica][p.spec] = last
	}
	return indexes
}

// joinExplainedLooks joins the parts of looks with metrics that were read from different replicas.
func joinExplainedLooks(parts []partialLook) []explainapi.Decision {
	slices.SortStableFunc(parts, func(a, b partialLook) int { return a.Time.Compare(b.Time) })
	var joined []partialLook
	for _, p := range parts {
		if n := len(joined); n > 0 && joined[n-1].isPartOfExplainedLook(p) {
			joined[n-1].joinExplainedLook(p)
			continue
		}
		joined = append(joined, p)
	}
	decisions := make([]explainapi.Decision, len(joined))
	for i := range joined {
		decisions[i] = joined[i].Decision
	}
	return decisions
}

// isPartOfExplainedLook reports whether a later part is of the same look: of another replica and other metrics, before the status.
func (l *partialLook) isPartOfExplainedLook(later partialLook) bool {
	if later.Time.Sub(l.Time) > mergeReach || later.Spec != l.Spec || slices.Contains(l.replicas, later.replicas[0]) {
		return false
	}
	if l.WrittenAfter != nil && later.Time.After(l.Time.Add(l.WrittenAfter.Duration)) {
		return false
	}
	return !slices.ContainsFunc(later.Reads, func(r explainapi.Read) bool {
		return slices.ContainsFunc(l.Reads, func(own explainapi.Read) bool { return own.Metric == r.Metric })
	})
}

func (l *partialLook) joinExplainedLook(later partialLook) {
	l.Reads = append(slices.Clone(l.Reads), later.Reads...)
	l.replicas = append(l.replicas, later.replicas...)
	if l.WrittenAfter == nil && later.WrittenAfter != nil {
		l.Status = later.Status
		l.WrittenAfter = &metav1.Duration{Duration: later.Time.Add(later.WrittenAfter.Duration).Sub(l.Time)}
	}
	if len(l.Pods) == 0 {
		l.Pods = later.Pods
	}
}

// hasExplainedStatus reports whether sorted decisions have the status that a replica without a read watched.
func hasExplainedStatus(decisions []explainapi.Decision, alone *explainapi.Decision) bool {
	earliest := alone.Time.Add(-3 * mergeReach) // of a look: its reads, its status, and the difference of times
	first, _ := slices.BinarySearchFunc(decisions, earliest, func(d explainapi.Decision, at time.Time) int { return d.Time.Compare(at) })
	for i := first; i < len(decisions) && decisions[i].Time.Sub(alone.Time) <= mergeReach; i++ {
		if isSameExplainedStatus(&decisions[i], alone) {
			return true
		}
	}
	return false
}

// isSameExplainedStatus reports whether a decision has the status that a replica without a read watched.
func isSameExplainedStatus(d, alone *explainapi.Decision) bool {
	written := d.Time
	switch {
	case d.WrittenAfter != nil:
		written = written.Add(d.WrittenAfter.Duration)
	case len(d.Reads) > 0: // the status was there before
		return false
	}
	return written.Sub(alone.Time).Abs() <= mergeReach && equalExplainedStatus(d.Status, alone.Status)
}

func equalExplainedStatus(a, b *explainapi.Status) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.CurrentReplicas == b.CurrentReplicas && a.DesiredReplicas == b.DesiredReplicas && a.LastScaleTime.Equal(b.LastScaleTime) &&
		slices.Equal(a.Conditions, b.Conditions) && slices.Equal(a.Current, b.Current)
}

func sortExplainedDecisions(decisions []explainapi.Decision) {
	slices.SortStableFunc(decisions, func(a, b explainapi.Decision) int { return a.Time.Compare(b.Time) })
}
