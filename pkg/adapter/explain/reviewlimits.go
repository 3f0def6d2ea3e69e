// The bounds of reviews.

package explain

import (
	"context"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxReviews bounds the reviews at a time, most of which wait for scrapes, and maxNamespaceReviews the reviews of a namespace.
	maxReviews          = 16
	maxNamespaceReviews = 2
	// A namespace may have reviewBurst reviews at once, and then another each reviewPause: for a person trying a rule again and again.
	reviewBurst = 5
	reviewPause = 2 * time.Second
)

// reviewLimits bound the cost of all reviews. It is safe for concurrent use.
type reviewLimits struct {
	*requestPlaces
	step chan struct{} // holds an element while a review computes: reviews take one core together
	// timeout bounds a review, and stepTimeout each of its steps.
	timeout, stepTimeout time.Duration
}

func newReviewLimits() *reviewLimits {
	return &reviewLimits{
		requestPlaces: newRequestPlaces(placeLimits{noun: "reviews", all: maxReviews, namespace: maxNamespaceReviews, burst: reviewBurst, pause: reviewPause}),
		step:          make(chan struct{}, 1), timeout: maxReviewTime, stepTimeout: reviewStepTimeout,
	}
}

// runReviewStep runs a step of a review, one at a time over all reviews, for stepTimeout at most.
func (l *reviewLimits) runReviewStep(ctx context.Context, name string, step func(context.Context) error) error {
	select {
	case l.step <- struct{}{}:
		defer func() { <-l.step }()
	case <-ctx.Done():
		return metric.Errorf(metric.KindUnavailable, "other reviews took the time of this one; try again")
	}
	short, cancel := context.WithTimeout(ctx, l.stepTimeout)
	defer cancel()
	err := step(short)
	if short.Err() != nil && ctx.Err() == nil {
		return metric.Errorf(metric.KindInvalid, "to %s the query takes longer than %s; make its subqueries shorter or coarser", name, l.stepTimeout)
	}
	return err
}
