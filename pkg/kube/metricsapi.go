package kube

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// GetMetricList reads a list of values from a metrics API: a version of custom.metrics.k8s.io or external.metrics.k8s.io. The path within it
// ends with the name of the metric. Empty parameters are left out. With a client of NewClient, the response is bounded.
func GetMetricList(ctx context.Context, client rest.Interface, api schema.GroupVersion, path []string, params map[string]string, list any) error {
	request := client.Get().AbsPath(append([]string{"/apis", api.Group, api.Version}, path...)...).SetHeader("Accept", "application/json")
	for key, value := range params {
		if value != "" {
			request = request.Param(key, value)
		}
	}
	data, err := request.DoRaw(withBoundedResponse(ctx))
	if err != nil {
		return fmt.Errorf("read metric %s: %w", path[len(path)-1], err)
	}
	if err := hpa.CheckValueExponents(data); err != nil {
		return fmt.Errorf("read metric %s: %w", path[len(path)-1], err)
	}
	if err := json.Unmarshal(data, list); err != nil {
		return fmt.Errorf("read metric %s: not a list of values: %w", path[len(path)-1], err)
	}
	return nil
}
