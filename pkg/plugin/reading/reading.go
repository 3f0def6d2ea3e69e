// Package reading reads an autoscaler's metrics over the metrics APIs as the HPA controller does, formats their targets and current
// values, and keeps the reason for each missing value.
package reading

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

// The metrics APIs and their versions.
const (
	CustomGroup   = "custom.metrics.k8s.io"
	ExternalGroup = "external.metrics.k8s.io"
	ResourceGroup = "metrics.k8s.io"

	// CustomVersion is served by every adapter of the last years; v1beta1 cannot carry the labels of a metric's selector.
	CustomVersion   = "v1beta2"
	externalVersion = "v1beta1"
	resourceVersion = "v1beta1"
	// newResourceVersion has the same types, and is read where a server has given up v1beta1.
	newResourceVersion = "v1"

	usagePath = "/apis/" + ResourceGroup + "/"
)

// Reader reads a path of kube-apiserver. An API status becomes an *apierrors.StatusError. Implementations may be used concurrently.
type Reader interface {
	Read(ctx context.Context, path string) ([]byte, error)
}

// Value is one number of an answer. Object is empty for an external metric.
type Value struct {
	Object string            `json:"object,omitempty"`
	Value  resource.Quantity `json:"value"`
	Time   time.Time         `json:"time,omitzero"`
	Window time.Duration     `json:"window,omitempty"`
}

// Answer is the answer to the read of one metric of an autoscaler's spec.
type Answer struct {
	Metric string  // in words
	Path   string  // below kube-apiserver's root; empty if the read was not possible
	Values []Value // none with an error
	Err    error
	// Ahead is by how much the clock of the server that answered is ahead of this machine's; 0 below ClockSkew, or if it is unknown.
	Ahead time.Duration
}

// Oldest returns the time of the oldest value; zero without values.
func (a Answer) Oldest() time.Time {
	var oldest time.Time
	for _, v := range a.Values {
		if oldest.IsZero() || v.Time.Before(oldest) {
			oldest = v.Time
		}
	}
	return oldest
}

// ErrNoValues means that an API answers without any value. The HPA controller takes that for an error, and not for 0.
var ErrNoValues = errors.New("no metrics returned")

// MetricReader reads the metrics of autoscalers.
type MetricReader struct {
	Reader Reader
	Mapper meta.RESTMapper // names the resource of an Object metric's kind
	// Now is this machine's clock; nil: it is not compared with the server's.
	Now func() time.Time
}

// ReadMetric reads a metric. The selector selects the scale target's pods.
func (r MetricReader) ReadMetric(ctx context.Context, namespace, selector string, m autoscalingv2.MetricSpec, words string) Answer {
	if r.Now == nil {
		return r.readMetricAnswer(ctx, namespace, selector, m, words)
	}
	ctx, served := withServedTime(ctx)
	begun := r.Now()
	a := r.readMetricAnswer(ctx, namespace, selector, m, words)
	a.Ahead = measureAnswerAhead(*served, begun, r.Now())
	return a
}

func (r MetricReader) readMetricAnswer(ctx context.Context, namespace, selector string, m autoscalingv2.MetricSpec, words string) Answer {
	a := Answer{Metric: words}
	if a.Path, a.Err = r.metricRequestPath(namespace, selector, m); a.Err != nil {
		return a
	}
	data, err := r.Reader.Read(ctx, a.Path)
	if rest, isUsage := strings.CutPrefix(a.Path, usagePath+resourceVersion); isUsage && apierrors.IsNotFound(err) {
		if again, retryErr := r.Reader.Read(ctx, usagePath+newResourceVersion+rest); retryErr == nil {
			a.Path, data, err = usagePath+newResourceVersion+rest, again, nil
		}
	}
	if err != nil {
		a.Err = nameUnservedGroup(a.Path, err)
		return a
	}
	switch {
	case m.Resource != nil:
		a.Values, a.Err = parsePodUsage(data, m.Resource.Name, "")
	case m.ContainerResource != nil:
		a.Values, a.Err = parsePodUsage(data, m.ContainerResource.Name, m.ContainerResource.Container)
	case m.External != nil:
		a.Values, a.Err = parseExternalValues(data)
	default:
		a.Values, a.Err = parseCustomValues(data)
	}
	return a
}

