// Package apistatus maps errors to statuses of the Kubernetes API.
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

// ToStatus returns err as a status for the subject, such as `metric "requests"`, with details (nil for none). The text of a
// metric.Error is meant for users and becomes the message, which `kubectl describe hpa` shows. ToStatus logs any other
// error with keysAndValues and hides its text, because the user may have no right to read it. A nil err stays nil.
//
// A status never has a retry-after: client-go would wait and retry inside one of the autoscaler's few workers, which delays
// every other autoscaler.
func ToStatus(ctx context.Context, subject string, err error, details *metav1.StatusDetails, keysAndValues ...any) error {
	if err == nil {
		return nil
	}
	var code int
	var reason metav1.StatusReason
	switch KindOf(err) {
	case metric.KindInternal:
		code, reason = http.StatusInternalServerError, metav1.StatusReasonInternalError
	case metric.KindNotFound:
		code, reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case metric.KindUnavailable:
		code, reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	case metric.KindInvalid:
		code, reason = http.StatusBadRequest, metav1.StatusReasonBadRequest
	default:
		panic("apistatus: an error kind has no status")
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    int32(code),
		Reason:  reason,
		Message: apiStatusMessage(ctx, subject, err, keysAndValues),
		Details: details,
	}}
}

// KindOf returns metric.KindOf, except KindUnavailable for a request that ended before its response.
func KindOf(err error) metric.Kind {
	var e *metric.Error
	if !errors.As(err, &e) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return metric.KindUnavailable
	}
	return metric.KindOf(err)
}

func apiStatusMessage(ctx context.Context, subject string, err error, keysAndValues []any) string {
	var e *metric.Error
	switch {
	case errors.As(err, &e):
		return err.Error()
	case KindOf(err) == metric.KindUnavailable:
		return subject + ": the request ended before the answer was ready"
	}
	klog.FromContext(ctx).Error(err, "Request failed with an internal error", append([]any{"subject", subject}, keysAndValues...)...)
	return subject + ": internal error; the adapter's log has the cause"
}
