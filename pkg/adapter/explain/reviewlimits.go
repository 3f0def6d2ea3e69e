package explain

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxReviews bounds the reviews at a time, most of which wait for scrapes, and maxNamespaceReviews the reviews of a namespace.
	maxReviews          = 16
	maxNamespaceReviews = 2
	// A namespace may have reviewBurst reviews at once, and then another each reviewPause: for a person trying a rule again and again.
	reviewBurst = 5
	reviewPause = 2 * time.Second
	// maxReviewRates bounds the namespaces in memory; namespaces that have their whole burst again are forgotten first.
	maxReviewRates = 1024
	// reviewRetrySeconds is the pause that a rejected client is told.
	reviewRetrySeconds = 2
)

// reviewLimits bound the cost of all reviews. It is safe for concurrent use.
type reviewLimits struct {
	step chan struct{} // holds an element while a review computes: reviews take one core together
	// timeout bounds a review, and stepTimeout each of its steps.
	timeout, stepTimeout time.Duration

	mu      sync.Mutex // guards the rest
	running map[string]int
	total   int
	rates   map[string]*rate.Limiter
}

func newReviewLimits() *reviewLimits {
	return &reviewLimits{
		step: make(chan struct{}, 1), timeout: maxReviewTime, stepTimeout: reviewStepTimeout,
		running: map[string]int{}, rates: map[string]*rate.Limiter{},
	}
}

// takeReviewPlace takes a place for a review of the namespace until free is called. The error is a status with code 429.
func (l *reviewLimits) takeReviewPlace(namespace string, now time.Time) (free func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.total >= maxReviews:
		return nil, apierrors.NewTooManyRequests("too many reviews of all namespaces at a time; try again", reviewRetrySeconds)
	case l.running[namespace] >= maxNamespaceReviews:
		return nil, apierrors.NewTooManyRequests("too many reviews of namespace "+namespace+" at a time; try again", reviewRetrySeconds)
	case !l.ensureReviewRate(namespace, now).AllowN(now, 1):
		return nil, apierrors.NewTooManyRequests("too many reviews of namespace "+namespace+" within seconds; try again", reviewRetrySeconds)
	}
	l.total++
	l.running[namespace]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total--
		if l.running[namespace]--; l.running[namespace] == 0 {
			delete(l.running, namespace)
		}
	}, nil
}

// ensureReviewRate returns the rate of a namespace. The caller holds mu.
func (l *reviewLimits) ensureReviewRate(namespace string, now time.Time) *rate.Limiter {
	if own := l.rates[namespace]; own != nil {
		return own
	}
	if len(l.rates) >= maxReviewRates {
		maps.DeleteFunc(l.rates, func(_ string, r *rate.Limiter) bool { return r.TokensAt(now) >= reviewBurst })
	}
	own := rate.NewLimiter(rate.Every(reviewPause), reviewBurst)
	l.rates[namespace] = own
	return own
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
