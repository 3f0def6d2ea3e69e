// OpenAPI documents of the served groups.

package apiserver

import (
	"maps"

	"k8s.io/apimachinery/pkg/runtime"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	openapi "k8s.io/kube-openapi/pkg/common"
	metricsapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/core"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/custommetrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/externalmetrics"

	"github.com/tachometer-metrics/tachometer/pkg/version"
)

// describeMetricOpenAPI describes custom and external metrics, and the groups beside them, in both versions of the description.
func describeMetricOpenAPI(groups []Group) (*openapi.Config, *openapi.OpenAPIV3Config) {
	schemes := []*runtime.Scheme{metricsapiserver.Scheme}
	for _, g := range groups {
		schemes = append(schemes, g.Info.Scheme)
	}
	definitions := func(ref openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
		all := map[string]openapi.OpenAPIDefinition{}
		for _, g := range groups {
			maps.Copy(all, g.Definitions(ref))
		}
		// Last: for a type with several descriptions, such as a list's metadata, the library in use wins.
		maps.Copy(all, core.GetOpenAPIDefinitions(ref))
		maps.Copy(all, custommetrics.GetOpenAPIDefinitions(ref))
		maps.Copy(all, externalmetrics.GetOpenAPIDefinitions(ref))
		return all
	}
	namer := openapinamer.NewDefinitionNamer(schemes...)
	v2 := genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	v2.Info.Title, v2.Info.Version = "Tachometer", version.String()
	v3 := genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	v3.Info.Title, v3.Info.Version = "Tachometer", version.String()
	return v2, v3
}
