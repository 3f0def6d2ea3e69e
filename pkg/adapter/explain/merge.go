// One record from the records of several replicas.

package explain

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// mergeReach bounds the time from the first read of a look to its last read, and to its status.
const mergeReach = 5 * time.Second

// partialLook is a look as some of the replicas recorded it.
type partialLook struct {
	explainapi.Decision
	replicas []int
}

// mergeDecisionLogs merges the complete logs of several replicas into one log of all reads and all statuses. Every replica watches the status, at its
// own time and perhaps not each one, so that the order of statuses is by their resourceVersions.
func mergeDecisionLogs(logs []*explainapi.DecisionLog) *explainapi.DecisionLog {
	if len(logs) == 1 {
		return logs[0]
	}
	out := &explainapi.DecisionLog{ObjectMeta: logs[0].ObjectMeta, Source: logs[0].Source}
	specs := mergeHPASpecs(out, logs)
	var looks []partialLook
	var statuses []watchedStatus
	for replica, log := range logs {
		if begin := log.Source.UnknownBefore; begin.Before(out.Source.UnknownBefore) {
			out.Source.UnknownBefore = begin
		}
		for i, d := range log.Decisions {
			d.Spec = specs[replica][d.Spec]
			if s, ok := newWatchedStatus(&d, i == 0); ok {
				statuses = append(statuses, s)
			}
			if len(d.Reads) > 0 {
				looks = append(looks, partialLook{d, []int{replica}})
			}
		}
	}
	out.Decisions = pairStatusesWithLooks(out, joinPartialLooks(out.Specs, looks), orderWatchedStatuses(statuses))
	out.Complete()
	return out
}

// mergeHPASpecs sets the specs of all logs by their versions, or by time where one is unknown, and returns the new index of each log's specs.
func mergeHPASpecs(out *explainapi.DecisionLog, logs []*explainapi.DecisionLog) [][]int {
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
	versioned := !slices.ContainsFunc(places, func(p place) bool { return at(p).ResourceVersion == "" })
	slices.SortStableFunc(places, func(a, b place) int {
		if versioned {
			return compareResourceVersions(at(a).ResourceVersion, at(b).ResourceVersion)
		}
		return at(a).From.Compare(at(b).From)
	})
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

// compareResourceVersions compares two resourceVersions.
func compareResourceVersions(a, b string) int {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil { // no server of Kubernetes writes such a version
		return 0
	}
	return order
}

// joinPartialLooks joins the parts of looks with metrics that were read from different replicas, in the order of time.
func joinPartialLooks(specs []explainapi.SpecVersion, parts []partialLook) []partialLook {
	slices.SortStableFunc(parts, func(a, b partialLook) int { return a.Time.Compare(b.Time) })
	var joined []partialLook
	for _, p := range parts {
		if n := len(joined); n > 0 && joined[n-1].isPartOfSameLook(&p, specs) {
			joined[n-1].joinLaterPart(&p)
			continue
		}
		joined = append(joined, p)
	}
	return joined
}

// isPartOfSameLook reports whether a later part is of the same look: of another replica and other metrics, before the status.
func (l *partialLook) isPartOfSameLook(later *partialLook, specs []explainapi.SpecVersion) bool {
	if later.Time.Sub(l.Time) > mergeReach || slices.Contains(l.replicas, later.replicas[0]) || !recorder.HaveSameReads(&specs[l.Spec].Spec, &specs[later.Spec].Spec) {
		return false
	}
	if l.WrittenAfter != nil && later.Time.After(l.Time.Add(l.WrittenAfter.Duration)) {
		return false
	}
	return !slices.ContainsFunc(later.Reads, func(r explainapi.Read) bool {
		return slices.ContainsFunc(l.Reads, func(own explainapi.Read) bool { return own.Metric == r.Metric })
	})
}

func (l *partialLook) joinLaterPart(later *partialLook) {
	l.Spec = max(l.Spec, later.Spec) // one replica may not know it yet
	l.Reads = append(slices.Clone(l.Reads), later.Reads...)
	l.replicas = append(l.replicas, later.replicas...)
	if l.WrittenAfter == nil && later.WrittenAfter != nil {
		l.WrittenAfter = &metav1.Duration{Duration: later.Time.Add(later.WrittenAfter.Duration).Sub(l.Time)}
	}
	if len(l.Pods) == 0 {
		l.Pods = later.Pods
	}
}

// pairStatusesWithLooks returns the decisions of looks and statuses, both in their order. As in the record of one replica, a status belongs to the
// look before it, unless that has one or is long ago.
func pairStatusesWithLooks(log *explainapi.DecisionLog, looks []partialLook, statuses []watchedStatus) []explainapi.Decision {
	decisions := make([]explainapi.Decision, 0, len(looks)+len(statuses))
	var status *explainapi.Status
	for len(looks) > 0 || len(statuses) > 0 {
		if len(statuses) == 0 || len(looks) > 0 && statuses[0].isStatusAfterLook(&looks[0]) {
			d := looks[0].Decision
			d.Status, d.WrittenAfter = status, nil
			decisions, looks = append(decisions, d), looks[1:]
			continue
		}
		s := &statuses[0]
		statuses = statuses[1:]
		if status = s.status; s.inForce {
			continue
		}
		if n := len(decisions); n > 0 && s.belongsToNewestDecision(&decisions[n-1]) {
			s.joinStatusToLook(log, &decisions[n-1])
			continue
		}
		decisions = append(decisions, explainapi.Decision{Time: s.at, Spec: s.spec, Status: s.status})
	}
	return decisions
}
