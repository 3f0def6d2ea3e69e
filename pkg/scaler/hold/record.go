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

// What the scaler leaves on objects while it holds them, and nothing after.
const (
	// HoldsAnnotation is on a target: its Record.
	HoldsAnnotation = domain.ScalerPrefix + "holds"
	// BoundsAnnotation is on an autoscaler: its Bounds.
	BoundsAnnotation = domain.ScalerPrefix + "bounds"
	// HeldLabel is on both, so that they are found without reading every object. Its value is the annotation's Mark.
	HeldLabel = domain.ScalerPrefix + "held"
	// FieldManager is whose changes the scaler's are.
	FieldManager = "tachometer-scaler"
)

// maxHolds of one target: more are no reasons but a fault, and would not fit into an annotation.
const maxHolds = 32

// Record is what a target carries while it is held.
type Record struct {
	Holds []Hold `json:"holds"`
	// Replicas is the target's scale before the first hold, and what was made of it where no autoscaler decides.
	Replicas Change `json:"replicas"`
}

// Change is one number of an object: what it was, and what it was made.
type Change struct {
	Was int32 `json:"was"`
	// Set is what it was made last; nil: it was not touched.
	Set *int32 `json:"set,omitempty"`
	// From is what it was just before Set, while it is not known whether Set was written: noted before the write, cleared after.
	From *int32 `json:"from,omitempty"`
	// Yielded tells that somebody else changed it since: it is theirs now, and neither raised nor given back.
	Yielded bool `json:"yielded,omitempty"`
}

// Bounds are what an autoscaler carries while its bounds are not its own; nil: not touched.
type Bounds struct {
	Min *Change `json:"min,omitempty"`
	Max *Change `json:"max,omitempty"`
}

// Mark is the value of the label beside an annotation with a text; empty for none. It tells whether an annotation is still the one
// that was written with the label.
func Mark(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// ParseRecord reads the annotation; empty text is an empty record. Who edits it by hand is told what is wrong with it.
func ParseRecord(text string) (Record, error) {
	var r Record
	if text == "" {
		return r, nil
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("parse annotation %s: %w", HoldsAnnotation, err)
	}
	for i := range r.Holds {
		if _, known := nextStates[r.Holds[i].State]; !known && !r.Holds[i].State.Settled() {
			return Record{}, fmt.Errorf("parse annotation %s: hold %s has unknown state %q", HoldsAnnotation, r.Holds[i].ID, r.Holds[i].State)
		}
	}
	return r, nil
}

// Text is the annotation; empty for a record without holds.
func (r Record) Text() (string, error) {
	if len(r.Holds) == 0 {
		return "", nil
	}
	if len(r.Holds) > maxHolds {
		return "", fmt.Errorf("%d holds; a target takes up to %d", len(r.Holds), maxHolds)
	}
	data, err := json.Marshal(r)
	return string(data), err
}

// ParseBounds reads the annotation of an autoscaler; empty text is for bounds that are its own.
func ParseBounds(text string) (Bounds, error) {
	var b Bounds
	if text == "" {
		return b, nil
	}
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return Bounds{}, fmt.Errorf("parse annotation %s: %w", BoundsAnnotation, err)
	}
	return b, nil
}

// Text is the annotation; empty if nothing was touched.
func (b Bounds) Text() (string, error) {
	if b == (Bounds{}) {
		return "", nil
	}
	data, err := json.Marshal(b)
	return string(data), err
}

// Find returns the hold with the ID, nil if there is none. It points into the record.
func (r *Record) Find(id string) *Hold {
	for i := range r.Holds {
		if r.Holds[i].ID == id {
			return &r.Holds[i]
		}
	}
	return nil
}

// Drop removes the hold with the ID.
func (r *Record) Drop(id string) {
	r.Holds = slices.DeleteFunc(r.Holds, func(h Hold) bool { return h.ID == id })
}

// Clone shares nothing with r that Find lets change.
func (r Record) Clone() Record {
	r.Holds = slices.Clone(r.Holds)
	return r
}

// Closing is what is to be done before a hold ends: nothing where its gate was never opened, and nothing that another will do
// whose gate is open still. Of holds that share a gate the last shuts it.
func (r *Record) Closing(h *Hold, now time.Time) []action.Action {
	return slices.DeleteFunc(slices.Clone(h.ownReleaseActions()), func(a action.Action) bool {
		return slices.ContainsFunc(r.Holds, func(other Hold) bool {
			return other.ID != h.ID && !other.Ended(now) && slices.ContainsFunc(other.ownReleaseActions(), a.Same)
		})
	})
}

// AtRest tells that nothing of the target is held, nor still to be given back.
func (r *Record) AtRest() bool {
	return r.Replicas.Set == nil && !slices.ContainsFunc(r.Holds, func(h Hold) bool { return h.State != RolledBack || h.Undo || h.Previous != nil })
}

// ErrRefused is for a hold that cannot be: nothing was changed for it.
var ErrRefused = errors.New("refused")

// Validate tells what is wrong with a hold as such.
func (h *Hold) Validate() error {
	switch {
	case h.ID == "":
		return fmt.Errorf("hold without an id: %w", ErrRefused)
	case h.Replicas < 0 || h.Floor < 0 || h.Ceiling < 0:
		return fmt.Errorf("hold %s: replicas, floor and ceiling are not negative: %w", h.ID, ErrRefused)
	case h.Floor > max(h.Replicas, 1):
		return fmt.Errorf("hold %s: floor %d above replicas %d: %w", h.ID, h.Floor, h.Replicas, ErrRefused)
	case h.Ceiling != 0 && h.Ceiling < h.Replicas:
		return fmt.Errorf("hold %s: ceiling %d below replicas %d: %w", h.ID, h.Ceiling, h.Replicas, ErrRefused)
	}
	return nil
}

// effectiveMinReplicas is what an autoscaler may not go below: at least 1, since without HPAScaleToZero its API takes no less.
func (h *Hold) effectiveMinReplicas() int32 {
	if h.Floor > 0 {
		return h.Floor
	}
	return max(h.Replicas, 1)
}

// Want is what the holds of a target together ask for.
type Want struct {
	Any                      bool // a hold holds; else what was there is wanted back
	Replicas, Floor, Ceiling int32
	Lower                    bool // below what was there, too
}

// Wanted is what those holds ask for that have neither ended nor failed: of each number the highest.
func (r *Record) Wanted(now time.Time) Want {
	var w Want
	for i := range r.Holds {
		h := r.Holds[i].effectiveHold(now)
		if h == nil {
			continue
		}
		w.Any = true
		w.Replicas, w.Floor, w.Ceiling = max(w.Replicas, h.Replicas), max(w.Floor, h.effectiveMinReplicas()), max(w.Ceiling, h.Ceiling)
		w.Lower = w.Lower || h.Lower
	}
	return w
}

// ReplicasOver is how many replicas are wanted where no autoscaler decides and there were was of them.
func (w Want) ReplicasOver(was int32) int32 {
	switch {
	case !w.Any:
		return was
	case w.Lower:
		return w.Replicas
	}
	return max(w.Replicas, was)
}
