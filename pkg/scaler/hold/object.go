package hold

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// The names of the resource in a cluster.
const (
	Kind     = "Hold"
	Resource = "holds"
	// Finalizer keeps an object until the scaler has given back the original numbers.
	Finalizer = domain.ScalerPrefix + "give-back"
	// OwnerLabel names the controller that made an object: NAMESPACE.LEASE.
	OwnerLabel = domain.ScalerPrefix + "owner"
	// ControllerLabel names the controller that acts on an object, made by any client: NAMESPACE.LEASE.
	ControllerLabel = domain.ScalerPrefix + "controller"
	// PausedByOwnerAnnotation is on an object that the owner of the hold paused: its schedule or rule is paused. Its value is the end of a person's pause,
	// which goes on after the owner's, or true.
	PausedByOwnerAnnotation = domain.ScalerPrefix + "paused-by-owner"
)

// GroupVersion is the group and version of the resource.
var GroupVersion = schema.GroupVersion{Group: domain.ScalerGroup, Version: "v1alpha1"}

// Object is a Hold as the API server keeps it. manifests/scaler/crd/crd.yaml has its schema.
type Object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status,omitzero"`
	// Fault is why the object cannot be read; empty: it can. A faulty object holds nothing.
	Fault string `json:"-"`
	// Raw is a faulty object as the API server has it. Nothing changes it.
	Raw json.RawMessage `json:"-"`
	// Trimmed is set if the metadata lack the parts that TrimMetadata took away.
	Trimmed bool `json:"-"`
}

// ObjectList is a list of Holds.
type ObjectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []Object `json:"items"`
}

// Spec is the request of an Object. Its fields are as in Hold.
type Spec struct {
	Workload    WorkloadReference `json:"workload"`
	ID          string            `json:"id,omitempty"` // empty: the object's name
	Reason      string            `json:"reason,omitempty"`
	By          string            `json:"by,omitempty"`
	Replicas    int32             `json:"replicas"`
	MinReplicas int32             `json:"minReplicas,omitempty"`
	MaxReplicas int32             `json:"maxReplicas,omitempty"`
	Lower       bool              `json:"lower,omitempty"`
	Until       *metav1.Time      `json:"until,omitempty"`
	// WindowStart is the start of the schedule's window; nil: the hold is not a schedule's.
	WindowStart *metav1.Time    `json:"windowStart,omitempty"`
	Within      metav1.Duration `json:"within,omitzero"`
	Verify      *verify.Spec    `json:"verify,omitempty"`
	Gates       []string        `json:"gates,omitempty"`
	Group       *GroupReference `json:"group,omitempty"`
	Notify      []string        `json:"notify,omitempty"`
	Paused      bool            `json:"paused,omitempty"` // the hold counts for nothing until it is resumed
	// PausedUntil ends a pause by itself; nil: it lasts until Paused is cleared.
	PausedUntil *metav1.Time `json:"pausedUntil,omitempty"`
	// Approved lets gates open that wait for a person. A change of the request takes it back.
	Approved bool `json:"approved,omitempty"`
}

// WorkloadReference names a workload in the namespace of the Hold.
type WorkloadReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
}

// GroupReference makes Size holds of a namespace one request.
type GroupReference struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

