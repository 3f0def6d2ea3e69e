// This file bounds the texts of a pod that discovery stores. A pod may have as many bytes as etcd takes, and need not run.

package discovery

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// maxPodLabels and maxPodLabelBytes bound the labels of a pod, which are in an index each. Pods of large platforms have about thirty.
	maxPodLabels, maxPodLabelBytes = 100, 8 << 10
	// maxEndpointBytes bounds the URL of a pod's metrics.
	maxEndpointBytes = 2 << 10
	// maxObjectNameBytes is the bound for the names of API objects. References to objects may be longer.
	maxObjectNameBytes = 253
)

// boundDiscoveredPodLabels returns the labels of a pod, or an error if they are many: then no selector finds the pod.
func boundDiscoveredPodLabels(labels map[string]string) (map[string]string, error) {
	size := 0
	for key, value := range labels {
		size += len(key) + len(value)
	}
	if len(labels) > maxPodLabels || size > maxPodLabelBytes {
		return nil, fmt.Errorf("pod has %d labels of %d bytes; %d labels of %d bytes are supported: remove some", len(labels), size, maxPodLabels, maxPodLabelBytes)
	}
	return labels, nil
}

// validateDiscoveredEndpointSize returns an error for a URL that is too long.
func validateDiscoveredEndpointSize(endpoint string) error {
	if len(endpoint) > maxEndpointBytes {
		return fmt.Errorf("annotations %s and %s_NAME make a URL of %d bytes; the maximum is %d: shorten them", annotationPath, annotationParam, len(endpoint), maxEndpointBytes)
	}
	return nil
}

// unnamedReference stands for a reference whose texts are too long to be those of an object.
var unnamedReference = objectReference{kind: schema.GroupKind{Kind: "(longer than 253 bytes)"}}

// boundDiscoveredReference returns the reference, or unnamedReference.
func boundDiscoveredReference(r objectReference) objectReference {
	if max(len(r.name), len(r.kind.Kind), len(r.kind.Group)) > maxObjectNameBytes {
		return unnamedReference
	}
	return r
}
