// Package action opens and closes the gate of a hold: it patches named objects and calls webhooks, to admit traffic or to stop it.
package action

import "encoding/json"

// Gate is a named pair of action lists in the configuration. Holds name it, and never spell out its actions.
type Gate struct {
	// Namespaces are the namespaces in which holds may use it.
	Namespaces []string
	// Open admits traffic; Shut stops it again.
	Open, Shut []Action
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
