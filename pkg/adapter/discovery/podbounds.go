// This file bounds the texts of a pod that discovery stores. A pod may have as many bytes as etcd takes, and need not run.

package discovery

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

const (
	// maxPodLabels and maxPodLabelBytes bound the labels of a pod, which are in an index each. Pods of large platforms have about thirty.
	maxPodLabels, maxPodLabelBytes = 100, 8 << 10
	// maxObjectSelectorBytes and maxObjectRequirements bound the pod selector of an object, which is remembered as long as it is used, parsed
	// and as text. On large platforms they have some hundred bytes.
	maxObjectSelectorBytes = 4 << 10
	maxObjectRequirements  = 100
	// maxEndpointBytes bounds the URL of a pod's metrics.
	maxEndpointBytes = 2 << 10
	// maxObjectNameBytes is the bound for the names of API objects. References to objects may be longer.
	maxObjectNameBytes = 253
)

// boundPodLabels returns the labels of a pod, or an error if they are many: then no selector finds the pod.
func boundPodLabels(labels map[string]string) (map[string]string, error) {
	size := measurePodLabels(labels)
	if len(labels) > maxPodLabels || size > maxPodLabelBytes {
		return nil, fmt.Errorf("pod has %d labels of %d bytes; %d labels of %d bytes are supported: remove some", len(labels), size, maxPodLabels, maxPodLabelBytes)
	}
	return labels, nil
}

// validateSelectorSize returns an error for an object if its pod selector is too large to be parsed and remembered.
func validateSelectorSize(key objectKey, size, requirements int) error {
	if size > maxObjectSelectorBytes || requirements > maxObjectRequirements {
		return metric.Errorf(metric.KindInvalid, "find the pods of %s: its selector has %d requirements of %d bytes; %d requirements of %d bytes are supported: shorten it",
			key, requirements, size, maxObjectRequirements, maxObjectSelectorBytes)
	}
	return nil
}

// measurePodLabels returns the bytes of labels.
func measurePodLabels(labels map[string]string) (size int) {
	for key, value := range labels {
		size += len(key) + len(value)
	}
	return size
}

// validateEndpointSize returns an error for a URL that is too long.
func validateEndpointSize(endpoint string) error {
	if len(endpoint) > maxEndpointBytes {
		return fmt.Errorf("annotations %s and %s_NAME make a URL of %d bytes; the maximum is %d: shorten them", podpage.AnnotationPath, podpage.AnnotationParam, len(endpoint), maxEndpointBytes)
	}
	return nil
}

// unnamedReference stands for a reference with texts too long for any object.
var unnamedReference = objectReference{kind: schema.GroupKind{Kind: "(longer than 253 bytes)"}}

// boundObjectReference returns the reference, or unnamedReference.
func boundObjectReference(r objectReference) objectReference {
	if max(len(r.name), len(r.kind.Kind), len(r.kind.Group)) > maxObjectNameBytes {
		return unnamedReference
	}
	return r
}
