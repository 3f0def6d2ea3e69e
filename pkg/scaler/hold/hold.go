// Package hold defines the API object Hold and its client: a request to keep a workload at a number of replicas, with an owner and an
// end. The API server keeps them as objects of the kind Hold, with the original numbers in their status.
package hold

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Hold is a request to keep a workload at a number of replicas. A person, a schedule or an event makes it; NewObject stores it.
type Hold struct {
	// ID is unique on the workload, such as schedule/office-hours, event/flash-sale/black-friday or set/alice. A second hold with the
	// same ID replaces the first.
	ID string
	// Reason is a text for people. By is the owner: a user, a schedule, or an event with its id.
	Reason, By string
	// Replicas is the scale that the hold sets at once. MinReplicas is the autoscaler's minReplicas during the hold; 0: Replicas.
	// MaxReplicas is the least maxReplicas of the autoscaler during the hold; 0: unchanged, and the scaler rejects a hold above it.
	Replicas, MinReplicas, MaxReplicas int32
	// Lower lets the hold lower the workload; without it, a hold below the original numbers leaves them.
	Lower bool
	// Until is the end; zero: until released. Within is the time in which new pods must become ready; 0: DefaultWithin.
	Until  time.Time
	Within time.Duration
	// WindowStart is the start of a schedule's window: a number that another client sets after it stays until the window ends. Zero: no schedule made the hold.
	WindowStart time.Time
	// Verify is the verification that new pods must pass; nil: being ready is enough.
	Verify *verify.Spec
	// Gates are the names of gates in the scaler's configuration. They open after the pods are verified.
	Gates []string
	// Group is the name of holds that are one request, in one namespace. No gate of a group opens before all GroupSize holds of it are
	// verified. Empty: no group.
	Group     string
	GroupSize int
	// Notify names the notifiers of success and failure.
	Notify []string
	// Paused stores the hold as paused by its owner: it counts for nothing.
	Paused bool
}

// The prefixes of the IDs of holds: SchedulePrefix of schedules' holds, EventPrefix of events' holds (event/RULE, or event/RULE/KEY), and SetPrefix of
// those that people make with the command set.
const (
	SchedulePrefix = "schedule/"
	EventPrefix    = "event/"
	SetPrefix      = "set/"
)

// WorkloadPauseID is the ID of the hold that pauses its workload. It holds nothing; while it is paused, so are the holds that are made meanwhile.
const WorkloadPauseID = "pause/workload"

// WindowOverlap is the time by which a schedule's hold outlasts its window, unless the controller replaces or ends it at the end of the window. Without it, a
// workload between two windows would be restored and raised again.
const WindowOverlap = 2 * time.Minute

// DefaultWithin is the default time in which new pods must become ready: long enough for a slow image and a start-up probe, short
// enough for a waiting person.
const DefaultWithin = 5 * time.Minute

// MaxWithin bounds the time in which new pods must become ready: a hold that waits for longer never fails, and nobody is told.
const MaxWithin = 24 * time.Hour

// The limits of a Hold in its schema, manifests/scaler/crd/crd.yaml: the API server rejects a Hold beyond them.
const (
	// MaxReplicas bounds all numbers of replicas: a larger number is a typing error.
	MaxReplicas = 10_000
	// MaxGates bounds the names of gates.
	MaxGates = 16
	// MaxNotifiers bounds the names of notifiers.
	MaxNotifiers = 16
	// MaxNotifierName is the greatest length of the name of a notifier, in characters.
	MaxNotifierName = 253
	// maxReason is the greatest length of a reason, and maxText of an ID and an owner, in characters.
	maxReason, maxText = 1024, 512
)

// IsNotifierName reports whether a Hold can name a notifier so.
func IsNotifierName(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= MaxNotifierName && !strings.ContainsAny(name, "/:") && isPlainLine(name)
}

// isPlainLine reports whether a text is one line that a terminal shows as it is: kubectl prints the texts of a Hold raw.
func isPlainLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	})
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
	case h.Within < 0 || h.Within > MaxWithin:
		return fmt.Errorf("hold %s: within must be from 0 to %s, not %s: %w", h.ID, MaxWithin, h.Within, ErrRejected)
	case h.MinReplicas > max(h.Replicas, 1):
		return fmt.Errorf("hold %s: minReplicas %d is above replicas %d: %w", h.ID, h.MinReplicas, h.Replicas, ErrRejected)
	case h.MaxReplicas != 0 && h.MaxReplicas < h.Replicas:
		return fmt.Errorf("hold %s: maxReplicas %d is below replicas %d: %w", h.ID, h.MaxReplicas, h.Replicas, ErrRejected)
	}
	return errors.Join(h.validateSchemaLimits(), h.validatePlainTexts())
}

