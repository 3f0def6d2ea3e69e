package memorygroup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	apps "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The Deployments that are shipped, for ReadLimits.
const (
	AdapterManifest = "manifests/adapter/deployment.yaml"
	ScalerManifest  = "manifests/scaler/base/deployment.yaml"
)

// Limits are the memory limits of a container.
type Limits struct {
	Memory   int64  // in bytes
	GoMemory string // GOMEMLIMIT
}

// ReadLimits returns the limits of the container of a shipped Deployment.
func ReadLimits(ctx context.Context, manifest string) (limits Limits, err error) {
	root, err := stack.Root(ctx)
	if err != nil {
		return limits, err
	}
	text, err := os.ReadFile(filepath.Join(root, manifest))
	if err != nil {
		return limits, err
	}
	var deployment apps.Deployment
	if err := yaml.Unmarshal(text, &deployment); err != nil {
		return limits, fmt.Errorf("read %s: %w", manifest, err)
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		limits.Memory = c.Resources.Limits.Memory().Value()
		for _, variable := range c.Env {
			if variable.Name == "GOMEMLIMIT" {
				limits.GoMemory = variable.Value
			}
		}
	}
	if limits.Memory == 0 || limits.GoMemory == "" {
		return limits, fmt.Errorf("%s has no memory limit or no GOMEMLIMIT", manifest)
	}
	return limits, nil
}
