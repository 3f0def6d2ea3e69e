package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// manifestEndings are the endings of files with manifests.
var manifestEndings = []string{".yaml", ".yml", ".json"}

// configurationChecks are the commands that check the configurations of both programs, by version and kind.
var configurationChecks = map[string]string{
	domain.ConfigAPIVersion + "/" + domain.AdapterConfigKind: "tachometer-adapter --check-config --config ",
	domain.ConfigAPIVersion + "/" + domain.ScalerConfigKind:  "tachometer-scaler run --check-config --config ",
}

// ReadFiles reads the manifests below the paths, each a file, a folder or "-" for in. Objects without a namespace get the given one.
// Kinds that no check is about are skipped, and so are kustomize's patches. The templates of a Helm chart and the programs'
// configurations are unread. An error names the file and the document.
func ReadFiles(paths []string, in io.Reader, namespace string) (*Inventory, error) {
	i := &Inventory{Namespaces: map[string]map[string]string{}}
	var errs []error
	for _, path := range paths {
		if path == "-" {
			errs = append(errs, i.addInventoryStream("standard input", in, namespace))
			continue
		}
		err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir():
				return i.skipChartTemplates(name)
			case name != path && !slices.Contains(manifestEndings, filepath.Ext(name)):
				return nil
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			errs = append(errs, i.addInventoryStream(name, bytes.NewReader(data), namespace))
			return nil
		})
		errs = append(errs, err)
	}
	i.sortInventory()
	return i, errors.Join(errs...)
}

// skipChartTemplates skips a folder of templates in a Helm chart.
func (i *Inventory) skipChartTemplates(folder string) error {
	chart := filepath.Dir(folder)
	if filepath.Base(folder) != "templates" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(chart, "Chart.yaml")); err != nil {
		return nil //nolint:nilerr // another folder of the name
	}
	i.Unread = append(i.Unread, Unread{folder, "templates of a Helm chart; read its rendering: helm template " + chart + " | kubectl tachometer lint -f -"})
	return fs.SkipDir
}

// addInventoryStream adds the YAML or JSON documents of a file.
func (i *Inventory) addInventoryStream(name string, in io.Reader, namespace string) error {
	decoder := utilyaml.NewYAMLOrJSONDecoder(in, 4096)
	for n := 1; ; n++ {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: document %d: %w", name, n, err)
		}
		if err := i.addInventoryDocument(name, document, namespace); err != nil {
			return fmt.Errorf("%s: document %d: %w", name, n, err)
		}
	}
}

// addInventoryDocument adds an object, or the items of a List.
func (i *Inventory) addInventoryDocument(name string, document map[string]any, namespace string) error {
	if items, ok := document["items"].([]any); ok {
		for n, item := range items {
			object, ok := item.(map[string]any)
			if !ok {
				return fmt.Errorf("items[%d] is no object", n)
			}
			if err := i.addInventoryDocument(name, object, namespace); err != nil {
				return fmt.Errorf("items[%d]: %w", n, err)
			}
		}
		return nil
	}
	version, _ := document["apiVersion"].(string)
	kind, _ := document["kind"].(string)
	data, err := yaml.Marshal(document)
	if err != nil {
		return err
	}
	group, _, _ := strings.Cut(version, "/")
	if check := configurationChecks[version+"/"+kind]; check != "" {
		i.Unread = append(i.Unread, Unread{name, "a configuration; check it: " + check + name})
	}
	return i.addInventoryObject(name, group+"/"+kind, data, namespace)
}

// addInventoryObject adds an object by its group and kind.
func (i *Inventory) addInventoryObject(file, kind string, data []byte, namespace string) error {
	switch kind {
	case "autoscaling/HorizontalPodAutoscaler":
		var list []autoscalingv2.HorizontalPodAutoscaler
		err := decodeInventoryObject(data, &list, func(o *autoscalingv2.HorizontalPodAutoscaler) *string { return &o.Namespace }, namespace)
		if err == nil && list[0].Spec.ScaleTargetRef.Name != "" { // else a patch, which is no whole object
			i.HPAs = append(i.HPAs, list[0])
			completeFileMetrics(&i.HPAs[len(i.HPAs)-1], data)
		}
		return err
	case "apps/Deployment":
		var list []appsv1.Deployment
		err := decodeInventoryObject(data, &list, func(o *appsv1.Deployment) *string { return &o.Namespace }, namespace)
		for n := range list {
			i.addInventoryWorkload(newDeploymentWorkload(&list[n]), file)
		}
		return err
	case "apps/StatefulSet":
		var list []appsv1.StatefulSet
		err := decodeInventoryObject(data, &list, func(o *appsv1.StatefulSet) *string { return &o.Namespace }, namespace)
		for n := range list {
			i.addInventoryWorkload(newStatefulSetWorkload(&list[n]), file)
		}
		return err
	case "policy/PodDisruptionBudget":
		return decodeInventoryObject(data, &i.Budgets, func(o *policyv1.PodDisruptionBudget) *string { return &o.Namespace }, namespace)
	case "networking.k8s.io/NetworkPolicy":
		return decodeInventoryObject(data, &i.NetworkPolicies, func(o *networkingv1.NetworkPolicy) *string { return &o.Namespace }, namespace)
	case "v1/Namespace":
		var n corev1.Namespace
		err := yaml.Unmarshal(data, &n)
		i.Namespaces[n.Name] = n.Labels
		return err
	}
	return nil
}

// completeFileMetrics gives an autoscaler without metrics what kube-apiserver gives it: the CPU target of autoscaling/v1, or 80 %.
func completeFileMetrics(hpa *autoscalingv2.HorizontalPodAutoscaler, data []byte) {
	if len(hpa.Spec.Metrics) > 0 {
		return
	}
	var old autoscalingv1.HorizontalPodAutoscaler
	target := autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(80))}
	if err := yaml.Unmarshal(data, &old); err == nil && old.Spec.TargetCPUUtilizationPercentage != nil {
		target.AverageUtilization = old.Spec.TargetCPUUtilizationPercentage
	}
	hpa.Spec.Metrics = []autoscalingv2.MetricSpec{{
		Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU, Target: target},
	}}
}

func (i *Inventory) addInventoryWorkload(w Workload, file string) {
	w.Source = file
	if w.Selector != nil { // else a patch, which is no whole object
		i.Workloads = append(i.Workloads, w)
	}
}

// decodeInventoryObject appends the object to list, with the given namespace if it has none.
func decodeInventoryObject[T any](data []byte, list *[]T, space func(*T) *string, namespace string) error {
	var object T
	if err := yaml.Unmarshal(data, &object); err != nil {
		return err
	}
	if field := space(&object); *field == "" {
		*field = namespace
	}
	*list = append(*list, object)
	return nil
}
