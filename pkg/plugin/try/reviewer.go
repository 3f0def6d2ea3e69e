package try

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// ErrNotServed means that the cluster serves no reviews.
var ErrNotServed = errors.New("the adapter serves no " + explainapi.RuleReviews + "." + explainapi.GroupVersion.Group +
	": it is older than this plugin, follows prometheus-adapter's rules, or lacks the APIService " + explainapi.APIService +
	"; kubectl tachometer version shows its image")

// Creator creates an object at a path of kube-apiserver, and returns the answer. An API status becomes an *apierrors.StatusError.
type Creator interface {
	Create(ctx context.Context, path string, object []byte) ([]byte, error)
}

// RESTReviewer sends reviews over kube-apiserver.
type RESTReviewer struct{ Creator Creator }

var _ Reviewer = RESTReviewer{}

// Review implements Reviewer.
func (r RESTReviewer) Review(ctx context.Context, namespace string, spec explainapi.RuleReviewSpec) (*explainapi.RuleReviewStatus, error) {
	review := explainapi.RuleReview{Spec: spec}
	review.APIVersion, review.Kind = explainapi.GroupVersion.String(), "RuleReview"
	object, err := json.Marshal(review)
	if err != nil {
		return nil, err
	}
	path := "/apis/" + explainapi.GroupVersion.String() + "/namespaces/" + url.PathEscape(namespace) + "/" + explainapi.RuleReviews
	data, err := r.Creator.Create(ctx, path, object)
	switch {
	case err == nil:
	case apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource"):
		return nil, ErrNotServed
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%w; grant it: kubectl -n %s create rolebinding rule-reviewers --clusterrole=tachometer-rule-reviewer --user=NAME", err, namespace)
	default:
		return nil, err
	}
	answer := &explainapi.RuleReview{}
	if err := json.Unmarshal(data, answer); err != nil {
		return nil, fmt.Errorf("parse the answer of %s: %w", explainapi.RuleReviews, err)
	}
	return &answer.Status, nil
}

// reviewReader answers reads of the metrics APIs from reviews, where the rules of the file serve the metric. It is not safe for
// concurrent use.
type reviewReader struct {
	next    reading.Reader
	opts    Options
	faults  []explainapi.RuleFault
	reviews []explainapi.RuleReviewStatus
	others  []string // metrics that no rule of the file serves
	err     error    // of the first review that the adapter rejected
}

// errFaultyRule is the answer to a read while the file is faulty.
var errFaultyRule = errors.New("the file of the rule is faulty")

// Read implements reading.Reader.
func (r *reviewReader) Read(ctx context.Context, path string) ([]byte, error) {
	spec, isMetric := parseReviewPath(path)
	if !isMetric {
		return r.next.Read(ctx, path)
	}
	if len(r.faults) > 0 || r.err != nil {
		return nil, errFaultyRule
	}
	spec.Config = r.opts.Config
	status, err := r.opts.Reviewer.Review(ctx, r.opts.Namespace, spec)
	switch {
	case apierrors.IsNotFound(err):
		r.others = append(r.others, spec.Metric)
		return r.next.Read(ctx, path)
	case err != nil:
		r.err = err
		return nil, err
	case len(status.Faults) > 0:
		r.faults = status.Faults
		return nil, errFaultyRule
	}
	r.reviews = append(r.reviews, *status)
	if status.Error != "" {
		return nil, errors.New(status.Error)
	}
	return encodeTrialValues(status)
}

// parseReviewPath returns the review for a path of the custom or external metrics API; false for another path.
func parseReviewPath(path string) (spec explainapi.RuleReviewSpec, ok bool) {
	u, err := url.Parse(path)
	if err != nil {
		return spec, false
	}
	query := u.Query()
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/apis/"), "/")
	for i := range parts {
		if parts[i], err = url.PathUnescape(parts[i]); err != nil {
			return spec, false
		}
	}
	switch { // GROUP/VERSION/namespaces/NS/…
	case len(parts) == 5 && parts[0] == reading.ExternalGroup:
		spec.External, spec.Metric, spec.MetricSelector = true, parts[4], query.Get("labelSelector")
	case len(parts) == 6 && parts[0] == reading.CustomGroup && parts[4] == "metrics":
		spec.Resource, spec.Object, spec.Metric = "namespaces", parts[3], parts[5]
	case len(parts) == 7 && parts[0] == reading.CustomGroup:
		spec.Resource, spec.Object, spec.Metric = parts[4], parts[5], parts[6]
	default:
		return spec, false
	}
	if !spec.External {
		spec.MetricSelector = query.Get("metricLabelSelector")
	}
	if spec.Object == "*" {
		spec.Object, spec.Selector = "", query.Get("labelSelector")
	}
	return spec, true
}

// encodeTrialValues returns values as the metrics API has them.
func encodeTrialValues(status *explainapi.RuleReviewStatus) ([]byte, error) {
	type item struct {
		DescribedObject map[string]string `json:"describedObject,omitempty"`
		Timestamp       time.Time         `json:"timestamp"`
		WindowSeconds   int64             `json:"windowSeconds,omitempty"`
		Window          int64             `json:"window,omitempty"`
		Value           resource.Quantity `json:"value"`
	}
	items := make([]item, len(status.Values))
	for i, v := range status.Values {
		items[i] = item{Timestamp: v.Time, Value: *resource.NewMilliQuantity(v.Milli, resource.DecimalSI)}
		if status.External {
			items[i].Window = v.WindowSeconds
		} else {
			items[i].DescribedObject, items[i].WindowSeconds = map[string]string{"name": v.Object}, v.WindowSeconds
		}
	}
	return json.Marshal(map[string]any{"items": items})
}
