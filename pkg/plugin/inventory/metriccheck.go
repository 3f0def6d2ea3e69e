// Metrics of autoscalers that kube-apiserver or the HPA controller would reject.

package inventory

import (
	"errors"
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// metricField is the field of a metric that holds its source, with its target and the fields that the target may set.
type metricField struct {
	name    string
	target  autoscalingv2.MetricTarget
	allowed []string
}

// findMetricField returns the field that a metric's type names. The error says that the type is unknown, or its source missing.
func findMetricField(m autoscalingv2.MetricSpec) (metricField, error) {
	f, isSet := metricField{}, false
	switch m.Type {
	case autoscalingv2.PodsMetricSourceType:
		f.name, f.allowed = "pods", []string{"averageValue"}
		if isSet = m.Pods != nil; isSet {
			f.target = m.Pods.Target
		}
	case autoscalingv2.ObjectMetricSourceType:
		f.name, f.allowed = "object", []string{"value", "averageValue"}
		if isSet = m.Object != nil; isSet {
			f.target = m.Object.Target
		}
	case autoscalingv2.ExternalMetricSourceType:
		f.name, f.allowed = "external", []string{"value", "averageValue"}
		if isSet = m.External != nil; isSet {
			f.target = m.External.Target
		}
	case autoscalingv2.ResourceMetricSourceType:
		f.name, f.allowed = "resource", []string{"averageUtilization", "averageValue"}
		if isSet = m.Resource != nil; isSet {
			f.target = m.Resource.Target
		}
	case autoscalingv2.ContainerResourceMetricSourceType:
		f.name, f.allowed = "containerResource", []string{"averageUtilization", "averageValue"}
		if isSet = m.ContainerResource != nil; isSet {
			f.target = m.ContainerResource.Target
		}
	case "":
		return f, errors.New("type is missing")
	default:
		return f, fmt.Errorf("type %q is unknown; use Pods, Object, External, Resource or ContainerResource", string(m.Type))
	}
	if !isSet {
		return f, fmt.Errorf("%s is missing, which type %s needs", f.name, m.Type)
	}
	return f, nil
}

// NameMetricField returns the field of a metric that holds its source: pods; empty for an unknown type.
func NameMetricField(m autoscalingv2.MetricSpec) string {
	f, _ := findMetricField(m) // the field is named also where its source is missing
	return f.name
}

// CheckMetric returns an error for a metric that kube-apiserver rejects, or that the HPA controller cannot compute.
func CheckMetric(m autoscalingv2.MetricSpec) error {
	f, err := findMetricField(m)
	if err != nil {
		return err
	}
	amounts := map[string]*resource.Quantity{"value": f.target.Value, "averageValue": f.target.AverageValue}
	if f.target.AverageUtilization != nil {
		amounts["averageUtilization"] = resource.NewQuantity(int64(*f.target.AverageUtilization), resource.DecimalSI)
	}
	wanted := map[autoscalingv2.MetricTargetType]string{
		autoscalingv2.ValueMetricType: "value", autoscalingv2.AverageValueMetricType: "averageValue", autoscalingv2.UtilizationMetricType: "averageUtilization",
	}[f.target.Type]
	set := 0
	for _, name := range f.allowed {
		if amount := amounts[name]; amount != nil {
			set++
			if amount.Sign() <= 0 {
				return fmt.Errorf("%s.target.%s is %s; set it above 0", f.name, name, amount.String())
			}
			if amount.MilliValue() <= 0 { // the HPA controller takes it for 0
				return fmt.Errorf("%s.target.%s is %s, too large in thousandths; set it below 9P", f.name, name, amount.String())
			}
		}
	}
	switch {
	case wanted == "":
		return fmt.Errorf("%s.target.type is %q; use Value, AverageValue or Utilization", f.name, string(f.target.Type))
	case m.Object != nil && amounts[wanted] == nil: // the HPA controller looks at the type of objects alone
		return fmt.Errorf("%s.target.%s is missing, which type %s needs", f.name, wanted, f.target.Type)
	case m.Object == nil && set == 0:
		return fmt.Errorf("%s.target lacks %s", f.name, strings.Join(f.allowed, " or "))
	case m.Object == nil && set > 1:
		return fmt.Errorf("%s.target sets %s; set one", f.name, strings.Join(f.allowed, " and "))
	}
	return checkMetricNames(m)
}

// checkMetricNames returns an error for a source that names no metric or no object, for a second source, and for an invalid selector.
func checkMetricNames(m autoscalingv2.MetricSpec) error {
	sources := 0
	var faults []string
	require := func(field, name string) {
		if name == "" {
			faults = append(faults, field+" is missing")
		}
	}
	check := func(field, name string) {
		require(field, name)
		for _, fault := range content.IsPathSegmentName(name) { // as kube-apiserver does
			faults = append(faults, fmt.Sprintf("%s is %q, which %s", field, name, fault))
		}
	}
	if m.Pods != nil {
		sources++
		check("pods.metric.name", m.Pods.Metric.Name)
	}
	if m.Object != nil {
		sources++
		check("object.metric.name", m.Object.Metric.Name)
		check("object.describedObject.kind", m.Object.DescribedObject.Kind)
		check("object.describedObject.name", m.Object.DescribedObject.Name)
	}
	if m.External != nil {
		sources++
		check("external.metric.name", m.External.Metric.Name)
	}
	if m.Resource != nil {
		sources++
		require("resource.name", string(m.Resource.Name))
	}
	if m.ContainerResource != nil {
		sources++
		require("containerResource.name", string(m.ContainerResource.Name))
		require("containerResource.container", m.ContainerResource.Container)
	}
	switch {
	case len(faults) > 0:
		return errors.New(faults[0])
	case sources > 1:
		return fmt.Errorf("it sets %d sources; set the one of type %s", sources, m.Type)
	}
	if _, err := metav1.LabelSelectorAsSelector(reading.SelectorOf(m)); err != nil {
		return fmt.Errorf("its selector is invalid: %w", err)
	}
	return nil
}

// CheckMetrics returns an error for each metric of an autoscaler that CheckMetric rejects.
func CheckMetrics(hpa *autoscalingv2.HorizontalPodAutoscaler) error {
	var errs []error
	for i, m := range hpa.Spec.Metrics {
		if err := CheckMetric(m); err != nil {
			errs = append(errs, fmt.Errorf("hpa/%s: spec.metrics[%d]: %w", hpa.Name, i, err))
		}
	}
	return errors.Join(errs...)
}
