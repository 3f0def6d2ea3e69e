// Errors as API statuses.

package provider

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/apistatus"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// requestSubject names the resource, object and metric of a request.
type requestSubject struct {
	resource                schema.GroupResource
	namespace, name, metric string
}

// listRequestLogKeys returns the subject as keys and values of a log line.
func (s requestSubject) listRequestLogKeys() []any {
	return []any{"resource", strict.ShortenPlain(s.resource.String()), "namespace", strict.ShortenPlain(s.namespace), "name", strict.ShortenPlain(s.name), "metric", strict.ShortenPlain(s.metric)}
}

// missingError says that the objects exist but have no value, with the reason of each.
type missingError struct {
	prefix    string // "3 pods"
	omissions []metric.Omission
}

func (e *missingError) Error() string {
	return e.prefix + ": " + metric.SummarizeOmissions(e.omissions)
}

// newMissingObjectsError returns a KindUnavailable error for objects without a value; noun counts them, such as "3 pods".
func newMissingObjectsError(noun string, omissions []metric.Omission) error {
	return &metric.Error{Kind: metric.KindUnavailable, Err: &missingError{prefix: noun, omissions: omissions}}
}

// convertErrorToAPIStatus returns err as an API status, with a cause for each reason; a nil err stays nil.
func convertErrorToAPIStatus(ctx context.Context, s requestSubject, err error) error {
	if err == nil {
		return nil
	}
	// A name that is too long for the request is too long for its error, and for the log.
	s.metric, s.name, s.namespace = strict.ShortenPlain(s.metric), strict.ShortenPlain(s.name), strict.ShortenPlain(s.namespace)
	s.resource.Resource = strict.ShortenPlain(s.resource.Resource)
	details := &metav1.StatusDetails{Group: s.resource.Group, Kind: s.resource.Resource, Name: s.name, Causes: listOmissionCauses(err)}
	return apistatus.ToStatus(ctx, fmt.Sprintf("metric %q", s.metric), err, details,
		"resource", s.resource.String(), "namespace", s.namespace, "name", s.name)
}

// listOmissionCauses returns one cause for each reason of a missingError.
func listOmissionCauses(err error) []metav1.StatusCause {
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
		out = append(out, metav1.StatusCause{Type: metav1.CauseType(r), Message: metric.SummarizeOmissions(byReason[r])})
	}
	return out
}

// formatObjectCount returns "1 pod", "3 pods".
func formatObjectCount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
