// Errors of requests for usage, and their status in the API.

package resourcemetrics

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func newResourceUsageUnavailableErrorf(format string, args ...any) error {
	return metric.Errorf(metric.KindUnavailable, format, args...)
}

// newNoResourceUsageListError returns the error of a list that found objects, all without usage.
func (l objectLookup) newNoResourceUsageListError(omitted []metric.Omission) error {
	noun := l.resource
	if len(omitted) == 1 {
		noun = singularResourceMetricsKind(noun)
	}
	return newResourceUsageUnavailableErrorf("no usage of %d %s: %s", len(omitted), noun, metric.SummarizeOmissions(omitted))
}

// newNoResourceUsageError returns the error of an existing object without usage: "not found", as clients of metrics-server expect.
func (l objectLookup) newNoResourceUsageError(o metric.Object, omitted []metric.Omission) error {
	return metric.Errorf(metric.KindNotFound, "no usage of %s %s: %s", singularResourceMetricsKind(l.resource), o, metric.SummarizeOmissions(omitted))
}

// toResourceMetricsStatus returns err as a status of the API.
func (l objectLookup) toResourceMetricsStatus(ctx context.Context, name string, err error) error {
	details := &metav1.StatusDetails{Group: metrics.GroupName, Kind: l.resource, Name: name}
	return apistatus.ToStatus(ctx, "usage of "+l.resource, err, details, "name", name)
}
