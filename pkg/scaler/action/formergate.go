// This file shuts gates that are open for a namespace that they are no longer for.

package action

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

// ShutFault returns why a gate cannot be shut for a hold of the namespace that has it open, and how a person shuts it; empty: it can. key is the gate's Key
// when the hold began, and changes are the hold's. A gate that is no longer for the namespace is shut if it changes objects of that namespace alone: no
// record of a hold makes the scaler act outside.
func (r *Runner) ShutFault(namespace, gate, key string, changes []Change) string {
	fault := r.Fault(namespace, gate)
	isSame := key != "" && r.Key(namespace, gate) == key
	if fault == "" || isSame && r.isGateWithin(gate) {
		return ""
	}
	shut := describeGateChanges(selectGateChanges(gate, changes))
	if own := r.gates[gate].Shut; isSame && len(own) > 0 {
		shut = describeShutActions(namespace, own)
	}
	return fault + "; shut it by hand: " + cmp.Or(strings.Join(shut, "; "), "undo what its open actions did")
}

// isGateWithin reports whether the actions of a gate change objects of the holds' own namespace alone, which no other namespace's holds use.
func (r *Runner) isGateWithin(gate string) bool {
	g := r.gates[gate]
	return !slices.ContainsFunc(slices.Concat(g.Open, g.Shut), func(a Action) bool {
		return a.Patch == nil || a.Patch.Namespace != "" || r.isClusterScoped(a.Patch.patchGroupKind())
	})
}

// describeShutActions returns the actions that shut a gate as a person makes them.
func describeShutActions(namespace string, shut []Action) (all []string) {
	for _, a := range shut {
		if a.Patch == nil {
			all = append(all, fmt.Sprintf("call webhook %s with percent 0", a.Webhook))
			continue
		}
		merge, err := a.Patch.RenderMerge(0)
		if err != nil {
			merge = a.Patch.Merge
		}
		all = append(all, fmt.Sprintf("kubectl -n %s patch %s %s --type merge -p %s", a.Patch.patchedNamespace(namespace), kubectlPatchType(a.Patch.APIVersion, a.Patch.Kind), a.Patch.Name, plaintext.QuoteShellWord(string(merge))))
	}
	return all
}

// describeGateChanges returns what was in the places that a gate changed.
func describeGateChanges(changes []Change) (all []string) {
	for _, c := range changes {
		what := "remove " + c.Path
		if c.Was != "" {
			what = fmt.Sprintf("set %s to %s", c.Path, c.Was)
		}
		object := plaintext.QuoteShellWord(kubectlPatchType(c.APIVersion, c.Kind)) + " " + plaintext.QuoteShellWord(c.Name)
		if c.Namespace != "" {
			object = "-n " + plaintext.QuoteShellWord(c.Namespace) + " " + object
		}
		all = append(all, fmt.Sprintf("%s (kubectl edit %s)", what, object))
	}
	return all
}

// kubectlPatchType returns a kind as kubectl takes it.
func kubectlPatchType(apiVersion, kind string) string {
	if group := schema.FromAPIVersionAndKind(apiVersion, kind).Group; group != "" {
		kind += "." + group
	}
	return strings.ToLower(kind)
}
