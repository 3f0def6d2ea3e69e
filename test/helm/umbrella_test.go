package helm

import (
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	v4util "helm.sh/helm/v4/pkg/chart/common/util"
	v4chart "helm.sh/helm/v4/pkg/chart/v2"
	v4engine "helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestUmbrella renders both charts as parts of another chart, beside one with templates of short names: they render what they do alone.
func TestUmbrella(t *testing.T) {
	t.Parallel()
	other := &v4chart.Chart{
		Metadata: &v4chart.Metadata{APIVersion: "v2", Name: "other", Version: "1.0.0"},
		Templates: []*common.File{{Name: "templates/_helpers.tpl", Data: []byte(
			`{{- define "adapter.fullname" }}other{{ end }}{{- define "scaler.fullname" }}other{{ end }}{{- define "labels" }}other: other{{ end }}`)}},
	}
	umbrella := &v4chart.Chart{Metadata: &v4chart.Metadata{APIVersion: "v2", Name: "umbrella", Version: "1.0.0"}}
	umbrella.AddDependency(loadChart(t, "tachometer-adapter"), loadChart(t, "tachometer-scaler"), other)
	values := map[string]any{"global": map[string]any{"imageRegistry": "registry.example.com"}}
	options := common.ReleaseOptions{Name: "web", Namespace: "monitoring", IsInstall: true}
	all, err := v4util.ToRenderValues(umbrella, values, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := v4engine.Render(umbrella, all)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*unstructured.Unstructured{}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			addObjects(t, got, name, []byte(text))
		}
	}
	checkValidity(t, got)
	for _, chart := range charts {
		for key, object := range renderObjects(t, release{chart, "web", "monitoring"}, nil) {
			if got[key] == nil || textOf(got[key].Object) != textOf(object.Object) {
				t.Errorf("%s: %s is not the same in another chart", chart, key)
			}
		}
	}
}

// TestLint lets Helm's own linter read both charts, by default and with an odd set of values.
func TestLint(t *testing.T) {
	t.Parallel()
	for _, chart := range charts {
		for _, values := range []string{"{}", "{replicas: 1, fullnameOverride: x1, customLabels: {a: '1'}, resources: {limits: null}}"} {
			lint := action.NewLint()
			lint.Strict, lint.Namespace = true, "monitoring"
			for _, message := range lint.Run([]string{chartFolder(chart)}, parseValues(t, values)).Messages {
				if message.Severity > 1 { // an icon is recommended, and that is an information
					t.Errorf("%s with %s: %v", chart, values, message)
				}
			}
		}
	}
}