// validatePlainTexts checks the texts that kubectl prints as they are.
func (h *Hold) validatePlainTexts() error {
	for _, text := range []struct{ what, found string }{{"id", h.ID}, {"reason", h.Reason}, {"owner", h.By}, {"group", h.Group}} {
		if !isPlainLine(text.found) {
			return fmt.Errorf("hold %s: %s %q must be one line, without control characters and marks of writing direction: %w",
				strict.ShortenPlain(h.ID), text.what, strict.Shorten(text.found), ErrRejected)
		}
	}
	return nil
}

// validateSchemaLimits checks the limits in the schema of a Hold.
func (h *Hold) validateSchemaLimits() error {
	for _, limit := range []struct {
		what          string
		found, atMost int
	}{
		{"replicas", int(h.Replicas), MaxReplicas},
		{"minReplicas", int(h.MinReplicas), MaxReplicas},
		{"maxReplicas", int(h.MaxReplicas), MaxReplicas},
		{"characters of the id", utf8.RuneCountInString(h.ID), maxText},
		{"characters of the reason", utf8.RuneCountInString(h.Reason), maxReason},
		{"characters of the owner", utf8.RuneCountInString(h.By), maxText},
		{"gates", len(h.Gates), MaxGates},
		{"notifiers", len(h.Notify), MaxNotifiers},
	} {
		if limit.found > limit.atMost {
			return fmt.Errorf("hold %s: %d %s; the maximum is %d: %w", strict.ShortenPlain(h.ID), limit.found, limit.what, limit.atMost, ErrRejected)
		}
	}
	return nil
}

// ManagedLabel is on the objects that this program made. It deletes them after their end; an object of another client stays.
const (
	ManagedLabel = "app.kubernetes.io/managed-by"
	// Manager is the value of ManagedLabel, and the field manager of the scaler's writes.
	Manager = domain.ScalerManager
)

// NewObject returns the object of a hold on a workload. owner labels it as the work of one controller; empty: of no controller.
func NewObject(t Workload, h Hold, owner string) *Object {
	o := &Object{
		TypeMeta: metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: Kind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: t.Namespace, Name: ObjectName(t, h.ID), Labels: map[string]string{ManagedLabel: Manager}, Finalizers: []string{Finalizer},
		},
		Spec: Spec{
			Workload: WorkloadReference{APIVersion: t.APIVersion, Kind: t.Kind, Name: t.Name}, ID: h.ID, Reason: h.Reason, By: h.By,
			Replicas: h.Replicas, MinReplicas: h.MinReplicas, MaxReplicas: h.MaxReplicas, Lower: h.Lower,
			Within: metav1.Duration{Duration: h.Within}, Verify: h.Verify, Gates: h.Gates, Notify: h.Notify,
		},
	}
	if !h.Until.IsZero() {
		o.Spec.Until = &metav1.Time{Time: h.Until.UTC().Truncate(time.Second)}
	}
	if !h.WindowStart.IsZero() {
		o.Spec.WindowStart = &metav1.Time{Time: h.WindowStart.UTC().Truncate(time.Second)}
	}
	if h.Group != "" && h.GroupSize > 1 {
		o.Spec.Group = &GroupReference{Name: h.Group, Size: h.GroupSize}
	}
	if owner != "" {
		o.Labels[OwnerLabel], o.Labels[ControllerLabel] = owner, owner
	}
	o.SetPausedByOwner(h.Paused)
	return o
}

// NewWorkloadPause returns the object that pauses a workload until a time; zero: until it is resumed.
func NewWorkloadPause(t Workload, by string, until time.Time) *Object {
	o := NewObject(t, Hold{ID: WorkloadPauseID, Reason: "the workload is paused", By: by}, "")
	if o.Spec.Paused = true; !until.IsZero() {
		o.Spec.PausedUntil = &metav1.Time{Time: until.UTC().Truncate(time.Second)}
	}
	return o
}

var unfitForObjectName = regexp.MustCompile(`[^a-z0-9]+`)

// ObjectName returns the name of the object of a hold: readable words of the ID, and a hash of the ID and the workload.
func ObjectName(t Workload, id string) string {
	sum := sha256.Sum256([]byte(t.APIVersion + "\x00" + t.Kind + "\x00" + t.Name + "\x00" + id))
	words := strings.Trim(unfitForObjectName.ReplaceAllString(strings.ToLower(t.Name+"-"+id), "-"), "-")
	if len(words) > 200 {
		words = strings.TrimRight(words[:200], "-")
	}
	return words + "-" + hex.EncodeToString(sum[:4])
}

// EqualSpecs reports whether two specs ask for the same.
func EqualSpecs(a, b Spec) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// maxLabelLength is the API's limit of a label's value.
const maxLabelLength = 63

// OwnerOfLease returns the value of OwnerLabel for the controller with a Lease: NAMESPACE.LEASE, or a hash of it if that is too long.
func OwnerOfLease(namespace, lease string) string {
	owner := namespace + "." + lease
	if len(owner) <= maxLabelLength {
		return owner
	}
	sum := sha256.Sum256([]byte(owner))
	return "lease-" + hex.EncodeToString(sum[:16])
}
