// Bounds of the texts in a request, checked before the request is looked up, parsed, remembered or repeated.

package provider

import (
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	// maxMetricNameBytes is the bound of a metric name in a configuration too.
	maxMetricNameBytes = 253
	// maxSelectorBytes, maxSelectorRequirements and maxSelectorValues bound a selector. Selectors of HPAs have a few
	// requirements; the largest that a person writes has some dozens of values.
	maxSelectorBytes        = 16 << 10
	maxSelectorRequirements = 100
	maxSelectorValues       = 1000
	// maxRepeatedSelectorBytes and maxRepeatedRequirements bound the metric selector in a response, which has it once for
	// each pod. A greater selector is left out: the caller has it already.
	maxRepeatedSelectorBytes = 1 << 10
	maxRepeatedRequirements  = 10
)

// validateRequestBounds rejects names and selectors that are too long. Its error repeats at most their beginning.
func validateRequestBounds(s requestSubject, selectors ...k8slabels.Selector) error {
	if n := len(s.metric); n > maxMetricNameBytes {
		return metric.Errorf(metric.KindInvalid, "the metric name %q has %d bytes; the limit is %d", strict.Shorten(s.metric), n, maxMetricNameBytes)
	}
	if s.name != "" && len(validation.IsDNS1123Subdomain(s.name)) > 0 {
		return metric.Errorf(metric.KindInvalid, "%q is not the name of an object: use lower-case letters, digits, - and . (at most %d)",
			strict.Shorten(s.name), validation.DNS1123SubdomainMaxLength)
	}
	if s.namespace != "" && len(validation.IsDNS1123Label(s.namespace)) > 0 {
		return metric.Errorf(metric.KindInvalid, "%q is not the name of a namespace: use lower-case letters, digits and - (at most %d)",
			strict.Shorten(s.namespace), validation.DNS1123LabelMaxLength)
	}
	for _, selector := range selectors {
		if err := validateSelectorBounds(selector); err != nil {
			return err
		}
	}
	return nil
}

func validateSelectorBounds(s k8slabels.Selector) error {
	size, requirements, values := measureRequestSelector(s)
	switch {
	case requirements > maxSelectorRequirements:
		return metric.Errorf(metric.KindInvalid, "a selector has %d requirements; the limit is %d", requirements, maxSelectorRequirements)
	case values > maxSelectorValues:
		return metric.Errorf(metric.KindInvalid, "a selector has %d values; the limit is %d", values, maxSelectorValues)
	case size > maxSelectorBytes:
		return metric.Errorf(metric.KindInvalid, "a selector has %d bytes; the limit is %d", size, maxSelectorBytes)
	}
	return nil
}

// measureRequestSelector returns the bytes of the keys and values of a selector, and the numbers of its requirements and values.
func measureRequestSelector(s k8slabels.Selector) (size, requirements, values int) {
	if s == nil {
		return 0, 0, 0
	}
	list, _ := s.Requirements()
	for i := range list {
		size += len(list[i].Key()) + 1
		for _, v := range list[i].ValuesUnsorted() {
			size, values = size+len(v)+1, values+1
		}
	}
	return size, len(list), values
}

// isSelectorRepeatable reports whether a response has the selector for each of its items.
func isSelectorRepeatable(s k8slabels.Selector) bool {
	size, requirements, _ := measureRequestSelector(s)
	return requirements > 0 && requirements <= maxRepeatedRequirements && size <= maxRepeatedSelectorBytes
}
