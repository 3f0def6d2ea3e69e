// The OpenAPI definitions of the types.

package explain

import (
	openapi "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// Definitions returns the OpenAPI definitions of the group's types: objects with metadata and fields of their own.
func (*API) Definitions(openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
	all := map[string]openapi.OpenAPIDefinition{}
	for model, about := range map[string]string{
		explainapi.Explanation{}.OpenAPIModelName():     "An autoscaler as a replica of the adapter knows it now.",
		explainapi.ExplanationList{}.OpenAPIModelName(): "A list of autoscalers.",
		explainapi.DecisionLog{}.OpenAPIModelName():     "The recorded decisions of an autoscaler.",
		explainapi.Target{}.OpenAPIModelName():          "A pod's metrics endpoint with its state.",
		explainapi.TargetList{}.OpenAPIModelName():      "A list of targets.",
		explainapi.Metric{}.OpenAPIModelName():          "A metric family that pods expose, with its type and help and the metrics that can be asked for; or a demanded metric.",
		explainapi.MetricList{}.OpenAPIModelName():      "A list of metrics.",
		explainapi.RuleReview{}.OpenAPIModelName():      "A rule that is not deployed, and its values on the pods of a namespace.",
	} {
		all[model] = newUnknownFieldsDefinition(about)
	}
	return all
}

func newUnknownFieldsDefinition(about string) openapi.OpenAPIDefinition {
	text := func() spec.Schema {
		return spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"string"}}}
	}
	return openapi.OpenAPIDefinition{Schema: spec.Schema{
		SchemaProps: spec.SchemaProps{
			Description: about, Type: []string{"object"},
			Properties: map[string]spec.Schema{"apiVersion": text(), "kind": text()},
		},
		VendorExtensible: spec.VendorExtensible{Extensions: spec.Extensions{"x-kubernetes-preserve-unknown-fields": true}},
	}}
}
