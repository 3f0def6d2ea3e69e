// The provider of a reviewed rule, over the running backends, scrapes and pods.

package explain

import (
	"context"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// reviewedDemandPrefix begins the metric of a review's demand, which lists families, because no rule in force has the metric. No
// request and no autoscaler can name such a metric: their names have no slash.
const reviewedDemandPrefix = "families/"

// ReviewedFamilies returns the families that the demand of a review asks for; false for the demand of a request.
func ReviewedFamilies(metricName string) ([]string, bool) {
	list, found := strings.CutPrefix(metricName, reviewedDemandPrefix)
	if !found {
		return nil, false
	}
	return strings.Split(list, ","), true
}

// newReviewProvider returns a provider of the reviewed rules over the running backends, scrapes and pods.
func (a *API) newReviewProvider(r *ruleReview) *provider.Provider {
	deps := a.deps.Reading
	deps.Rules = func() provider.Rules { return r.rules }
	deps.Demands = reviewDemands{deps.Demands, r.spec.Metric, reviewedDemandPrefix + strings.Join(r.rule.Families(), ",")}
	backend := deps.Backend
	deps.Backend = func(name string) (provider.Backend, bool) {
		b, ok := backend(name)
		return reviewBackend{b, a.reviews}, ok
	}
	return provider.New(deps, provider.Options{ScrapeInterval: a.deps.Config().Scrape.Interval})
}

// reviewDemands demand the families of a reviewed rule instead of its metric.
type reviewDemands struct {
	provider.Demands
	metric, families string
}

// Demand records the demand of a review.
func (d reviewDemands) Demand(demand discovery.Demand) error {
	demand.Metric = d.families
	return d.Demands.Demand(demand)
}

// Demanded returns the demands of reviews that read the same families, as demands for the metric.
func (d reviewDemands) Demanded() []discovery.Demand {
	var own []discovery.Demand
	for _, demand := range d.Demands.Demanded() {
		if demand.Metric == d.families {
			demand.Metric = d.metric
			own = append(own, demand)
		}
	}
	return own
}

// reviewBackend bounds the evaluations of reviews.
type reviewBackend struct {
	provider.Backend
	limits *reviewLimits
}

// Evaluate implements provider.Backend.
func (b reviewBackend) Evaluate(ctx context.Context, q rule.Query, now time.Time) (values []metric.Value, err error) {
	q.Reviewed = true
	err = b.limits.runReviewStep(ctx, "evaluate", func(ctx context.Context) (err error) {
		values, err = b.Backend.Evaluate(ctx, q, now)
		return err
	})
	return values, err
}
