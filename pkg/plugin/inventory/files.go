// The manifests of files, folders and patterns.

package inventory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apijson "k8s.io/apimachinery/pkg/util/json"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// manifestEndings are the endings of files with manifests.
var manifestEndings = []string{".yaml", ".yml", ".json"}

// configurationChecks are the commands that check the configurations of both programs, by version and kind.
var configurationChecks = map[string]string{
	domain.ConfigAPIVersion + "/" + domain.AdapterConfigKind: "tachometer-adapter --check-config --config ",
	domain.ConfigAPIVersion + "/" + domain.ScalerConfigKind:  "tachometer-scaler run --check-config --config ",
}

// FileOptions say how manifests are read.
type FileOptions struct {
	In        io.Reader    // read for the path "-"
	Namespace string       // of objects without one
	IsFlat    bool         // a folder is read without the folders in it
	Client    *http.Client // for URLs; nil: http.DefaultClient
}

// ReadFiles reads the manifests of the paths, each a file, a pattern of files, a folder, an https URL or "-". Kinds that no check is about
// are skipped, and so are kustomize's patches. The templates of a Helm chart and the programs' configurations, but for the rules of the adapter's,
// are unread, and a named folder of kustomize is an error. An error names the file and the document; the inventory has all other documents.
func ReadFiles(ctx context.Context, paths []string, opts FileOptions) (*Inventory, error) {
	i := &Inventory{Namespaces: map[string]map[string]string{}, UnknownFields: map[string][]string{}}
	var errs []error
	for _, path := range paths {
		errs = append(errs, i.readManifestPath(ctx, path, opts))
	}
	i.applyLimitRanges()
	i.sortAllObjects()
	return i, errors.Join(errs...)
}

// readManifestPath reads a file, a folder or standard input, as a path of the command line names it.
func (i *Inventory) readManifestPath(ctx context.Context, path string, opts FileOptions) error {
	switch {
	case path == "-":
		return i.addManifestStream("standard input", opts.In, opts.Namespace)
	case isManifestURL(path):
		return i.addManifestURL(ctx, path, opts)
	}
	if _, err := os.Stat(path); err == nil {
		return i.addManifestTree(path, opts)
	}
	names, err := filepath.Glob(path)
	if err != nil || len(names) == 0 {
		return i.addManifestTree(path, opts) // says that it does not exist
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, i.addManifestTree(name, opts))
	}
	return errors.Join(errs...)
}

// addManifestTree adds a file, or the manifests of a folder.
func (i *Inventory) addManifestTree(root string, opts FileOptions) error {
	if err := rejectKustomization(root); err != nil {
		return err
	}
	var errs []error
	if info, err := os.Stat(root); err == nil && info.IsDir() {
		root += string(filepath.Separator) // follows a link to a folder
	}
	_ = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			errs = append(errs, err)
			return nil
		case entry.IsDir() && name != root && opts.IsFlat:
			return fs.SkipDir
		case entry.IsDir():
			return i.skipChartTemplates(name)
		case name != root && !isManifestFile(name):
			return nil
		}
		err = i.addManifestFile(name, opts.Namespace)
		if other := (noManifestError{}); name != root && errors.As(err, &other) {
			i.Unread = append(i.Unread, Unread{name, "no manifest: " + err.Error()})
			return nil
		}
		errs = append(errs, err)
		return nil
	})
	return errors.Join(errs...)
}

// kustomizationFiles are the names by which kustomize finds its file in a folder.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// rejectKustomization returns an error for kustomize's file or its folder: the applied text differs from its files.
func rejectKustomization(path string) error {
	folder := path
	if slices.Contains(kustomizationFiles, filepath.Base(path)) {
		folder = filepath.Dir(path)
	}
	for _, name := range kustomizationFiles {
		if info, err := os.Stat(filepath.Join(folder, name)); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is a folder of kustomize; read what it renders: kubectl kustomize %s | kubectl tachometer lint -f -", folder, folder)
		}
	}
	return nil
}

// isManifestFile reports whether a file of a folder has the ending of a manifest, and is no pipe, device or link to a folder.
func isManifestFile(name string) bool {
	info, err := os.Stat(name)
	return slices.Contains(manifestEndings, strings.ToLower(filepath.Ext(name))) && (err != nil || info.Mode().IsRegular())
}

