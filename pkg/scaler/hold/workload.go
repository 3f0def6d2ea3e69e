package hold

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Workload identifies an object with a scale subresource.
type Workload struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

// String returns the workload as a person writes it: deployment/shop in namespace sale.
func (t Workload) String() string {
	return fmt.Sprintf("%s/%s in namespace %s", strings.ToLower(t.Kind), t.Name, t.Namespace)
}

// GroupVersionKind returns the group, version and kind of the workload.
func (t Workload) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(t.APIVersion, t.Kind)
}

// WithoutVersion returns the identity of the workload's object: the versions of a group serve the same object.
func (t Workload) WithoutVersion() Workload {
	t.APIVersion = t.GroupVersionKind().Group
	return t
}

// IsSameObject reports whether two workloads are one object.
func (t Workload) IsSameObject(other Workload) bool {
	return t.WithoutVersion() == other.WithoutVersion()
}

// IndexKey returns a text that is the same for the same object of a namespace, and for no other.
func (t Workload) IndexKey() string {
	return t.GroupVersionKind().Group + "/" + t.Kind + "/" + t.Name
}

// kindShortNames maps each kind that needs no apiVersion to its type.
var kindShortNames = map[string]Workload{
	"deploy": {APIVersion: "apps/v1", Kind: "Deployment"}, "deployment": {APIVersion: "apps/v1", Kind: "Deployment"},
	"deployments": {APIVersion: "apps/v1", Kind: "Deployment"},
	"sts":         {APIVersion: "apps/v1", Kind: "StatefulSet"}, "statefulset": {APIVersion: "apps/v1", Kind: "StatefulSet"},
	"statefulsets": {APIVersion: "apps/v1", Kind: "StatefulSet"},
	"rs":           {APIVersion: "apps/v1", Kind: "ReplicaSet"}, "replicaset": {APIVersion: "apps/v1", Kind: "ReplicaSet"},
	"replicasets": {APIVersion: "apps/v1", Kind: "ReplicaSet"},
}

// ParseWorkload reads KIND/NAME, such as deploy/shop, or for other kinds APIVERSION/KIND/NAME, such as
// argoproj.io/v1alpha1/Rollout/shop.
func ParseWorkload(text, namespace string) (Workload, error) {
	i := strings.LastIndexByte(text, '/')
	if i <= 0 || i == len(text)-1 {
		return Workload{}, fmt.Errorf("workload %q: want KIND/NAME, such as deploy/shop", strict.Shorten(text))
	}
	kind, name := text[:i], text[i+1:]
	if t, ok := kindShortNames[strings.ToLower(kind)]; ok {
		t.Namespace, t.Name = namespace, name
		return t, nil
	}
	i = strings.LastIndexByte(kind, '/')
	if i <= 0 || i == len(kind)-1 {
		return Workload{}, fmt.Errorf("workload %q: unknown kind %s; write APIVERSION/KIND/NAME, such as argoproj.io/v1alpha1/Rollout/shop",
			strict.Shorten(text), strict.ShortenPlain(kind))
	}
	if version := kind[:i]; strings.Count(version, "/") > 1 || !strings.Contains(version, "/") && version != "v1" { // the core group has v1 alone
		return Workload{}, fmt.Errorf("workload %q: %q is not an apiVersion", strict.Shorten(text), strict.Shorten(kind[:i]))
	}
	return Workload{APIVersion: kind[:i], Kind: kind[i+1:], Namespace: namespace, Name: name}, nil
}
