// Errors of requests for usage, and their status in the API.

package resourcemetrics

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func newUnavailableUsagef(format string, args ...any) error {
	return metric.Errorf(metric.KindUnavailable, format, args...)
}

// newNoUsageListError returns the error of a list that found objects, all without usage.
func (l usageObjectLookup) newNoUsageListError(omitted []metric.Omission) error {
	noun := l.resource
	if len(omitted) == 1 {
		noun = nameSingularKind(noun)
	}
	return newUnavailableUsagef("no usage of %d %s: %s", len(omitted), noun, metric.SummarizeOmissions(omitted))
}

// newNoUsageError returns the error of an existing object without usage: "not found", as clients of metrics-server expect.
func (l usageObjectLookup) newNoUsageError(o metric.Object, omitted []metric.Omission) error {
	return metric.Errorf(metric.KindNotFound, "no usage of %s %s: %s", nameSingularKind(l.resource), o, metric.SummarizeOmissions(omitted))
}

// toUsageStatusError returns err as a status of the API.
func (l usageObjectLookup) toUsageStatusError(ctx context.Context, name string, err error) error {
	details := &metav1.StatusDetails{Group: metrics.GroupName, Kind: l.resource, Name: name}
	return apistatus.ToStatus(ctx, "usage of "+l.resource, err, details, "name", name)
}