// Status is the progress of an Object. The scaler alone writes it.
type Status struct {
	ObservedGeneration int64  `json:"observedGeneration,omitempty"`
	State              State  `json:"state,omitempty"`
	Message            string `json:"message,omitempty"` // the last message about the hold, for people
	// Since is the start of the current step up: its new pods are the pods created later. Entered is the time at which the hold entered
	// State.
	Since   metav1.MicroTime `json:"since,omitzero"`
	Entered metav1.MicroTime `json:"entered,omitzero"`
	// YoungestVerified is the creation of the youngest pod at the verification and, before the first, at the hold's start; zero: there was none. Younger
	// pods are not verified. It is of the API server's clock, as all creations.
	YoungestVerified metav1.Time `json:"youngestVerified,omitzero"`
	// VerifiedReadyAt is the time at which the last pod of the verification had become ready; zero: there was none. Pods that became ready later are not
	// verified.
	VerifiedReadyAt metav1.Time `json:"verifiedReadyAt,omitzero"`
	// ReplicasBefore is the workload's scale at Since, and ReplicasAsked the spec's replicas of ObservedGeneration.
	ReplicasBefore int32 `json:"replicasBefore,omitempty"`
	ReplicasAsked  int32 `json:"replicasAsked,omitempty"`
	// Up are the numbers with which the hold was open last: they stay if a change of the spec fails. nil: it was not open, or lost its pods since.
	Up *CountedNumbers `json:"up,omitempty"`
	// GateOpen is set before the first action that opens a gate, and cleared after the last action that closes it.
	GateOpen bool `json:"gateOpen,omitempty"`
	// GateSteps counts the steps in which the gates opened so far, and GateStepAt is the time of the last, or of the approval. Approved is set
	// after the approval was seen. GateChanges are the changes of the gates, stored before they are made. GateKeys identify by name the effects of the gates when the
	// hold began: a gate that has another name by now is found by its key.
	GateSteps   int               `json:"gateSteps,omitempty"`
	GateStepAt  metav1.MicroTime  `json:"gateStepAt,omitzero"`
	Approved    bool              `json:"approved,omitempty"`
	GateChanges []action.Change   `json:"gateChanges,omitempty"`
	GateKeys    map[string]string `json:"gateKeys,omitempty"`
	// WatchUntil is the end of the watch over the open gates; zero: they are not watched. BreachedSince is the time of the first of the last
	// numbers that were above their bound, without a break.
	WatchUntil    metav1.MicroTime `json:"watchUntil,omitzero"`
	BreachedSince metav1.MicroTime `json:"breachedSince,omitzero"`
	// Yielded are the numbers that another client has set during this hold: minReplicas, maxReplicas or replicas. The hold leaves them, or in another window
	// may raise them. YieldedUntil is the end, and YieldedWindow the start of the window, that the hold had then.
	Yielded       []string    `json:"yielded,omitempty"`
	YieldedUntil  metav1.Time `json:"yieldedUntil,omitzero"`
	YieldedWindow metav1.Time `json:"yieldedWindow,omitzero"`
	// Told are the outcomes that were put into Outbox. Outbox are the messages that a notifier has not confirmed yet.
	Told   []string        `json:"told,omitempty"`
	Outbox []OutboxMessage `json:"outbox,omitempty"`
	// Failures counts the rollbacks of this hold; RetryAt is the next try.
	Failures int32            `json:"failures,omitempty"`
	RetryAt  metav1.MicroTime `json:"retryAt,omitzero"`
	// Numbers are the original numbers of the workload. One of its holds carries them.
	Numbers    *Numbers           `json:"numbers,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CountedNumbers are the numbers of a hold that count towards its workload's; 0 as in Spec.
type CountedNumbers struct {
	Replicas    int32 `json:"replicas"`
	MinReplicas int32 `json:"minReplicas,omitempty"`
	MaxReplicas int32 `json:"maxReplicas,omitempty"`
}

// OutboxMessage is a message about a hold, stored until all its notifiers are done with it.
type OutboxMessage struct {
	// Key identifies the message, also for a receiver and for the next process.
	Key string `json:"key"`
	// Outcome is its name in Told, and Text the outcome for people. Why is the reason.
	Outcome string           `json:"outcome"`
	Text    string           `json:"text"`
	Why     string           `json:"why,omitempty"`
	Time    metav1.MicroTime `json:"time,omitzero"`
	// Notifiers are the notifiers that are not done with it.
	Notifiers []string `json:"notifiers"`
}

// Numbers are the numbers of a workload and its autoscaler: the originals, and the scaler's. They are written before a change
// is made. Of several records the one with the highest Sequence counts.
type Numbers struct {
	Sequence int64 `json:"sequence"`
	// WorkloadUID is the identity of the workload: another workload of the same name has numbers of its own.
	WorkloadUID types.UID `json:"workloadUID,omitempty"`
	// Autoscaler is the name, and AutoscalerUID the identity, of the autoscaler with these bounds. An empty identity: there is none now, and the bounds
	// are of the last one.
	Autoscaler    string    `json:"autoscaler,omitempty"`
	AutoscalerUID types.UID `json:"autoscalerUID,omitempty"`
	MinReplicas   Change    `json:"minReplicas,omitzero"`
	MaxReplicas   Change    `json:"maxReplicas,omitzero"`
	Replicas      Change    `json:"replicas,omitzero"`
}

// Change is a change of one number of an object.
type Change struct {
	// Was is the number before the first hold, or the number that another client set since. Set is the number that the scaler set last.
	Was int32 `json:"was"`
	Set int32 `json:"set"`
	// From is the number before Set until the write of Set is confirmed; nil: confirmed. A number that is neither From nor Set is
	// another client's.
	From *int32 `json:"from,omitempty"`
	// Displaced is the original bound of an autoscaler while the other bound, which another client set, leaves no room for it: Was is then
	// equal to that other bound. nil: it has room.
	Displaced *int32 `json:"displaced,omitempty"`
}

// IsForeign reports whether another client has set the number.
func (c Change) IsForeign(now int32) bool { return now != c.Set && (c.From == nil || now != *c.From) }

// Intend returns the change to a number, from the number now: the record to be written before the number is.
func (c Change) Intend(to, now int32) Change {
	if to == c.Set && !c.IsForeign(now) {
		return c
	}
	c.Set, c.From = to, nil
	if to != now {
		c.From = &now
	}
	return c
}

// Fit returns the change with the original number moved between two others, and back after there is room for it.
func (c Change) Fit(low, high int32) Change {
	if c.Displaced != nil {
		c.Was, c.Displaced = *c.Displaced, nil
	}
	if was := c.Was; was < low || was > high {
		c.Was, c.Displaced = min(max(was, low), high), &was
	}
	return c
}

// Confirm returns the change without From, if the scaler set the number.
func (c Change) Confirm(now int32) Change {
	if now == c.Set {
		c.From = nil
	}
	return c
}

// Equal reports whether two changes are the same.
func (c Change) Equal(other Change) bool {
	return c.Was == other.Was && c.Set == other.Set && equalReplicaNumber(c.From, other.From) && equalReplicaNumber(c.Displaced, other.Displaced)
}

// cloneReplicaNumber returns a copy that shares no memory.
func cloneReplicaNumber(n *int32) *int32 {
	if n == nil {
		return nil
	}
	c := *n
	return &c
}

// equalReplicaNumber reports whether both numbers are missing, or are the same.
func equalReplicaNumber(a, b *int32) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// ReplicaBounds are an autoscaler's minReplicas and maxReplicas.
type ReplicaBounds struct {
	MinReplicas int32 `json:"minReplicas"`
	MaxReplicas int32 `json:"maxReplicas"`
}

// HoldID returns the ID of the hold: the spec's, or the object's name.
func (o *Object) HoldID() string {
	if o.Spec.ID != "" {
		return o.Spec.ID
	}
	return o.Name
}

// HeldWorkload returns the workload of the hold.
func (o *Object) HeldWorkload() Workload {
	return Workload{APIVersion: o.Spec.Workload.APIVersion, Kind: o.Spec.Workload.Kind, Namespace: o.Namespace, Name: o.Spec.Workload.Name}
}

// IsWorkloadPause reports whether the hold is the pause of its workload. It holds nothing.
func (o *Object) IsWorkloadPause() bool { return o.Spec.ID == WorkloadPauseID }

// IsOver reports whether the hold counts for nothing: deleted, paused, after its end, or the pause of a workload.
func (o *Object) IsOver(now time.Time) bool {
	return o.IsWorkloadPause() || o.DeletionTimestamp != nil || o.IsPaused(now) || o.Spec.Until != nil && !now.Before(o.Spec.Until.Time)
}

// IsPaused reports whether the hold is paused: until PausedUntil, or without it until it is resumed.
func (o *Object) IsPaused(now time.Time) bool {
	return o.Spec.Paused && (o.Spec.PausedUntil == nil || now.Before(o.Spec.PausedUntil.Time))
}

// IsGivenBack reports whether nothing of the hold is left in the cluster: its gates are shut, and the original numbers are back. It may still owe
// messages.
func (o *Object) IsGivenBack() bool {
	return !o.Status.GateOpen && o.Status.Numbers == nil && !o.Status.State.IsActive()
}

// IsPausedByOwner reports whether the owner of the hold paused it, and no person.
func (o *Object) IsPausedByOwner() bool {
	return o.Spec.Paused && o.Annotations[PausedByOwnerAnnotation] != ""
}

// SetPausedByOwner pauses the hold for its owner, or ends that pause, and reports whether it changed the object. A person's pause stays: one without an
// end as it is, one with an end for the time that is left of it after the owner's.
func (o *Object) SetPausedByOwner(paused bool) (changed bool) {
	noted := o.Annotations[PausedByOwnerAnnotation]
	switch {
	case paused && o.Spec.Paused && o.Spec.PausedUntil == nil, !paused && noted == "":
		return false
	case paused:
		noted = "true"
		if o.Spec.Paused {
			noted = o.Spec.PausedUntil.UTC().Format(time.RFC3339)
		}
		o.Spec.Paused, o.Spec.PausedUntil = true, nil
		o.Annotations = maps.Clone(o.Annotations)
		if o.Annotations == nil {
			o.Annotations = map[string]string{}
		}
		o.Annotations[PausedByOwnerAnnotation] = noted
		return true
	}
	if o.Spec.Paused && o.Spec.PausedUntil == nil {
		until, err := time.Parse(time.RFC3339, noted)
		if o.Spec.Paused = err == nil; o.Spec.Paused {
			o.Spec.PausedUntil = &metav1.Time{Time: until}
		}
	}
	o.Annotations = maps.Clone(o.Annotations)
	delete(o.Annotations, PausedByOwnerAnnotation)
	return true
}

// IsShared reports whether the hold has its gates open, or a record of an autoscaler: holds of other workloads may have the same ones.
func (o *Object) IsShared() bool {
	return o.Status.GateOpen || o.Status.Numbers != nil && o.Status.Numbers.AutoscalerUID != ""
}

// IsManaged reports whether this program made the object.
func (o *Object) IsManaged() bool { return o.Labels[ManagedLabel] == Manager }

// Adopt adds the finalizer, and the label of the controller that acts on the object unless it has one; empty: no controller does.
func (o *Object) Adopt(controller string) {
	if !slices.Contains(o.Finalizers, Finalizer) {
		o.Finalizers = append(o.Finalizers, Finalizer)
	}
	if controller == "" || o.Labels[ControllerLabel] != "" {
		return
	}
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels[ControllerLabel] = controller
}

// WithinOrDefault returns the time in which new pods must become ready, at most MaxWithin.
func (o *Object) WithinOrDefault() time.Duration {
	if o.Spec.Within.Duration > 0 {
		return min(o.Spec.Within.Duration, MaxWithin)
	}
	return DefaultWithin
}

// IsKept reports whether a change of the hold failed, so that its numbers of before count.
func (o *Object) IsKept() bool { return o.Status.State == RolledBack && o.Status.Up != nil }

// CountedNumbers returns the numbers of the hold that count.
func (o *Object) CountedNumbers() CountedNumbers {
	if o.IsKept() {
		return *o.Status.Up
	}
	return CountedNumbers{o.Spec.Replicas, o.Spec.MinReplicas, o.Spec.MaxReplicas}
}

// MinReplicasOrReplicas returns the autoscaler's minReplicas during the hold: at least 1, since without HPAScaleToZero its API rejects
// 0.
func (o *Object) MinReplicasOrReplicas() int32 {
	n := o.CountedNumbers()
	if n.MinReplicas > 0 {
		return n.MinReplicas
	}
	return max(n.Replicas, 1)
}

// DeepCopy returns a copy that shares no memory.
func (o *Object) DeepCopy() *Object {
	c := *o
	o.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	if o.Spec.Until != nil {
		c.Spec.Until = o.Spec.Until.DeepCopy()
	}
	if o.Spec.PausedUntil != nil {
		c.Spec.PausedUntil = o.Spec.PausedUntil.DeepCopy()
	}
	c.Spec.WindowStart = o.Spec.WindowStart.DeepCopy()
	if o.Spec.Verify != nil {
		spec := *o.Spec.Verify
		c.Spec.Verify = &spec
	}
	if o.Spec.Group != nil {
		group := *o.Spec.Group
		c.Spec.Group = &group
	}
	c.Spec.Gates, c.Spec.Notify = append([]string(nil), o.Spec.Gates...), append([]string(nil), o.Spec.Notify...)
	c.Status = o.Status.DeepCopy()
	return &c
}

// DeepCopy returns a copy that shares no memory.
func (s Status) DeepCopy() Status {
	s.Yielded, s.Told = append([]string(nil), s.Yielded...), append([]string(nil), s.Told...)
	if s.Up != nil {
		up := *s.Up
		s.Up = &up
	}
	s.GateKeys = maps.Clone(s.GateKeys)
	s.GateChanges = append([]action.Change(nil), s.GateChanges...)
	for i := range s.GateChanges {
		s.GateChanges[i].Set = append([]string(nil), s.GateChanges[i].Set...)
	}
	s.Outbox = append([]OutboxMessage(nil), s.Outbox...)
	for i := range s.Outbox {
		s.Outbox[i].Notifiers = append([]string(nil), s.Outbox[i].Notifiers...)
	}
	if s.Numbers != nil {
		n := *s.Numbers
		for _, c := range []*Change{&n.MinReplicas, &n.MaxReplicas, &n.Replicas} {
			c.From, c.Displaced = cloneReplicaNumber(c.From), cloneReplicaNumber(c.Displaced)
		}
		s.Numbers = &n
	}
	s.Conditions = append([]metav1.Condition(nil), s.Conditions...)
	return s
}

// DeepCopyObject implements runtime.Object.
func (o *Object) DeepCopyObject() runtime.Object { return o.DeepCopy() }

// DeepCopyObject implements runtime.Object.
func (l *ObjectList) DeepCopyObject() runtime.Object {
	c := *l
	l.ListMeta.DeepCopyInto(&c.ListMeta)
	c.Items = make([]Object, len(l.Items))
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopy()
	}
	return &c
}
