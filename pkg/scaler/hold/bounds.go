package hold

import "time"

// ReplicaBounds are an autoscaler's minReplicas and maxReplicas.
type Limits struct {
	Min int32 `json:"minReplicas"`
	Max int32 `json:"maxReplicas"`
}

// MarkYielded marks a bound as yielded if another client changed it after the scaler set it. It reports whether a bound is newly
// yielded.
func (b Bounds) Yield(now Limits) (Bounds, bool) {
	lower, first := b.Min.yieldIfChanged(now.Min)
	upper, second := b.Max.yieldIfChanged(now.Max)
	return Bounds{Min: lower, Max: upper}, first || second
}

// yieldIfChanged returns the change, yielded if the number now is not the number that the scaler set.
func (c *Change) yieldIfChanged(now int32) (*Change, bool) {
	if c == nil || c.Yielded || c.Set == nil || *c.Set == now {
		return c, false
	}
	y := *c
	y.Yielded = true
	return &y, true
}

// ComputeBounds returns the bounds that the autoscaler should have for the desired scale, and the record of the change. A yielded
// number stays as it is. Without a hold, all other numbers are the original ones.
func (b Bounds) Apply(w Want, now Limits) (Bounds, Limits) {
	was := Limits{Min: b.Min.originalReplicas(now.Min), Max: b.Max.originalReplicas(now.Max)}
	to := was
	if w.Any {
		to.Max = max(was.Max, w.Ceiling)
		to.Min = w.Floor
		if !w.Lower {
			to.Min = max(w.Floor, was.Min)
		}
	}
	if b.Max.isYielded() {
		to.Max = now.Max
	}
	to.Min = min(to.Min, to.Max) // the API rejects minReplicas > maxReplicas: a lowered maxReplicas is a user's decision
	if b.Min.isYielded() {
		to.Min = now.Min
	}
	if !w.Any {
		return Bounds{}, to
	}
	return Bounds{Min: b.Min.recordChange(was.Min, to.Min), Max: b.Max.recordChange(was.Max, to.Max)}, to
}

// originalReplicas returns the number before the scaler changed it; an unchanged number is the original.
func (c *Change) originalReplicas(now int32) int32 {
	if c == nil {
		return now
	}
	return c.Was
}

func (c *Change) isYielded() bool { return c != nil && c.Yielded }

// recordChange returns the record of a change from was to set, nil if the number stays the same. A yielded change stays.
func (c *Change) recordChange(was, set int32) *Change {
	switch {
	case c.isYielded():
		return c
	case set == was:
		return nil
	}
	return &Change{Was: was, Set: &set}
}

// NextEnd returns the first end of a hold after now; zero if no hold ends.
func (r *Record) Earliest(now time.Time) time.Time {
	var first time.Time
	for i := range r.Holds {
		if u := r.Holds[i].Until; u.After(now) && (first.IsZero() || u.Before(first)) {
			first = u
		}
	}
	return first
}
