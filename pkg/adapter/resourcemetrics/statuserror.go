package resourcemetrics

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func newUnavailableErrorf(format string, args ...any) error {
	return metric.Errorf(metric.KindUnavailable, format, args...)
}

// newNoUsageListError says that objects were found, and that none has a usage.
func (s usageStorage) newNoUsageListError(omitted []metric.Omission) error {
	noun := s.resource
	if len(omitted) == 1 {
		noun = singularResource(noun)
	}
	return newUnavailableErrorf("no usage of %d %s: %s", len(omitted), noun, metric.SummarizeOmissions(omitted))
}

// newNoUsageError says that one object, which exists, has no usage. That is "not found", as clients of metrics-server know it.
func (s usageStorage) newNoUsageError(o metric.Object, omitted []metric.Omission) error {
	return metric.Errorf(metric.KindNotFound, "no usage of %s %s: %s", singularResource(s.resource), o, metric.SummarizeOmissions(omitted))
}

// toAPIStatus is err as the API says it.
func (s usageStorage) toAPIStatus(ctx context.Context, name string, err error) error {
	details := &metav1.StatusDetails{Group: metrics.GroupName, Kind: s.resource, Name: name}
	return apistatus.ToStatus(ctx, "usage of "+s.resource, err, details, "name", name)
}
