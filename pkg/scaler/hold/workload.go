package hold

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Target is an object with a scale subresource.
type Target struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

// String is the target as a person writes it: deployment/shop in namespace sale.
func (t Target) String() string {
	return fmt.Sprintf("%s/%s in namespace %s", strings.ToLower(t.Kind), t.Name, t.Namespace)
}

// GroupVersionKind is that of the target.
func (t Target) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(t.APIVersion, t.Kind)
}

// kindShortNames are the names that need no apiVersion.
var kindShortNames = map[string]Target{
	"deploy": {APIVersion: "apps/v1", Kind: "Deployment"}, "deployment": {APIVersion: "apps/v1", Kind: "Deployment"},
	"deployments": {APIVersion: "apps/v1", Kind: "Deployment"},
	"sts":         {APIVersion: "apps/v1", Kind: "StatefulSet"}, "statefulset": {APIVersion: "apps/v1", Kind: "StatefulSet"},
	"statefulsets": {APIVersion: "apps/v1", Kind: "StatefulSet"},
	"rs":           {APIVersion: "apps/v1", Kind: "ReplicaSet"}, "replicaset": {APIVersion: "apps/v1", Kind: "ReplicaSet"},
	"replicasets": {APIVersion: "apps/v1", Kind: "ReplicaSet"},
}

// ParseTarget reads KIND/NAME, such as deploy/shop, or for kinds of others APIVERSION/KIND/NAME, such as
// argoproj.io/v1alpha1/Rollout/shop.
func ParseTarget(text, namespace string) (Target, error) {
	i := strings.LastIndexByte(text, '/')
	if i <= 0 || i == len(text)-1 {
		return Target{}, fmt.Errorf("target %q: want KIND/NAME, such as deploy/shop", text)
	}
	kind, name := text[:i], text[i+1:]
	if t, ok := kindShortNames[strings.ToLower(kind)]; ok {
		t.Namespace, t.Name = namespace, name
		return t, nil
	}
	i = strings.LastIndexByte(kind, '/')
	if i <= 0 || i == len(kind)-1 {
		return Target{}, fmt.Errorf("target %q: unknown kind %s; write APIVERSION/KIND/NAME, such as argoproj.io/v1alpha1/Rollout/shop", text, kind)
	}
	if strings.Count(kind[:i], "/") > 1 {
		return Target{}, fmt.Errorf("target %q: %q is no apiVersion", text, kind[:i])
	}
	return Target{APIVersion: kind[:i], Kind: kind[i+1:], Namespace: namespace, Name: name}, nil
}
