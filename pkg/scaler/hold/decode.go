package hold

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UnmarshalJSON decodes an object. A spec or a status of another form, such as a duration of 5x, is the Fault of this object alone: a list has
// all others. A faulty object keeps its metadata, its workload and its status as far as they can be read.
func (o *Object) UnmarshalJSON(data []byte) error {
	type plainObject Object
	var all plainObject
	fault := json.Unmarshal(data, &all)
	if fault == nil {
		fault = all.Spec.validateHoldTimes()
	}
	if fault == nil {
		*o = Object(all)
		return nil
	}
	var parts struct {
		metav1.TypeMeta `json:",inline"`

		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     json.RawMessage   `json:"spec"`
		Status   json.RawMessage   `json:"status"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return fmt.Errorf("read a Hold: %w", err)
	}
	*o = Object{TypeMeta: parts.TypeMeta, ObjectMeta: parts.Metadata, Fault: fault.Error(), Raw: slices.Clone(data)}
	decodeHoldFields(parts.Spec, map[string]any{
		"workload": &o.Spec.Workload, "id": &o.Spec.ID, "reason": &o.Spec.Reason, "by": &o.Spec.By, "replicas": &o.Spec.Replicas,
		"minReplicas": &o.Spec.MinReplicas, "maxReplicas": &o.Spec.MaxReplicas, "until": &o.Spec.Until, "gates": &o.Spec.Gates,
		"group": &o.Spec.Group, "notify": &o.Spec.Notify,
	})
	if o.Spec.validateHoldTimes() != nil {
		o.Spec.Until = nil
	}
	decodeHoldFields(parts.Status, map[string]any{
		"observedGeneration": &o.Status.ObservedGeneration, "state": &o.Status.State, "message": &o.Status.Message, "gateOpen": &o.Status.GateOpen,
		"gateSteps": &o.Status.GateSteps, "watchUntil": &o.Status.WatchUntil, "gateChanges": &o.Status.GateChanges, "gateKeys": &o.Status.GateKeys, "told": &o.Status.Told, "outbox": &o.Status.Outbox,
		"numbers": &o.Status.Numbers, "conditions": &o.Status.Conditions,
	})
	return nil
}

// validateHoldTimes rejects a time that no JSON can have: the API server takes 9999-12-31T23:00:00-08:00, and no write of the year 10000. A write of the
// zero time is null.
func (s *Spec) validateHoldTimes() error {
	for name, t := range map[string]*metav1.Time{"until": s.Until, "pausedUntil": s.PausedUntil, "windowStart": s.WindowStart} {
		if t != nil && (t.IsZero() || t.UTC().Year() < 1 || t.UTC().Year() > 9999) {
			return fmt.Errorf("spec.%s: a time from the year 1 to 9999, and not the first", name)
		}
	}
	return nil
}

// decodeHoldFields decodes the fields of an object that have their form, and leaves the others.
func decodeHoldFields(data json.RawMessage, fields map[string]any) {
	var given map[string]json.RawMessage
	if json.Unmarshal(data, &given) != nil {
		return
	}
	for name, to := range fields {
		if text, ok := given[name]; ok {
			_ = json.Unmarshal(text, to) // the object is faulty already, and says so
		}
	}
}
