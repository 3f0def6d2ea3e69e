package stack

import (
	"context"
	"path/filepath"
	"strings"
)

// Apply applies a kustomize folder. The path is absolute or relative to the repository's root.
func (s *Stack) Apply(ctx context.Context, dir string) error {
	_, err := s.Kubectl(ctx, "apply", "-k", s.stackManifestPath(dir))
	return err
}

func (s *Stack) stackManifestPath(dir string) string {
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(s.Root, dir)
}

// InstallAdapter applies the manifests of any adapter, and waits until its pods are ready and its APIServices available. See Apply
// for dir.
func (s *Stack) InstallAdapter(ctx context.Context, dir string) error {
	const objects = `{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}`
	out, err := s.Kubectl(ctx, "apply", "-k", s.stackManifestPath(dir), "-o", "jsonpath="+objects)
	if err != nil {
		return err
	}
	var apiServices []string
	for line := range strings.Lines(out) {
		object := strings.Split(strings.TrimSpace(line), "/")
		if len(object) != 3 { // the line is a warning
			continue
		}
		switch kind, namespace, name := object[0], object[1], object[2]; kind {
		case "Deployment", "StatefulSet", "DaemonSet":
			if _, err := s.Kubectl(ctx, "-n", namespace, "rollout", "status", kind+"/"+name, "--timeout=120s"); err != nil {
				return err
			}
		case "APIService":
			apiServices = append(apiServices, "apiservice/"+name)
		}
	}
	if len(apiServices) == 0 {
		return nil
	}
	_, err = s.Kubectl(ctx, append([]string{"wait", "--for=condition=Available", "--timeout=60s"}, apiServices...)...)
	return err
}