func (i *Inventory) addManifestFile(name, namespace string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return i.addManifestStream(name, file, namespace)
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

// addManifestStream adds the YAML or JSON documents of a file.
func (i *Inventory) addManifestStream(name string, in io.Reader, namespace string) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	data = decodeUTF16(data)
	var errs []error
	for n, document := range splitManifestDocuments(data) {
		values, err := parseManifestDocument(document)
		i.addDuplicateKeys(name, document)
		for _, value := range values {
			if object, ok := value.(map[string]any); ok { // else no object, such as a JSON patch
				err = errors.Join(err, i.addManifestDocument(name, object, namespace))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: document %d: %w%s", name, n+1, err, describeValueError(document.text, err)))
		}
	}
	if err = errors.Join(errs...); err != nil && !bytes.Contains(data, []byte("apiVersion")) && !bytes.Contains(data, []byte("{{")) {
		return noManifestError{err}
	}
	return err
}

// noManifestError is the error of a file that cannot be parsed and names no apiVersion, such as JSON with comments.
type noManifestError struct{ error }

// unquotedValue matches the error for a number or a word such as true, Off or yes in the place of a text.
var unquotedValue = regexp.MustCompile(`cannot unmarshal (bool|number) into .* of type string`)

// unreplacedValue matches the error for a text such as "2" or ${MIN_REPLICAS} in the place of a number.
var unreplacedValue = regexp.MustCompile(`cannot unmarshal string into .* of type (u?int|float|bool)`)

// describeValueError says how to write a text or a number that YAML takes for the other, or that variables are to be replaced; else nothing.
func describeValueError(document string, err error) string {
	switch {
	case unquotedValue.MatchString(err.Error()):
		return `; quote the value: "true", "8080"`
	case unreplacedValue.MatchString(err.Error()) && strings.Contains(document, "${"):
		return "; it looks like a template: render it first, such as with envsubst"
	case unreplacedValue.MatchString(err.Error()):
		return "; write it without quotes"
	}
	return ""
}

// addManifestDocument adds an object, or the items of a list. The items of a typed list need no version and kind of their own.
func (i *Inventory) addManifestDocument(name string, document map[string]any, namespace string) error {
	version, _ := document["apiVersion"].(string)
	kind, _ := document["kind"].(string)
	items, isList := document["items"].([]any)
	itemKind, isListKind := strings.CutSuffix(kind, "List")
	if isList && isListKind {
		var errs []error
		for n, item := range items {
			object, ok := item.(map[string]any)
			if !ok {
				errs = append(errs, fmt.Errorf("items[%d] is no object", n))
				continue
			}
			if object["kind"] == nil && itemKind != "" {
				object["apiVersion"], object["kind"] = version, itemKind
			}
			if err := i.addManifestDocument(name, object, namespace); err != nil {
				errs = append(errs, fmt.Errorf("items[%d]: %w", n, err))
			}
		}
		return errors.Join(errs...)
	}
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	group, _, _ := strings.Cut(version, "/")
	if check := configurationChecks[version+"/"+kind]; check != "" {
		i.Unread = append(i.Unread, Unread{name, "a configuration; check it: " + check + name})
	}
	err = i.addManifestObject(name, group+"/"+kind, data, namespace)
	if errors.Is(err, resource.ErrFormatWrong) {
		return fmt.Errorf("%s%w", describeFaultyQuantity(document, ""), err)
	}
	return err
}

// addManifestObject adds an object by its group and kind.
func (i *Inventory) addManifestObject(file, kind string, data []byte, namespace string) error {
	switch kind {
	case "autoscaling/HorizontalPodAutoscaler":
		return i.addFileAutoscaler(data, namespace)
	case "keda.sh/ScaledObject":
		return decodeManifestObject(data, &i.ScaledObjects, func(o *ScaledObject) *string { return &o.Namespace }, namespace)
	case "apps/Deployment":
		var list []appsv1.Deployment
		err := decodeManifestObject(data, &list, func(o *appsv1.Deployment) *string { return &o.Namespace }, namespace)
		for n := range list {
			i.addFileWorkload(newDeploymentWorkload(&list[n]), file)
		}
		return err
	case "apps/StatefulSet":
		var list []appsv1.StatefulSet
		err := decodeManifestObject(data, &list, func(o *appsv1.StatefulSet) *string { return &o.Namespace }, namespace)
		for n := range list {
			i.addFileWorkload(newStatefulSetWorkload(&list[n]), file)
		}
		return err
	case "autoscaling.k8s.io/VerticalPodAutoscaler":
		return decodeManifestObject(data, &i.VerticalAutoscalers, func(o *VerticalAutoscaler) *string { return &o.Namespace }, namespace)
	case "policy/PodDisruptionBudget":
		return decodeManifestObject(data, &i.Budgets, func(o *policyv1.PodDisruptionBudget) *string { return &o.Namespace }, namespace)
	case "networking.k8s.io/NetworkPolicy":
		return decodeManifestObject(data, &i.NetworkPolicies, func(o *networkingv1.NetworkPolicy) *string { return &o.Namespace }, namespace)
	case "v1/LimitRange":
		return decodeManifestObject(data, &i.LimitRanges, func(o *corev1.LimitRange) *string { return &o.Namespace }, namespace)
	case "v1/ConfigMap":
		i.addMountedConfigs(data)
		return nil
	case "config." + domain.Name + "/" + domain.AdapterConfigKind:
		i.addAdapterConfig(file, data)
		return nil
	case "v1/Namespace":
		var n corev1.Namespace
		err := apijson.Unmarshal(data, &n)
		i.Namespaces[n.Name] = n.Labels
		return err
	}
	return i.addOtherWorkload(file, kind, data, namespace)
}

// addOtherWorkload adds an object with pods of another kind than Deployment and StatefulSet, by its group and kind: a kind that no
// autoscaler can scale, or any kind with a selector, such as a Rollout. It skips an object with a controller.
func (i *Inventory) addOtherWorkload(file, kind string, data []byte, namespace string) error {
	var object struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Spec     struct {
			Replicas    *int32                  `json:"replicas"`
			Selector    any                     `json:"selector"`
			Template    corev1.PodTemplateSpec  `json:"template"`
			JobTemplate batchv1.JobTemplateSpec `json:"jobTemplate"`
		} `json:"spec"`
	}
	group, name, _ := strings.Cut(kind, "/")
	isUnscalable := slices.Contains(unscalableKinds[group], name) && name != "Pod"
	if err := apijson.Unmarshal(data, &object); err != nil {
		if isUnscalable {
			return err
		}
		return nil //nolint:nilerr // a kind with other fields of these names
	}
	w := Workload{Group: group, Kind: name, Namespace: cmp.Or(object.Metadata.Namespace, namespace), Name: object.Metadata.Name, Template: object.Spec.Template, Source: file}
	switch {
	case name == "CronJob" && isUnscalable:
		w.Template = object.Spec.JobTemplate.Spec.Template
		i.Unscaled = append(i.Unscaled, w)
	case isUnscalable:
		i.Unscaled = append(i.Unscaled, w)
	case len(w.Template.Spec.Containers) > 0 && metav1.GetControllerOfNoCopy(&object.Metadata) == nil:
		w.Replicas, w.Selector = object.Spec.Replicas, newWorkloadSelector(object.Spec.Selector)
		i.addFileWorkload(w, file)
	}
	return nil
}

