package resource

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/metrics"

	"tachometer/pkg/metric"
)

func unavailable(format string, args ...any) error {
	return metric.Errorf(metric.KindUnavailable, format, args...)
}

// nothing says that objects were found, and that none has a usage.
func (s storage) nothing(omitted []metric.Omission) error {
	noun := s.resource
	if len(omitted) == 1 {
		noun = singular(noun)
	}
	return unavailable("no usage of %d %s: %s", len(omitted), noun, metric.Summary(omitted))
}

// without says that one object, which exists, has no usage. That is "not found", as clients of metrics-server know it.
func (s storage) without(o metric.Object, omitted []metric.Omission) error {
	return metric.Errorf(metric.KindNotFound, "no usage of %s %s: %s", singular(s.resource), o, metric.Summary(omitted))
}

// status is err as the API says it. The text of a metric.Error is meant for people; any other is logged, and its text kept
// from the reader, who may have no right to what it tells.
func (s storage) status(ctx context.Context, name string, err error) error {
	code, reason := http.StatusInternalServerError, metav1.StatusReasonInternalError
	switch kindOf(err) {
	case metric.KindNotFound:
		code, reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case metric.KindUnavailable:
		code, reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	case metric.KindInvalid:
		code, reason = http.StatusBadRequest, metav1.StatusReasonBadRequest
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: s.message(ctx, name, err),
		Details: &metav1.StatusDetails{Group: metrics.GroupName, Kind: s.resource, Name: name},
	}}
}

// kindOf is metric.KindOf, but for a request that ended before its answer: that is no fault of the program.
func kindOf(err error) metric.Kind {
	var e *metric.Error
	if !errors.As(err, &e) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return metric.KindUnavailable
	}
	return metric.KindOf(err)
}

func (s storage) message(ctx context.Context, name string, err error) string {
	var e *metric.Error
	switch {
	case errors.As(err, &e):
		return err.Error()
	case kindOf(err) == metric.KindUnavailable:
		return fmt.Sprintf("usage of %s: the request ended before the answer was ready", s.resource)
	}
	klog.FromContext(ctx).Error(err, "Answer resource usage", "resource", s.resource, "name", name)
	return fmt.Sprintf("usage of %s: internal error; the adapter's log has the cause", s.resource)
}
