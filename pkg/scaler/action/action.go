// Package action decodes and runs the actions of a hold's gate: merge patches of named objects, with their undoing, and webhooks, to
// admit traffic or to stop it.
package action

import (
	"encoding/json"
	"time"
)

// Gate is a named pair of action lists in the configuration. Holds name it, and never spell out its actions.
type Gate struct {
	// Namespaces are the namespaces in which holds may use it.
	Namespaces []string
	// Open admits traffic; Shut stops it again. Without Shut, the gate takes its patches' changes back.
	Open, Shut []Action
	Plan
}

// Plan is how a gate opens.
type Plan struct {
	// Steps are rising percentages up to 100 that patches and webhooks get; none: 100 at once. Pause is the time between two steps.
	Steps []int
	Pause time.Duration
	// Approval makes the gate wait for a person.
	Approval bool
	// After watches a number after the last step; nil: nothing is watched.
	After *Watch
}

// Percentages returns the steps, of which there is at least one.
func (p Plan) Percentages() []int {
	if len(p.Steps) == 0 {
		return []int{100}
	}
	return p.Steps
}

// Change is a place of an object before a gate's patches. A scaler that shuts the gate restores it, unless another client has changed it since.
type Change struct {
	Gate       string `json:"gate"`
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"` // empty: a cluster-scoped object
	Name       string `json:"name"`
	Path       string `json:"path"`          // a JSON pointer
	Was        string `json:"was,omitempty"` // JSON; empty: the place did not exist
	// Set are the values that the gate sets there, as JSON: one for each step.
	Set []string `json:"set"`
}

// Action is a patch or a webhook; exactly one field is set.
type Action struct {
	Patch *Patch `json:"patch,omitempty"`
	// Webhook is the name of a webhook in the configuration.
	Webhook string `json:"webhook,omitempty"`
}

// Patch is a JSON merge patch (RFC 7386) of one object.
type Patch struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Namespace  string          `json:"namespace,omitempty"` // empty: the workload's
	Name       string          `json:"name"`
	Merge      json.RawMessage `json:"merge"`
}
