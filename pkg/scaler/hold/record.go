package hold

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
)

// The scaler's marks on objects. It removes them with the last hold.
const (
	// HoldsAnnotation holds the Record of a workload.
	HoldsAnnotation = domain.ScalerPrefix + "holds"
	// BoundsAnnotation holds the BoundsRecord of an autoscaler.
	BoundsAnnotation = domain.ScalerPrefix + "bounds"
	// HeldLabel is on both, so that a list needs no read of every object. Its value is HeldLabelValue of the annotation.
	HeldLabel = domain.ScalerPrefix + "held"
	// FieldManager is the field manager of the scaler's writes.
	FieldManager = "tachometer-scaler"
)

// maxHolds of one workload: more are a fault of a client, and would not fit into an annotation.
const maxHolds = 32

// Record holds all holds of a workload, and its original scale. The workload carries it in an annotation.
type Record struct {
	Holds []Hold `json:"holds"`
	// Replicas holds the workload's scale before the first hold and, without an autoscaler, the scale that the scaler set.
	Replicas ReplicaChange `json:"replicas"`
}

// ReplicaChange is a change of one number of an object.
type ReplicaChange struct {
	// Was is the number before the first hold.
	Was int32 `json:"was"`
	// Set is the number that the scaler set last; nil: unchanged.
	Set *int32 `json:"set,omitempty"`
	// From is the number just before Set, while the write of Set is not confirmed: the record gets it before the write, and loses it
	// after.
	From *int32 `json:"from,omitempty"`
	// Yielded is set if another client has changed the number since. The scaler then neither raises nor restores it.
	Yielded bool `json:"yielded,omitempty"`
}

// BoundsRecord holds the changes of an autoscaler's bounds. The autoscaler carries it in an annotation; nil: unchanged.
type BoundsRecord struct {
	MinReplicas *ReplicaChange `json:"minReplicas,omitempty"`
	MaxReplicas *ReplicaChange `json:"maxReplicas,omitempty"`
}

// HeldLabelValue returns the value of HeldLabel beside an annotation with the text; empty for empty text. A label with another value
// shows that the annotation was replaced without it.
func HeldLabelValue(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// ParseRecord reads the annotation; empty text is an empty record. People edit it by hand, so an error names the fault.
func ParseRecord(text string) (Record, error) {
	var r Record
	if text == "" {
		return r, nil
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("parse annotation %s: %w", HoldsAnnotation, err)
	}
	for i := range r.Holds {
		if _, known := nextStates[r.Holds[i].State]; !known && !r.Holds[i].State.IsSettled() {
			return Record{}, fmt.Errorf("parse annotation %s: hold %s has unknown state %q", HoldsAnnotation, r.Holds[i].ID, r.Holds[i].State)
		}
	}
	return r, nil
}

// EncodeAnnotation returns the annotation; empty for a record without holds.
func (r Record) EncodeAnnotation() (string, error) {
	if len(r.Holds) == 0 {
		return "", nil
	}
	if len(r.Holds) > maxHolds {
		return "", fmt.Errorf("%d holds; a workload takes up to %d", len(r.Holds), maxHolds)
	}
	data, err := json.Marshal(r)
	return string(data), err
}

// ParseBoundsRecord reads the annotation of an autoscaler; empty text is a record without changes.
func ParseBoundsRecord(text string) (BoundsRecord, error) {
	var b BoundsRecord
	if text == "" {
		return b, nil
	}
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return BoundsRecord{}, fmt.Errorf("parse annotation %s: %w", BoundsAnnotation, err)
	}
	return b, nil
}

// EncodeAnnotation returns the annotation; empty for a record without changes.
func (b BoundsRecord) EncodeAnnotation() (string, error) {
	if b == (BoundsRecord{}) {
		return "", nil
	}
	data, err := json.Marshal(b)
	return string(data), err
}

// FindHold returns the hold with the ID, or nil. It points into the record.
func (r *Record) FindHold(id string) *Hold {
	for i := range r.Holds {
		if r.Holds[i].ID == id {
			return &r.Holds[i]
		}
	}
	return nil
}

