// Package apistatus says errors as statuses of the Kubernetes API: the one place that maps their kinds.
package apistatus

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// ToStatus is err as a status about what, such as `metric "requests"`, with details (nil for none). The text of a metric.Error
// is meant for people and becomes the message, which `kubectl describe hpa` shows; any other error is logged here with
// keysAndValues, and its text kept from the reader, who may have no right to what it tells. A nil err stays nil.
//
// There is never a retry-after: clients of the library would wait and ask again within the autoscaler's own few workers,
// which delays every other autoscaler.
func ToStatus(ctx context.Context, what string, err error, details *metav1.StatusDetails, keysAndValues ...any) error {
	if err == nil {
		return nil
	}
	code, reason := http.StatusInternalServerError, metav1.StatusReasonInternalError
	switch KindOf(err) {
	case metric.KindNotFound:
		code, reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case metric.KindUnavailable:
		code, reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	case metric.KindInvalid:
		code, reason = http.StatusBadRequest, metav1.StatusReasonBadRequest
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    int32(code),
		Reason:  reason,
		Message: statusMessage(ctx, what, err, keysAndValues),
		Details: details,
	}}
}

// KindOf is metric.KindOf, but for a request that ended before its answer: that is no fault of the program.
func KindOf(err error) metric.Kind {
	var e *metric.Error
	if !errors.As(err, &e) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return metric.KindUnavailable
	}
	return metric.KindOf(err)
}

func statusMessage(ctx context.Context, what string, err error, keysAndValues []any) string {
	var e *metric.Error
	switch {
	case errors.As(err, &e):
		return err.Error()
	case KindOf(err) == metric.KindUnavailable:
		return what + ": the request ended before the answer was ready"
	}
	klog.FromContext(ctx).Error(err, "Answer a read", append([]any{"what", what}, keysAndValues...)...)
	return what + ": internal error; the adapter's log has the cause"
}
