package hold

import "time"

// ReplicaBounds are an autoscaler's minReplicas and maxReplicas.
type ReplicaBounds struct {
	MinReplicas int32 `json:"minReplicas"`
	MaxReplicas int32 `json:"maxReplicas"`
}

// MarkYielded marks a bound as yielded if another client changed it after the scaler set it. It reports whether a bound is newly
// yielded.
func (b BoundsRecord) MarkYielded(now ReplicaBounds) (BoundsRecord, bool) {
	lower, first := b.MinReplicas.yieldHoldReplicaChange(now.MinReplicas)
	upper, second := b.MaxReplicas.yieldHoldReplicaChange(now.MaxReplicas)
	return BoundsRecord{MinReplicas: lower, MaxReplicas: upper}, first || second
}

// yieldHoldReplicaChange returns the change, yielded if the number now is not the number that the scaler set.
func (c *ReplicaChange) yieldHoldReplicaChange(now int32) (*ReplicaChange, bool) {
	if c == nil || c.Yielded || c.Set == nil || *c.Set == now {
		return c, false
	}
	y := *c
	y.Yielded = true
	return &y, true
}

// ComputeBounds returns the bounds that the autoscaler should have for the desired scale, and the record of the change. A yielded
// number stays as it is. Without a hold, all other numbers are the original ones.
func (b BoundsRecord) ComputeBounds(w DesiredScale, now ReplicaBounds) (BoundsRecord, ReplicaBounds) {
	was := ReplicaBounds{MinReplicas: b.MinReplicas.holdOriginalReplicas(now.MinReplicas), MaxReplicas: b.MaxReplicas.holdOriginalReplicas(now.MaxReplicas)}
	to := was
	if w.Held {
		to.MaxReplicas = max(was.MaxReplicas, w.MaxReplicas)
		to.MinReplicas = w.MinReplicas
		if !w.Lower {
			to.MinReplicas = max(w.MinReplicas, was.MinReplicas)
		}
	}
	if b.MaxReplicas.isHoldReplicaChangeYielded() {
		to.MaxReplicas = now.MaxReplicas
	}
	to.MinReplicas = min(to.MinReplicas, to.MaxReplicas) // the API rejects minReplicas > maxReplicas: a lowered maxReplicas is a user's decision
	if b.MinReplicas.isHoldReplicaChangeYielded() {
		to.MinReplicas = now.MinReplicas
	}
	if !w.Held {
		return BoundsRecord{}, to
	}
	return BoundsRecord{MinReplicas: b.MinReplicas.recordHoldReplicaChange(was.MinReplicas, to.MinReplicas), MaxReplicas: b.MaxReplicas.recordHoldReplicaChange(was.MaxReplicas, to.MaxReplicas)}, to
}

// holdOriginalReplicas returns the number before the scaler changed it; an unchanged number is the original.
func (c *ReplicaChange) holdOriginalReplicas(now int32) int32 {
	if c == nil {
		return now
	}
	return c.Was
}

func (c *ReplicaChange) isHoldReplicaChangeYielded() bool { return c != nil && c.Yielded }

// recordHoldReplicaChange returns the record of a change from was to set, nil if the number stays the same. A yielded change stays.
func (c *ReplicaChange) recordHoldReplicaChange(was, set int32) *ReplicaChange {
	switch {
	case c.isHoldReplicaChangeYielded():
		return c
	case set == was:
		return nil
	}
	return &ReplicaChange{Was: was, Set: &set}
}

// NextEnd returns the first end of a hold after now; zero if no hold ends.
func (r *Record) NextEnd(now time.Time) time.Time {
	var first time.Time
	for i := range r.Holds {
		if u := r.Holds[i].Until; u.After(now) && (first.IsZero() || u.Before(first)) {
			first = u
		}
	}
	return first
}
