// APIReader: the metrics of autoscalers, read as the HPA controller reads them.

package surge

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
)

// LaneMetricReader reads custom and external metrics through kube-apiserver. It reads no resource metrics: kubelets measure them every 10 to
// 15 seconds, so that the lane gains nothing.
type LaneMetricReader struct {
	client rest.Interface
	mapper meta.RESTMapper
}

var _ MetricsReader = (*LaneMetricReader)(nil)

var errUnread = errors.New("the surge lane reads no resource metrics")

// NewLaneMetricReader returns a reader with a client of its own. mapper knows the objects that Object metrics name.
func NewLaneMetricReader(config *rest.Config, mapper meta.RESTMapper) (*LaneMetricReader, error) {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return replicaChooser{next} })
	client, err := kube.NewClient(config)
	if err != nil {
		return nil, err
	}
	return &LaneMetricReader{client.CoreV1().RESTClient(), mapper}, nil
}

// ReadMetrics implements MetricsReader.
func (r *LaneMetricReader) ReadMetrics(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, selector, otherThan string) []Reading {
	choice := &replicaChoice{other: otherThan}
	ctx = contextWithReplicaChoice(ctx, choice)
	readings := make([]Reading, len(a.Spec.Metrics))
	for i, m := range a.Spec.Metrics {
		var err error
		switch {
		case m.Pods != nil:
			readings[i], err = r.readSurgePodsMetric(ctx, a.Namespace, selector, m.Pods.Metric)
		case m.Object != nil:
			readings[i], err = r.readSurgeObjectMetric(ctx, a.Namespace, m.Object)
		case m.External != nil:
			readings[i], err = r.readSurgeExternalMetric(ctx, a.Namespace, m.External.Metric)
		default:
			readings[i], err = Reading{IsUnread: true}, errUnread
		}
		readings[i].Err, readings[i].Replica = err, choice.answered
	}
	return readings
}

// readSurgePodsMetric reads a metric of the pods that a selector selects.
func (r *LaneMetricReader) readSurgePodsMetric(ctx context.Context, namespace, selector string, metric autoscalingv2.MetricIdentifier) (Reading, error) {
	values, err := r.listCustomMetric(ctx, metric.Selector, map[string]string{"labelSelector": selector},
		"namespaces", namespace, "pods", "*", metric.Name)
	reading := Reading{Answer: hpa.Answer{Pods: map[string]hpa.PodValue{}}}
	for _, v := range values {
		reading.addSurgeReadingSample(v.Timestamp, v.WindowSeconds)
		reading.Pods[v.DescribedObject.Name] = hpa.PodValue{Value: v.Value.MilliValue(), Time: v.Timestamp.Time, Window: reading.Window}
	}
	return reading, err
}

func (r *LaneMetricReader) readSurgeObjectMetric(ctx context.Context, namespace string, m *autoscalingv2.ObjectMetricSource) (Reading, error) {
	kind := schema.FromAPIVersionAndKind(m.DescribedObject.APIVersion, m.DescribedObject.Kind)
	mapping, err := r.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return Reading{}, fmt.Errorf("find the API of %s %s: %w", m.DescribedObject.APIVersion, m.DescribedObject.Kind, err)
	}
	resource := mapping.Resource.GroupResource().String()
	path := []string{"namespaces", namespace, resource, m.DescribedObject.Name, m.Metric.Name}
	switch {
	case resource == "namespaces":
		path = []string{"namespaces", m.DescribedObject.Name, "metrics", m.Metric.Name}
	case mapping.Scope.Name() == meta.RESTScopeNameRoot:
		path = []string{resource, m.DescribedObject.Name, m.Metric.Name}
	}
	values, err := r.listCustomMetric(ctx, m.Metric.Selector, nil, path...)
	if err == nil && len(values) != 1 {
		err = fmt.Errorf("metric %s of %s %s has %d values; want 1", m.Metric.Name, m.DescribedObject.Kind, m.DescribedObject.Name, len(values))
	}
	if err != nil {
		return Reading{}, err
	}
	reading := Reading{Answer: hpa.Answer{Object: values[0].Value.MilliValue()}}
	reading.addSurgeReadingSample(values[0].Timestamp, values[0].WindowSeconds)
	return reading, nil
}

func (r *LaneMetricReader) readSurgeExternalMetric(ctx context.Context, namespace string, metric autoscalingv2.MetricIdentifier) (Reading, error) {
	selector, err := formatMetricSelector(metric.Selector)
	if err != nil {
		return Reading{}, err
	}
	var list externalmetrics.ExternalMetricValueList
	path := []string{"namespaces", namespace, metric.Name}
	if err := kube.GetMetricList(ctx, r.client, externalmetrics.SchemeGroupVersion, path, map[string]string{"labelSelector": selector}, &list); err != nil {
		return Reading{}, err
	}
	if len(list.Items) == 0 {
		return Reading{}, fmt.Errorf("external metric %s has no value", metric.Name)
	}
	var reading Reading
	for _, v := range list.Items {
		reading.addSurgeReadingSample(v.Timestamp, v.WindowSeconds)
		reading.External = append(reading.External, v.Value.MilliValue())
	}
	return reading, nil
}

// listCustomMetric returns the values at a path of custom.metrics.k8s.io.
func (r *LaneMetricReader) listCustomMetric(ctx context.Context, selector *metav1.LabelSelector, params map[string]string, path ...string) ([]custommetrics.MetricValue, error) {
	text, err := formatMetricSelector(selector)
	if err != nil {
		return nil, err
	}
	all := map[string]string{"metricLabelSelector": text}
	for key, value := range params {
		all[key] = value
	}
	var list custommetrics.MetricValueList
	err = kube.GetMetricList(ctx, r.client, custommetrics.SchemeGroupVersion, path, all, &list)
	if err == nil && len(list.Items) == 0 {
		err = fmt.Errorf("metric %s has no value", path[len(path)-1])
	}
	return list.Items, err
}

// formatMetricSelector returns the text of a label selector; nil selects everything.
func formatMetricSelector(s *metav1.LabelSelector) (string, error) {
	if s == nil {
		return "", nil
	}
	parsed, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return "", fmt.Errorf("read the metric's selector: %w", err)
	}
	return parsed.String(), nil
}

// addSurgeReadingSample adds the time and the window of a value to a reading. Of several windows the longest counts: an adapter that found a
// step shortens all of them.
func (r *Reading) addSurgeReadingSample(at metav1.Time, windowSeconds *int64) {
	if at.After(r.Newest) {
		r.Newest = at.Time
	}
	if windowSeconds != nil {
		r.Window = max(r.Window, hpa.ConvertWindow(*windowSeconds))
	}
}
