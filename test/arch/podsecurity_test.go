package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestPodsAreRestricted: each shipped namespace enforces the restricted Pod Security Standard, and each shipped pod keeps to it. The charts are equal
// to these files (test/helm).
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	namespaces, pods := 0, 0
	for _, file := range listFiles(t) {
		if !strings.HasPrefix(file, "manifests/") || strings.HasPrefix(file, "manifests/helm/") || filepath.Ext(file) != ".yaml" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue // deleted, and not committed yet
		}
		for document := range strings.SplitSeq(string(data), "\n---\n") {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if object["kind"] == "Namespace" {
				namespaces++
				if !strings.Contains(document, "pod-security.kubernetes.io/enforce: restricted") {
					t.Errorf("%s: the namespace does not enforce the restricted standard", file)
				}
			}
			for _, spec := range findPodSpecs(t, object) {
				pods++
				for _, fault := range findPodSecurityFaults(spec) {
					t.Errorf("%s: %s", file, fault)
				}
			}
		}
	}
	if namespaces < 3 || pods < 4 {
		t.Errorf("%d namespaces and %d pods: the test looks in the wrong place", namespaces, pods)
	}
}

// findPodSpecs returns the specs of the pod templates in an object.
func findPodSpecs(t *testing.T, value any) (specs []corev1.PodSpec) {
	t.Helper()
	object, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	for key, inner := range object {
		template, ok := inner.(map[string]any)
		if key != "template" || !ok || template["spec"] == nil {
			specs = append(specs, findPodSpecs(t, inner)...)
			continue
		}
		data, err := yaml.Marshal(template["spec"])
		if err != nil {
			t.Fatal(err)
		}
		var spec corev1.PodSpec
		if err := yaml.UnmarshalStrict(data, &spec); err != nil {
			t.Fatal(err)
		}
		specs = append(specs, spec)
	}
	return specs
}

// findPodSecurityFaults returns what the restricted Pod Security Standard has against a pod, and a root file system that can be written.
func findPodSecurityFaults(spec corev1.PodSpec) (faults []string) {
	s := spec.SecurityContext
	switch {
	case s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser != nil && *s.RunAsUser == 0:
		faults = append(faults, "the pod may run as root")
	case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		faults = append(faults, "the pod has no seccomp profile")
	case len(s.Sysctls) > 0:
		faults = append(faults, "the pod sets sysctls")
	}
	if spec.HostNetwork || spec.HostPID || spec.HostIPC {
		faults = append(faults, "the pod shares namespaces of its node")
	}
	for _, v := range spec.Volumes {
		if v.ConfigMap == nil && v.Secret == nil && v.Projected == nil && v.EmptyDir == nil && v.DownwardAPI == nil && v.CSI == nil && v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			faults = append(faults, fmt.Sprintf("volume %s is of a kind that is not allowed", v.Name))
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		switch own := c.SecurityContext; {
		case own == nil || own.AllowPrivilegeEscalation == nil || *own.AllowPrivilegeEscalation:
			faults = append(faults, fmt.Sprintf("container %s may gain privileges", c.Name))
		case own.Capabilities == nil || !slices.Contains(own.Capabilities.Drop, "ALL") || len(own.Capabilities.Add) > 0:
			faults = append(faults, fmt.Sprintf("container %s keeps capabilities", c.Name))
		case own.Privileged != nil && *own.Privileged, own.RunAsNonRoot != nil && !*own.RunAsNonRoot, own.RunAsUser != nil && *own.RunAsUser == 0:
			faults = append(faults, fmt.Sprintf("container %s is privileged or root", c.Name))
		case own.ReadOnlyRootFilesystem == nil || !*own.ReadOnlyRootFilesystem:
			faults = append(faults, fmt.Sprintf("container %s can write to its root file system", c.Name))
		}
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				faults = append(faults, fmt.Sprintf("container %s takes a port of its node", c.Name))
			}
		}
	}
	return faults
}
