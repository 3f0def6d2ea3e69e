// Package gate lets traffic in, and shuts it out again: patches of named objects, and webhooks.
package action

import (
	"bytes"
	"encoding/json"
)

// Action is one thing to do; exactly one field is set.
type Action struct {
	Patch *Patch `json:"patch,omitempty"`
	// Webhook is the name of a webhook of the configuration, or the file its URL stands in.
	Webhook string `json:"webhook,omitempty"`
}

// Same tells whether two actions do the same.
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
	Namespace  string          `json:"namespace,omitempty"` // empty: that of the target
	Name       string          `json:"name"`
	Merge      json.RawMessage `json:"merge"`
}