// RemoveHold removes the hold with the ID.
func (r *Record) RemoveHold(id string) {
	r.Holds = slices.DeleteFunc(r.Holds, func(h Hold) bool { return h.ID == id })
}

// Clone returns a copy with its own list of holds.
func (r Record) Clone() Record {
	r.Holds = slices.Clone(r.Holds)
	return r
}

// ReleaseActions returns the actions that must run before a hold ends, if its gate opened. It leaves out the actions of
// another hold with an open gate: of holds that share a gate, the last closes it.
func (r *Record) ReleaseActions(h *Hold, now time.Time) []action.Action {
	return slices.DeleteFunc(slices.Clone(h.holdReleaseActions()), func(a action.Action) bool {
		return slices.ContainsFunc(r.Holds, func(other Hold) bool {
			return other.ID != h.ID && !other.HasEnded(now) && slices.ContainsFunc(other.holdReleaseActions(), a.Same)
		})
	})
}

// HoldsNothing reports whether no hold is active and all numbers are restored.
func (r *Record) HoldsNothing() bool {
	return r.Replicas.Set == nil && !slices.ContainsFunc(r.Holds, func(h Hold) bool { return h.State != RolledBack || h.UndoPending || h.Previous != nil })
}

// ErrRejected marks an invalid hold. The scaler makes no changes for it.
var ErrRejected = errors.New("rejected")

// Validate checks the hold by itself, without a cluster. Its errors wrap ErrRejected.
func (h *Hold) Validate() error {
	switch {
	case h.ID == "":
		return fmt.Errorf("hold has no id: %w", ErrRejected)
	case h.Replicas < 0 || h.MinReplicas < 0 || h.MaxReplicas < 0:
		return fmt.Errorf("hold %s: replicas, minReplicas and maxReplicas must not be negative: %w", h.ID, ErrRejected)
	case h.MinReplicas > max(h.Replicas, 1):
		return fmt.Errorf("hold %s: minReplicas %d is above replicas %d: %w", h.ID, h.MinReplicas, h.Replicas, ErrRejected)
	case h.MaxReplicas != 0 && h.MaxReplicas < h.Replicas:
		return fmt.Errorf("hold %s: maxReplicas %d is below replicas %d: %w", h.ID, h.MaxReplicas, h.Replicas, ErrRejected)
	}
	return nil
}

// holdMinReplicasForAutoscaler returns the autoscaler's minReplicas during the hold: at least 1, since without HPAScaleToZero its API rejects 0.
func (h *Hold) holdMinReplicasForAutoscaler() int32 {
	if h.MinReplicas > 0 {
		return h.MinReplicas
	}
	return max(h.Replicas, 1)
}

// DesiredScale is the combination of all active holds of a workload.
type DesiredScale struct {
	Held                               bool // a hold is active; false: restore the original numbers
	Replicas, MinReplicas, MaxReplicas int32
	Lower                              bool // also below the original numbers
}

// CombineHolds returns the highest of each number over the holds that have neither ended nor failed.
func (r *Record) CombineHolds(now time.Time) DesiredScale {
	var w DesiredScale
	for i := range r.Holds {
		h := r.Holds[i].effectiveHoldAt(now)
		if h == nil {
			continue
		}
		w.Held = true
		w.Replicas, w.MinReplicas, w.MaxReplicas = max(w.Replicas, h.Replicas), max(w.MinReplicas, h.holdMinReplicasForAutoscaler()), max(w.MaxReplicas, h.MaxReplicas)
		w.Lower = w.Lower || h.Lower
	}
	return w
}

// ReplicasWithoutAutoscaler returns the scale of a workload without an autoscaler that had was replicas before the first hold.
func (w DesiredScale) ReplicasWithoutAutoscaler(was int32) int32 {
	switch {
	case !w.Held:
		return was
	case w.Lower:
		return w.Replicas
	}
	return max(w.Replicas, was)
}