// nameUnservedGroup adds the API group of a path to kube-apiserver's error for a path that nothing serves, which names none.
func nameUnservedGroup(path string, err error) error {
	group, _, _ := strings.Cut(strings.TrimPrefix(path, "/apis/"), "/")
	if apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource") {
		return fmt.Errorf("%s is not served: %w", group, err)
	}
	return err
}

// metricRequestPath returns the path that the HPA controller reads for a metric.
func (r MetricReader) metricRequestPath(namespace, selector string, m autoscalingv2.MetricSpec) (string, error) {
	query, err := newMetricQuery(m)
	if err != nil {
		return "", err
	}
	custom := "/apis/" + CustomGroup + "/" + CustomVersion + "/namespaces/" + namespace
	switch {
	case m.Pods != nil:
		query.Set("labelSelector", selector)
		return custom + "/pods/*/" + url.PathEscape(m.Pods.Metric.Name) + encodeMetricQuery(query), nil
	case m.Object != nil:
		object := m.Object.DescribedObject
		if schema.FromAPIVersionAndKind(object.APIVersion, object.Kind).GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
			return custom + "/metrics/" + url.PathEscape(m.Object.Metric.Name) + encodeMetricQuery(query), nil
		}
		plural, err := r.FindResource(object)
		if err != nil {
			return "", err
		}
		return custom + "/" + plural + "/" + url.PathEscape(object.Name) + "/" + url.PathEscape(m.Object.Metric.Name) + encodeMetricQuery(query), nil
	case m.External != nil:
		return "/apis/" + ExternalGroup + "/" + externalVersion + "/namespaces/" + namespace + "/" + url.PathEscape(m.External.Metric.Name) + encodeMetricQuery(query), nil
	case m.Resource != nil, m.ContainerResource != nil:
		query.Set("labelSelector", selector)
		return usagePath + resourceVersion + "/namespaces/" + namespace + "/pods" + encodeMetricQuery(query), nil
	}
	return "", fmt.Errorf("metric type %q is unknown", m.Type)
}

