package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"tachometer/pkg/metric"
)

// subject is what a read was about.
type subject struct {
	resource                schema.GroupResource
	namespace, name, metric string
}

// missingError says that objects were found but cannot be valued, and why each.
type missingError struct {
	prefix    string // "3 pods"
	omissions []metric.Omission
}

func (e *missingError) Error() string { return e.prefix + ": " + metric.Summary(e.omissions) }

// missing is a KindUnavailable error for objects that have no value; what is the counted noun, such as "3 pods".
func missing(what string, omissions []metric.Omission) error {
	return &metric.Error{Kind: metric.KindUnavailable, Err: &missingError{prefix: what, omissions: omissions}}
}

// kindOf is metric.KindOf, but for a request that ended before its answer: that is no fault of the program.
func kindOf(err error) metric.Kind {
	var e *metric.Error
	if !errors.As(err, &e) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return metric.KindUnavailable
	}
	return metric.KindOf(err)
}

// status is err as the API says it. The text of a metric.Error is meant for people and becomes the message, which
// `kubectl describe hpa` shows; any other error is logged here and its text kept from the reader, who may have no
// right to what it tells. There is never a retry-after: clients of the library would wait and ask again within
// the autoscaler's own few workers, which delays every other autoscaler.
func status(ctx context.Context, s subject, err error) error {
	if err == nil {
		return nil
	}
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
		Status:  metav1.StatusFailure,
		Code:    int32(code),
		Reason:  reason,
		Message: message(ctx, s, err),
		Details: &metav1.StatusDetails{
			Group: s.resource.Group, Kind: s.resource.Resource, Name: s.name, Causes: causes(err),
		},
	}}
}

func message(ctx context.Context, s subject, err error) string {
	var e *metric.Error
	switch {
	case errors.As(err, &e):
		return err.Error()
	case kindOf(err) == metric.KindUnavailable:
		return fmt.Sprintf("metric %q: the request ended before the answer was ready", s.metric)
	}
	klog.FromContext(ctx).Error(err, "Answer metric", "metric", s.metric, "resource", s.resource.String(),
		"namespace", s.namespace, "name", s.name)
	return fmt.Sprintf("metric %q: internal error; the adapter's log has the cause", s.metric)
}

// causes are the reasons behind a missingError, one for each.
func causes(err error) []metav1.StatusCause {
	var e *missingError
	if !errors.As(err, &e) {
		return nil
	}
	byReason := map[metric.Reason][]metric.Omission{}
	var order []metric.Reason
	for _, o := range e.omissions {
		if byReason[o.Reason] == nil {
			order = append(order, o.Reason)
		}
		byReason[o.Reason] = append(byReason[o.Reason], o)
	}
	var out []metav1.StatusCause
	for _, r := range order {
		out = append(out, metav1.StatusCause{Type: metav1.CauseType(r), Message: metric.Summary(byReason[r])})
	}
	return out
}

// plural is a counted noun: "1 pod", "3 pods".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
