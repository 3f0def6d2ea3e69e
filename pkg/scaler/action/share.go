// This file finds gates that change the same places. Gates with the same actions in one namespace are one gate under several names; any other two
// would shut such a place for each other.

package action

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resolvedAction is an action with all that it depends on.
type resolvedAction struct {
	Webhook, APIVersion, Kind, Namespace, Name string
	Merge                                      any
}

// scopeOf reports whether the objects of a kind are cluster-scoped: the holds of all namespaces share each of them.
type scopeOf func(schema.GroupKind) bool

// clusterScopedKinds are the cluster-scoped kinds of Kubernetes and of the Gateway API, which need no cluster to be known.
var clusterScopedKinds = map[string][]string{
	"":                             {"Namespace", "Node", "PersistentVolume"},
	"admissionregistration.k8s.io": {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"certificates.k8s.io":          {"CertificateSigningRequest", "ClusterTrustBundle"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"gateway.networking.k8s.io":    {"GatewayClass"},
	"networking.k8s.io":            {"IngressClass", "IPAddress", "ServiceCIDR"},
	"node.k8s.io":                  {"RuntimeClass"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"resource.k8s.io":              {"DeviceClass", "ResourceSlice"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"},
}

// isKnownClusterScoped is the scopeOf without a cluster.
func isKnownClusterScoped(kind schema.GroupKind) bool {
	return slices.Contains(clusterScopedKinds[kind.Group], kind.Kind)
}

// patchGroupKind returns the group and kind of the patch's object.
func (p *Patch) patchGroupKind() schema.GroupKind {
	return schema.FromAPIVersionAndKind(p.APIVersion, p.Kind).GroupKind()
}

// resolveGateActions returns the actions for the holds of a namespace.
func resolveGateActions(namespace string, actions []Action) (all []resolvedAction) {
	for _, a := range actions {
		next := resolvedAction{Webhook: a.Webhook}
		if p := a.Patch; p != nil {
			next.APIVersion, next.Kind, next.Namespace, next.Name = p.APIVersion, p.Kind, p.patchedNamespace(namespace), p.Name
			next.Merge = p.decodeMergePattern() // nil: an invalid patch changes nothing
		}
		all = append(all, next)
	}
	return all
}

// patchedNamespace returns the namespace of the patch's object for the holds of a namespace.
func (p *Patch) patchedNamespace(namespace string) string {
	if p.Namespace != "" {
		return p.Namespace
	}
	return namespace
}

// Key identifies the actions of a gate for the holds of a namespace: gates with the same key are one gate. Empty: the gate does not exist.
func (r *Runner) Key(namespace, gate string) string {
	g, ok := r.gates[gate]
	if !ok {
		return ""
	}
	sum := sha256.Sum256([]byte(g.gateActionsKey(namespace)))
	return hex.EncodeToString(sum[:16])
}

// FindGate returns the name of the gate with a key, before all others of one that holds of the namespace may use; empty: there is none.
func (r *Runner) FindGate(namespace, key string) (found string) {
	for _, name := range slices.Sorted(maps.Keys(r.gates)) {
		if r.Key(namespace, name) != key {
			continue
		}
		if r.Fault(namespace, name) == "" {
			return name
		}
		found = cmp.Or(found, name)
	}
	return found
}

// gateActionsKey returns a text of all that the gate's actions do for the holds of a namespace.
func (g Gate) gateActionsKey(namespace string) string {
	text, err := json.Marshal([][]resolvedAction{resolveGateActions(namespace, g.Open), resolveGateActions(namespace, g.Shut)})
	if err != nil {
		return fmt.Sprintf("%p", g.Open) // no other gate: JSON that was decoded can be encoded
	}
	return string(text)
}

// Conflict is a place that two gates change in different ways, or for holds of different namespaces, which do not know of each other. It may be one
// gate of several namespaces.
type Conflict struct {
	Gate, Earlier string // in the order of their names
	Place         string
}

// patchedPlaces are the places of one object that a gate changes for the holds of a namespace.
type patchedPlaces struct {
	gate, namespace, key string // key of the gate's actions
	object               string // for people
	places               []string
}

// FindConflicts returns a conflict of each gate that would shut a place of an earlier one.
func FindConflicts(gates map[string]Gate) (all []Conflict) {
	return findGateConflicts(gates, isKnownClusterScoped)
}

// findGateConflicts is FindConflicts with the scopes of kinds.
func findGateConflicts(gates map[string]Gate, isClusterScoped scopeOf) (all []Conflict) {
	byObject := groupPatchedPlaces(gates, isClusterScoped)
	found := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(byObject)) {
		for i, later := range byObject[id] {
			for _, earlier := range byObject[id][:i] {
				if found[later.gate] {
					break
				}
				if place := later.findPatchedPlaceInCommon(earlier); place != "" {
					found[later.gate] = true
					all = append(all, Conflict{later.gate, earlier.gate, place})
				}
			}
		}
	}
	return all
}

// groupPatchedPlaces returns the places that gates change, by object, in the order of the gates' names.
func groupPatchedPlaces(gates map[string]Gate, isClusterScoped scopeOf) map[string][]patchedPlaces {
	byObject := map[string][]patchedPlaces{}
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g := gates[name]
		for _, namespace := range g.Namespaces {
			key := g.gateActionsKey(namespace)
			for _, a := range resolveGateActions(namespace, slices.Concat(g.Open, g.Shut)) {
				if a.Webhook != "" {
					continue
				}
				object := fmt.Sprintf("%s %s/%s", a.Kind, a.Namespace, a.Name)
				if isClusterScoped(schema.FromAPIVersionAndKind(a.APIVersion, a.Kind).GroupKind()) {
					a.Namespace, object = "", a.Kind+" "+a.Name
				}
				id := a.patchedObjectID()
				byObject[id] = append(byObject[id], patchedPlaces{name, namespace, key, object, listMergePlaces("", a.Merge)})
			}
		}
	}
	return byObject
}

// findPatchedPlaceInCommon returns the first place that both gates change, if they conflict; empty: they do not.
func (p patchedPlaces) findPatchedPlaceInCommon(other patchedPlaces) string {
	if p.namespace == other.namespace && (p.gate == other.gate || p.key == other.key) {
		return ""
	}
	for _, x := range p.places {
		for _, y := range other.places {
			if x == y || strings.HasPrefix(x, y+"/") || strings.HasPrefix(y, x+"/") {
				return p.object + " at " + max(x, y)
			}
		}
	}
	return ""
}

// FindWebhookConflicts returns a conflict of each gate that calls a webhook of an earlier one. A receiver need not tell gates or namespaces apart:
// a webhook is for gates with the same actions, in one namespace. addresses has the called address by the webhook's name.
func FindWebhookConflicts(gates map[string]Gate, addresses map[string]string) (all []Conflict) {
	type caller struct{ gate, namespace, key string }
	callers := map[string]caller{}
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g, isFound := gates[name], false
		for _, namespace := range g.Namespaces {
			this := caller{name, namespace, g.gateActionsKey(namespace)}
			for _, a := range slices.Concat(g.Open, g.Shut) {
				if a.Webhook == "" || isFound {
					continue
				}
				address := cmp.Or(addresses[a.Webhook], a.Webhook)
				first, isCalled := callers[address]
				switch {
				case !isCalled:
					callers[address] = this
				case first.namespace != namespace || first.gate != name && first.key != this.key:
					isFound = true
					all = append(all, Conflict{name, first.gate, "webhook " + a.Webhook})
				}
			}
		}
	}
	return all
}

// Conflict returns why no hold may use a gate, as far as the cluster tells: it changes a cluster-scoped object that an earlier gate changes in another
// way, or for another namespace. Empty: holds may use it.
func (r *Runner) Conflict(gate string) string {
	g := r.gates[gate]
	isShared := slices.ContainsFunc(slices.Concat(g.Open, g.Shut), func(a Action) bool { return a.Patch != nil && r.isClusterScoped(a.Patch.patchGroupKind()) })
	if !isShared {
		return ""
	}
	for _, x := range findGateConflicts(r.gates, r.isClusterScoped) {
		if x.Gate == gate {
			return fmt.Sprintf("gate %s changes %s, as gate %s does in another way or for another namespace: each would shut it for the other", gate, x.Place, x.Earlier)
		}
	}
	return ""
}

// isClusterScoped is the scopeOf of the cluster. An unknown kind is none: its gate cannot open.
func (r *Runner) isClusterScoped(kind schema.GroupKind) bool {
	if isKnownClusterScoped(kind) || r.mapper == nil {
		return isKnownClusterScoped(kind)
	}
	mapping, err := r.mapper.RESTMapping(kind)
	return err == nil && mapping.Scope.Name() == meta.RESTScopeNameRoot
}

// patchedObjectID identifies the object of a patch; versions of one group are the same object.
func (a resolvedAction) patchedObjectID() string {
	return strings.Join([]string{schema.FromAPIVersionAndKind(a.APIVersion, "").Group, a.Kind, a.Namespace, a.Name}, "|")
}

// listMergePlaces lists the places that a merge patch replaces, as JSON pointers.
func listMergePlaces(path string, merge any) (all []string) {
	object, ok := merge.(map[string]any)
	if !ok || len(object) == 0 {
		return []string{path}
	}
	for key, value := range object {
		all = append(all, listMergePlaces(path+"/"+escapeJSONPointerKey(key), value)...)
	}
	slices.Sort(all)
	return all
}