func encodeMetricQuery(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// newMetricQuery returns the query with the selector of a metric, if it selects less than all.
func newMetricQuery(m autoscalingv2.MetricSpec) (url.Values, error) {
	key := "metricLabelSelector"
	if m.External != nil {
		key = "labelSelector"
	}
	query := url.Values{}
	s, err := metav1.LabelSelectorAsSelector(SelectorOf(m))
	if err != nil { // kube-apiserver stores it all the same, and the HPA controller reads nothing
		return nil, fmt.Errorf("the selector of the metric is invalid: %w", err)
	}
	if text := s.String(); text != "" {
		query.Set(key, text)
	}
	return query, nil
}

// FindResource returns the plural of an object's kind with its group: ingresses.networking.k8s.io.
func (r MetricReader) FindResource(o autoscalingv2.CrossVersionObjectReference) (string, error) {
	mapping, err := r.findObjectMapping(o)
	if err != nil {
		return "", err
	}
	return mapping.Resource.GroupResource().String(), nil
}

func (r MetricReader) findObjectMapping(o autoscalingv2.CrossVersionObjectReference) (*meta.RESTMapping, error) {
	gv, err := schema.ParseGroupVersion(o.APIVersion)
	if err != nil {
		return nil, fmt.Errorf("apiVersion %q of %s %s: %w", o.APIVersion, o.Kind, o.Name, err)
	}
	mapping, err := r.Mapper.RESTMapping(gv.WithKind(o.Kind).GroupKind(), gv.Version)
	if err != nil {
		return nil, fmt.Errorf("find the resource of %s %s: %w", o.Kind, o.Name, err)
	}
	return mapping, nil
}

// ReadScaleSelector returns the pod selector of a scale target of any kind, from its scale subresource.
func (r MetricReader) ReadScaleSelector(ctx context.Context, namespace string, o autoscalingv2.CrossVersionObjectReference) (string, error) {
	mapping, err := r.findObjectMapping(o)
	if err != nil {
		return "", err
	}
	root := "/apis/" + mapping.Resource.GroupVersion().String()
	if mapping.Resource.Group == "" {
		root = "/api/" + mapping.Resource.Version
	}
	data, err := r.Reader.Read(ctx, root+"/namespaces/"+namespace+"/"+mapping.Resource.Resource+"/"+url.PathEscape(o.Name)+"/scale")
	if err != nil {
		return "", err
	}
	var scale autoscalingv1.Scale
	if err := json.Unmarshal(data, &scale); err != nil {
		return "", fmt.Errorf("parse the scale of %s %s: %w", o.Kind, o.Name, err)
	}
	if scale.Status.Selector == "" {
		return "", fmt.Errorf("the scale of %s %s has no selector", o.Kind, o.Name)
	}
	return scale.Status.Selector, nil
}

// unmarshalValues decodes a list of values, unless one of them would take the memory of the plugin.
func unmarshalValues(data []byte, list any) error {
	if err := hpa.CheckValueExponents(data); err != nil {
		return err
	}
	return json.Unmarshal(data, list)
}

// parseCustomValues reads a MetricValueList of v1beta2.
func parseCustomValues(data []byte) ([]Value, error) {
	var list struct {
		Items []struct {
			DescribedObject corev1.ObjectReference `json:"describedObject"`
			Timestamp       metav1.Time            `json:"timestamp"`
			WindowSeconds   int64                  `json:"windowSeconds"`
			Value           resource.Quantity      `json:"value"`
		} `json:"items"`
	}
	if err := unmarshalValues(data, &list); err != nil {
		return nil, fmt.Errorf("parse the answer of %s: %w", CustomGroup, err)
	}
	if len(list.Items) == 0 {
		return nil, newEmptyAnswerError("custom")
	}
	values := make([]Value, len(list.Items))
	for i, m := range list.Items {
		values[i] = Value{m.DescribedObject.Name, m.Value, m.Timestamp.Time, hpa.ConvertWindow(m.WindowSeconds)}
	}
	return values, nil
}

// newEmptyAnswerError returns the error of the HPA controller for an answer without a value, in its words.
func newEmptyAnswerError(api string) error {
	return fmt.Errorf("%w from %s metrics API", ErrNoValues, api)
}

func parseExternalValues(data []byte) ([]Value, error) {
	var list struct {
		Items []struct {
			Timestamp     metav1.Time       `json:"timestamp"`
			WindowSeconds int64             `json:"window"`
			Value         resource.Quantity `json:"value"`
		} `json:"items"`
	}
	if err := unmarshalValues(data, &list); err != nil {
		return nil, fmt.Errorf("parse the answer of %s: %w", ExternalGroup, err)
	}
	if len(list.Items) == 0 {
		return nil, newEmptyAnswerError("external")
	}
	values := make([]Value, len(list.Items))
	for i, m := range list.Items {
		values[i] = Value{"", m.Value, m.Timestamp.Time, hpa.ConvertWindow(m.WindowSeconds)}
	}
	return values, nil
}

// podUsage is the usage of a pod's containers.
type podUsage struct {
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Timestamp  metav1.Time       `json:"timestamp"`
	Window     metav1.Duration   `json:"window"`
	Containers []struct {
		Name  string              `json:"name"`
		Usage corev1.ResourceList `json:"usage"`
	} `json:"containers"`
}

// sumPodUsage returns the usage of a named container, or of all. As the HPA controller does, it rounds each container up to thousandths, and
// gives none where one container lacks the resource.
func (u podUsage) sumPodUsage(name corev1.ResourceName, container string) (sum resource.Quantity, found bool) {
	for _, c := range u.Containers {
		if container != "" && c.Name != container {
			continue
		}
		usage, ok := c.Usage[name]
		if !ok {
			return sum, false
		}
		sum.Add(*resource.NewMilliQuantity(usage.MilliValue(), usage.Format))
		found = true
	}
	return sum, found
}

// parsePodUsage reads a PodMetricsList. The usage of a pod is the sum over its containers, or of the named container.
func parsePodUsage(data []byte, name corev1.ResourceName, container string) ([]Value, error) {
	var list struct {
		Items []podUsage `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parse the answer of %s: %w", ResourceGroup, err)
	}
	if len(list.Items) == 0 {
		return nil, newEmptyAnswerError("resource")
	}
	var values []Value
	for _, m := range list.Items {
		if sum, found := m.sumPodUsage(name, container); found {
			values = append(values, Value{m.Metadata.Name, sum, m.Timestamp.Time, m.Window.Duration})
		}
	}
	return values, nil
}

// SelectorOf returns the selector of a custom or external metric; nil for none.
func SelectorOf(m autoscalingv2.MetricSpec) *metav1.LabelSelector {
	switch {
	case m.Pods != nil:
		return m.Pods.Metric.Selector
	case m.Object != nil:
		return m.Object.Metric.Selector
	case m.External != nil:
		return m.External.Metric.Selector
	}
	return nil
}

// TargetOf returns the target of a metric. The target of an object may have two amounts: the HPA controller takes the amount of the target's type.
func TargetOf(m autoscalingv2.MetricSpec) autoscalingv2.MetricTarget {
	switch {
	case m.Pods != nil:
		return m.Pods.Target
	case m.Object != nil:
		target := m.Object.Target
		switch target.Type {
		case autoscalingv2.ValueMetricType:
			target.AverageValue = nil
		case autoscalingv2.AverageValueMetricType:
			target.Value = nil
		case autoscalingv2.UtilizationMetricType: // kube-apiserver rejects it
		}
		return target
	case m.External != nil:
		return m.External.Target
	case m.Resource != nil:
		return m.Resource.Target
	case m.ContainerResource != nil:
		return m.ContainerResource.Target
	}
	return autoscalingv2.MetricTarget{}
}

// FormatTarget returns a target as kubectl does: "50" and "400" for values, "60%" for a utilization.
func FormatTarget(t autoscalingv2.MetricTarget) string {
	switch {
	case t.AverageValue != nil:
		return t.AverageValue.String()
	case t.Value != nil:
		return t.Value.String()
	case t.AverageUtilization != nil:
		return fmt.Sprintf("%d%%", *t.AverageUtilization)
	}
	return "?"
}

// binaryUnits are the suffixes of amounts of memory, with their bytes.
var binaryUnits = map[string]float64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}

// FormatAmount returns thousandths as a quantity in the unit of a target: 61.5, 1536Mi, and 61m beside a target of 50m.
func FormatAmount(target string, milli int64) string {
	unit := target[max(0, len(target)-2):]
	if bytes, isBinary := binaryUnits[unit]; isBinary {
		return strings.TrimSuffix(strconv.FormatFloat(float64(milli)/1000/bytes, 'f', 1, 64), ".0") + unit
	}
	text := resource.NewMilliQuantity(milli, resource.DecimalSI).String()
	if strings.HasSuffix(text, "m") && !strings.HasSuffix(target, "m") {
		return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64)
	}
	return text
}

// FormatBound is FormatAmount for a bound: an amount that must be rounded is rounded up or down by round.
func FormatBound(target string, milli int64, round func(float64) float64) string {
	unit := target[max(0, len(target)-2):]
	if bytes, isBinary := binaryUnits[unit]; isBinary {
		return strconv.FormatFloat(round(float64(milli)/bytes)/1000, 'f', -1, 64) + unit
	}
	return FormatAmount(target, milli)
}

// CurrentOf returns the values that the HPA controller wrote for a metric.
func CurrentOf(m autoscalingv2.MetricStatus) autoscalingv2.MetricValueStatus {
	switch {
	case m.Pods != nil:
		return m.Pods.Current
	case m.Object != nil:
		return m.Object.Current
	case m.External != nil:
		return m.External.Current
	case m.Resource != nil:
		return m.Resource.Current
	case m.ContainerResource != nil:
		return m.ContainerResource.Current
	}
	return autoscalingv2.MetricValueStatus{}
}
