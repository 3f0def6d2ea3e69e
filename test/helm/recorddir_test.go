package helm

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// TestDocumentedRecordDirectory: the patch of docs/explain.md for kustomize gives each replica a directory for its record, and changes nothing else.
func TestDocumentedRecordDirectory(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs/explain.md"))
	if err != nil {
		t.Fatal(err)
	}
	patch := regexp.MustCompile("(?s)kustomize:\n\n```yaml\n(.*?)```").FindSubmatch(text)
	if patch == nil {
		t.Fatal("no patch for kustomize in docs/explain.md")
	}
	plain, patched := buildAdapterDeployment(t, ""), buildAdapterDeployment(t, string(patch[1]))
	template := &patched.Spec.Template.Spec
	c := &template.Containers[0]
	directory := strings.TrimPrefix(c.Args[len(c.Args)-1], "--record-dir=")
	mount := c.VolumeMounts[len(c.VolumeMounts)-1]
	volume := template.Volumes[len(template.Volumes)-1]
	if mount.MountPath != directory || mount.ReadOnly || mount.Name != volume.Name || volume.EmptyDir == nil {
		t.Errorf("args %q, mount %+v, volume %+v", c.Args, mount, volume)
	}
	c.Args, c.VolumeMounts, template.Volumes = slices.Delete(c.Args, len(c.Args)-1, len(c.Args)), c.VolumeMounts[:len(c.VolumeMounts)-1], template.Volumes[:len(template.Volumes)-1]
	if want, got := marshalDeployment(t, plain), marshalDeployment(t, patched); !bytes.Equal(want, got) {
		t.Errorf("the patch changes more:\n%s\nwant\n%s", got, want)
	}
	if i := slices.IndexFunc(template.Volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }); i >= 0 {
		t.Errorf("there are two volumes %s", volume.Name)
	}
}

// buildAdapterDeployment returns the adapter's Deployment of manifests/adapter with a JSON patch.
func buildAdapterDeployment(t *testing.T, patch string) *appsv1.Deployment {
	t.Helper()
	folder, err := os.MkdirTemp(programFolder, "overlay-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(folder, "adapter"), os.DirFS(filepath.Join(root, "manifests/adapter"))); err != nil {
		t.Fatal(err)
	}
	overlay := map[string]any{"resources": []string{"adapter"}}
	if patch != "" {
		overlay["patches"] = []any{map[string]any{"patch": patch, "target": map[string]string{"kind": "Deployment", "name": "tachometer-adapter"}}}
	}
	text, err := yaml.Marshal(overlay)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "kustomization.yaml"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, r := range built.Resources() {
		if r.GetKind() != "Deployment" {
			continue
		}
		object, err := r.Map()
		d := &appsv1.Deployment{}
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, d, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	t.Fatal("no Deployment")
	return nil
}

func marshalDeployment(t *testing.T, d *appsv1.Deployment) []byte {
	t.Helper()
	text, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
