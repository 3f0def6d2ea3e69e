package apistatus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		code   int32
		reason metav1.StatusReason
		text   string
	}{
		"not found":   {metric.Errorf(metric.KindNotFound, "no rule"), 404, metav1.StatusReasonNotFound, "no rule"},
		"unavailable": {fmt.Errorf("read: %w", metric.Errorf(metric.KindUnavailable, "down")), 503, metav1.StatusReasonServiceUnavailable, "read: down"},
		"invalid":     {metric.Errorf(metric.KindInvalid, "no selector"), 400, metav1.StatusReasonBadRequest, "no selector"},
		"a rule's":    {metric.Errorf(metric.KindInternal, "two values"), 500, metav1.StatusReasonInternalError, "two values"},
		"a secret":    {errors.New("password"), 500, metav1.StatusReasonInternalError, "metric a: internal error; the adapter's log has the cause"},
		"cancelled":   {context.Canceled, 503, metav1.StatusReasonServiceUnavailable, "metric a: the request ended before the answer was ready"},
		"too late":    {context.DeadlineExceeded, 503, metav1.StatusReasonServiceUnavailable, "metric a: the request ended before the answer was ready"},
		"too late, of a backend": {
			metric.Errorf(metric.KindInternal, "%w", context.DeadlineExceeded), 500, metav1.StatusReasonInternalError, "context deadline exceeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			details := &metav1.StatusDetails{Name: "a"}
			var got apierrors.APIStatus
			if !errors.As(ToStatus(t.Context(), "metric a", tc.err, details), &got) {
				t.Fatal("no status")
			}
			s := got.Status()
			if s.Code != tc.code || s.Reason != tc.reason || s.Message != tc.text || s.Details != details {
				t.Errorf("status %+v, want %d %s %q", s, tc.code, tc.reason, tc.text)
			}
		})
	}
	if err := ToStatus(t.Context(), "metric a", nil, nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}