// newWorkloadSelector returns the selector of a manifest, or nil. A DeploymentConfig's or a ReplicationController's is labels alone.
func newWorkloadSelector(v any) *metav1.LabelSelector {
	fields, isObject := v.(map[string]any)
	if !isObject {
		return nil
	}
	selector := &metav1.LabelSelector{}
	if runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, selector, true) == nil {
		return selector
	}
	for key, value := range fields {
		text, isText := value.(string)
		if !isText {
			return nil
		}
		metav1.AddLabelToSelector(selector, key, text)
	}
	return selector
}

// addFileAutoscaler adds an autoscaler, unless it is a patch, which is no whole object.
func (i *Inventory) addFileAutoscaler(data []byte, namespace string) error {
	hpa, err := decodeFileAutoscaler(data)
	if err != nil || hpa.Spec.ScaleTargetRef == (autoscalingv2.CrossVersionObjectReference{}) {
		return err
	}
	hpa.Namespace, hpa.Name = cmp.Or(hpa.Namespace, namespace), cmp.Or(hpa.Name, hpa.GenerateName)
	i.HPAs = append(i.HPAs, *hpa)
	if unknown := listUnknownFields(data); len(unknown) > 0 {
		key := hpa.Namespace + "/" + hpa.Name
		i.UnknownFields[key] = append(i.UnknownFields[key], unknown...)
	}
	return nil
}

func (i *Inventory) addFileWorkload(w Workload, file string) {
	w.Source = file
	if w.Selector != nil { // else a patch, which is no whole object
		i.Workloads = append(i.Workloads, w)
	}
}

// decodeManifestObject appends the object to list, with the given namespace if it has none.
func decodeManifestObject[T any](data []byte, list *[]T, space func(*T) *string, namespace string) error {
	var object T
	if err := apijson.Unmarshal(data, &object); err != nil {
		return err
	}
	if field := space(&object); *field == "" {
		*field = namespace
	}
	*list = append(*list, object)
	return nil
}
