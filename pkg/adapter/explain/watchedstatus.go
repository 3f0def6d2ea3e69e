// The statuses of an autoscaler, as several replicas watched them.

package explain

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// watchedStatus is a status that one replica or several watched.
type watchedStatus struct {
	status *explainapi.Status
	spec   int       // in force at its write
	at     time.Time // when the first replica saw it
	look   time.Time // the begin of the latest look with which a replica recorded it; zero: none
	// inForce reports that a replica's log begins after it: nobody knows when it was written.
	inForce bool
}

// newWatchedStatus returns the status that a decision shows; ok is false if it shows that of the decision before.
func newWatchedStatus(d *explainapi.Decision, first bool) (s watchedStatus, ok bool) {
	s = watchedStatus{status: d.Status, spec: d.Spec, at: d.Time}
	switch {
	case d.Status == nil:
		return s, false
	case d.WrittenAfter != nil:
		s.look, s.at = d.Time, d.Time.Add(d.WrittenAfter.Duration)
	case len(d.Reads) > 0:
		s.inForce = first
		return s, first
	}
	return s, true
}

// orderWatchedStatuses returns the statuses in the order of their writes, each once, with times that do not contradict it.
func orderWatchedStatuses(seen []watchedStatus) []watchedStatus {
	slices.SortStableFunc(seen, func(a, b watchedStatus) int { return a.at.Compare(b.at) })
	var ordered []watchedStatus
	unversioned := func(s watchedStatus) bool { return s.status.ResourceVersion == "" }
	versioned := slices.DeleteFunc(slices.Clone(seen), unversioned)
	slices.SortStableFunc(versioned, func(a, b watchedStatus) int {
		return compareResourceVersions(a.status.ResourceVersion, b.status.ResourceVersion)
	})
	for i := range versioned {
		if n := len(ordered); n > 0 && equalWatchedStatus(ordered[n-1].status, versioned[i].status) {
			ordered[n-1].joinStatusSighting(&versioned[i])
			continue
		}
		ordered = append(ordered, versioned[i])
	}
	for i := range seen {
		if unversioned(seen[i]) {
			ordered = placeUnversionedStatus(ordered, &seen[i])
		}
	}
	alignStatusTimes(ordered)
	return ordered
}

// placeUnversionedStatus adds a status by its time, unless the same one is there at about that time.
func placeUnversionedStatus(ordered []watchedStatus, s *watchedStatus) []watchedStatus {
	place := 0
	for i := range ordered {
		if !ordered[i].at.After(s.at) {
			place = i + 1
		}
	}
	for i := range ordered {
		isBeside := i == place-1 || i == place || ordered[i].at.Sub(s.at).Abs() <= mergeReach
		if isBeside && equalWatchedStatus(ordered[i].status, s.status) {
			ordered[i].joinStatusSighting(s)
			return ordered
		}
	}
	return slices.Insert(ordered, place, *s)
}

// joinStatusSighting notes that another replica watched the status too.
func (s *watchedStatus) joinStatusSighting(other *watchedStatus) {
	if other.at.Before(s.at) {
		s.at = other.at
	}
	if other.look.After(s.look) {
		s.look = other.look
	}
	s.inForce = s.inForce || other.inForce
}

// alignStatusTimes moves the times of statuses into their order: an earlier one was seen later where its watch was slow. None moves before its look.
func alignStatusTimes(ordered []watchedStatus) {
	for i := len(ordered) - 1; i >= 0; i-- {
		s := &ordered[i]
		if i+1 < len(ordered) && ordered[i+1].at.Before(s.at) {
			s.at = ordered[i+1].at
		}
		if s.at.Before(s.look) {
			s.at = s.look
		}
	}
	for i := 1; i < len(ordered); i++ {
		if ordered[i].at.Before(ordered[i-1].at) {
			ordered[i].at = ordered[i-1].at
		}
	}
}

// isStatusAfterLook reports whether the status was written after the first read of a look.
func (s *watchedStatus) isStatusAfterLook(l *partialLook) bool {
	return l.Time.Before(s.at) || l.Time.Equal(s.at) && !s.look.Before(l.Time)
}

// belongsToNewestDecision reports whether the newest decision before the status is a look without a status of its own.
func (s *watchedStatus) belongsToNewestDecision(d *explainapi.Decision) bool {
	return len(d.Reads) > 0 && d.WrittenAfter == nil && s.at.Sub(d.Time) <= mergeReach
}

// joinStatusToLook sets the status of a look. As in the record of one replica, the controller decided by the spec in force at the write.
func (s *watchedStatus) joinStatusToLook(log *explainapi.DecisionLog, d *explainapi.Decision) {
	d.Status, d.WrittenAfter = s.status, &metav1.Duration{Duration: s.at.Sub(d.Time)}
	if recorder.HaveSameReads(&log.Specs[d.Spec].Spec, &log.Specs[s.spec].Spec) {
		d.Spec = s.spec
	}
}

// equalWatchedStatus reports whether two statuses are the same, at any versions.
func equalWatchedStatus(a, b *explainapi.Status) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.CurrentReplicas == b.CurrentReplicas && a.DesiredReplicas == b.DesiredReplicas && a.LastScaleTime.Equal(b.LastScaleTime) &&
		slices.Equal(a.Conditions, b.Conditions) && slices.Equal(a.Current, b.Current)
}
