// Package helm tests the Helm charts with Helm's own libraries, of both majors: rendered objects are those of the kustomize
// folders, values are checked by a strict schema, and values of prometheus-adapter's chart are taken as they are.
package helm

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v3loader "helm.sh/helm/v3/pkg/chart/loader"
	v3util "helm.sh/helm/v3/pkg/chartutil"
	v3engine "helm.sh/helm/v3/pkg/engine"
	v4common "helm.sh/helm/v4/pkg/chart/common"
	v4util "helm.sh/helm/v4/pkg/chart/common/util"
	v4loader "helm.sh/helm/v4/pkg/chart/v2/loader"
	v4engine "helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const root = "../.."

var charts = []string{"tachometer-adapter", "tachometer-scaler"}

func chartFolder(chart string) string { return filepath.Join(root, "manifests", "helm", chart) }

// release is a release that is rendered: its chart, name and namespace.
type release struct{ chart, name, namespace string }

// renderByHelm4 returns the templates of a chart, rendered by Helm 4's engine, by the names of their files.
func renderByHelm4(r release, values map[string]any) (map[string]string, error) {
	c, err := v4loader.Load(chartFolder(r.chart))
	if err != nil {
		return nil, err
	}
	options := v4common.ReleaseOptions{Name: r.name, Namespace: r.namespace, IsInstall: true}
	all, err := v4util.ToRenderValues(c, values, options, nil)
	if err != nil {
		return nil, err
	}
	return v4engine.Render(c, all)
}

func renderByHelm3(r release, values map[string]any) (map[string]string, error) {
	c, err := v3loader.Load(chartFolder(r.chart))
	if err != nil {
		return nil, err
	}
	options := v3util.ReleaseOptions{Name: r.name, Namespace: r.namespace, IsInstall: true}
	all, err := v3util.ToRenderValues(c, values, options, nil)
	if err != nil {
		return nil, err
	}
	return v3engine.Render(c, all)
}

// renderBoth renders a release by both majors of Helm, and expects the same texts.
func renderBoth(t *testing.T, r release, values map[string]any) map[string]string {
	t.Helper()
	four, err := renderByHelm4(r, values)
	if err != nil {
		t.Fatalf("Helm 4: %v", err)
	}
	three, err := renderByHelm3(r, values)
	if err != nil {
		t.Fatalf("Helm 3: %v", err)
	}
	if diff := cmp.Diff(three, four); diff != "" {
		t.Errorf("rendered by Helm 3 and 4 (-3 +4):\n%s", diff)
	}
	return four
}

// renderObjects returns the objects of a release, by kind, namespace and name.
func renderObjects(t *testing.T, r release, values map[string]any) map[string]*unstructured.Unstructured {
	t.Helper()
	objects := map[string]*unstructured.Unstructured{}
	files := renderBoth(t, r, values)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(file, ".yaml") {
			addObjects(t, objects, file, []byte(files[file]))
		}
	}
	return objects
}

// buildKustomization returns the objects of a kustomize folder of manifests, by kind, namespace and name.
func buildKustomization(t *testing.T, folder string) map[string]*unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "manifests", folder))
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	addObjects(t, objects, folder, text)
	return objects
}

// addObjects adds the objects of a YAML text. Two of one kind, namespace and name are an error, and so is a key that stands twice.
func addObjects(t *testing.T, objects map[string]*unstructured.Unstructured, from string, text []byte) {
	t.Helper()
	for docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		var object map[string]any
		if err := yaml.UnmarshalStrict(doc, &object); err != nil {
			t.Fatalf("%s: %v\n%s", from, err, doc)
		}
		if len(object) == 0 {
			continue
		}
		u := &unstructured.Unstructured{Object: object}
		key := u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
		if objects[key] != nil {
			t.Errorf("%s: %s is there twice", from, key)
		}
		objects[key] = u
	}
}
