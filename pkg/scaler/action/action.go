// Package action opens and closes the gate of a hold: it patches named objects and calls webhooks, to admit traffic or to stop it.
package action

import (
	"bytes"
	"encoding/json"
)

// Action is a patch or a webhook; exactly one field is set.
type Action struct {
	Patch *Patch `json:"patch,omitempty"`
	// Webhook is the name of a webhook in the configuration, or the file with its URL.
	Webhook string `json:"webhook,omitempty"`
}

// Same reports whether two actions are equal.
func (a Action) Same(b Action) bool {
	if a.Patch == nil || b.Patch == nil {
		return a.Patch == b.Patch && a.Webhook == b.Webhook
	}
	x, y := *a.Patch, *b.Patch
	return x.APIVersion == y.APIVersion && x.Kind == y.Kind && x.Namespace == y.Namespace && x.Name == y.Name && bytes.Equal(x.Merge, y.Merge)
}

// Patch is a JSON merge patch (RFC 7386) of one object.
type Patch struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Namespace  string          `json:"namespace,omitempty"` // empty: the workload's
	Name       string          `json:"name"`
	Merge      json.RawMessage `json:"merge"`
}
