package adapter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	apps "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// shippedLimits are the memory limits of manifests/adapter/deployment.yaml.
type shippedLimits struct {
	memory   int64  // of the container, in bytes
	goMemory string // GOMEMLIMIT
}

func readShippedAdapterLimits(ctx context.Context) (limits shippedLimits, err error) {
	root, err := stack.Root(ctx)
	if err != nil {
		return limits, err
	}
	path := filepath.Join(root, "manifests/adapter/deployment.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return limits, err
	}
	var deployment apps.Deployment
	if err := yaml.Unmarshal(text, &deployment); err != nil {
		return limits, fmt.Errorf("read %s: %w", path, err)
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		limits.memory = c.Resources.Limits.Memory().Value()
		for _, variable := range c.Env {
			if variable.Name == "GOMEMLIMIT" {
				limits.goMemory = variable.Value
			}
		}
	}
	if limits.memory == 0 || limits.goMemory == "" {
		return limits, fmt.Errorf("%s has no memory limit or no GOMEMLIMIT", path)
	}
	return limits, nil
}

// ReadShippedMemoryLimit returns the memory limit of the shipped container, in bytes.
func ReadShippedMemoryLimit(ctx context.Context) (int64, error) {
	limits, err := readShippedAdapterLimits(ctx)
	return limits.memory, err
}
