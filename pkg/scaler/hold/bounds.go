package hold

import "time"

// Limits are an autoscaler's minimum and maximum.
type Limits struct{ Min, Max int32 }

// Yield marks as somebody else's what differs from what was set, and tells whether anything is newly so.
func (b Bounds) Yield(now Limits) (Bounds, bool) {
	lower, first := b.Min.yieldIfChanged(now.Min)
	upper, second := b.Max.yieldIfChanged(now.Max)
	return Bounds{Min: lower, Max: upper}, first || second
}

func (c *Change) yieldIfChanged(now int32) (*Change, bool) {
	if c == nil || c.Yielded || c.Set == nil || *c.Set == now {
		return c, false
	}
	y := *c
	y.Yielded = true
	return &y, true
}

// Apply is what the autoscaler's limits should be for what is wanted, and the bounds that say so. Numbers that were
// yielded stay as they are; so do those that nothing is wanted of.
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
	to.Min = min(to.Min, to.Max) // the API takes nothing else: a lowered maximum is somebody's decision
	if b.Min.isYielded() {
		to.Min = now.Min
	}
	if !w.Any {
		return Bounds{}, to
	}
	return Bounds{Min: b.Min.recordChange(was.Min, to.Min), Max: b.Max.recordChange(was.Max, to.Max)}, to
}

func (c *Change) originalReplicas(now int32) int32 {
	if c == nil {
		return now
	}
	return c.Was
}

func (c *Change) isYielded() bool { return c != nil && c.Yielded }

// recordChange is the note of a change to a number; none where it is what it was.
func (c *Change) recordChange(was, set int32) *Change {
	switch {
	case c.isYielded():
		return c
	case set == was:
		return nil
	}
	return &Change{Was: was, Set: &set}
}

// Earliest is the next end of a hold after now; zero if none ends.
func (r *Record) Earliest(now time.Time) time.Time {
	var first time.Time
	for i := range r.Holds {
		if u := r.Holds[i].Until; u.After(now) && (first.IsZero() || u.Before(first)) {
			first = u
		}
	}
	return first
}
