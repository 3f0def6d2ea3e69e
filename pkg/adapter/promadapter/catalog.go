// The catalog of a configuration: its loop, the listing of series per rule, and the rules built from them.

package promadapter

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// SeriesLister lists the names and labels of a server's series. It is safe for concurrent use and returns soon after ctx is
// done. It calls each for a single value at a time.
type SeriesLister interface {
	// LabelValues lists the values of the label in the selected series.
	LabelValues(ctx context.Context, label string, s SeriesSelection, each func(string) error) error
	// LabelNames lists the names of the labels of the selected series.
	LabelNames(ctx context.Context, s SeriesSelection, each func(string) error) error
}

// SeriesSelection selects the series that match any selector of Match and have samples from Start to End. Limit bounds the
// number of results; 0 means no limit.
type SeriesSelection struct {
	Match      []string
	Start, End time.Time
	Limit      int
}

// Options tune a Catalog. Only MaxAge must be set.
type Options struct {
	// Backend is the name of the backend that evaluates the rules. Empty means "prometheus".
	Backend string
	// MaxAge is the maximum age of a served value.
	MaxAge time.Duration
	// RelistInterval is the time between two listings of the series; 0 means 10m.
	RelistInterval time.Duration
	// Lookback is the maximum age of the last sample of a listed series. NewCatalog raises it to RelistInterval.
	Lookback time.Duration
	// Metrics are the self-metrics; nil disables them.
	Metrics *Metrics
	// Seed makes the jitter repeatable; 0 means a random seed.
	Seed uint64
}

const (
	defaultRelistInterval = 10 * time.Minute
	// listingTimeout bounds the time of a listing, which may take a server longer than a query.
	listingTimeout = time.Minute
	// maxConcurrentListings bounds the listings in progress, because the server has other clients.
	maxConcurrentListings = 4
	// maxListedNames bounds the names in the result of a listing.
	maxListedNames = 50_000
	// maxRuleMetrics bounds the metrics of a rule over all its listings.
	maxRuleMetrics = 100_000
)

// listingBackoff is the delay before a failed listing of a rule is retried.
var listingBackoff = retry.Backoff{First: 5 * time.Second, Max: time.Minute}

// Catalog finds the metrics of a configuration by the series on the server. Create it with NewCatalog.
type Catalog struct {
	opts         Options
	series       SeriesLister
	resources    ResourceLookup
	rules        []*catalogRule // owned by Run
	snapshot     atomic.Pointer[CatalogSnapshot]
	usageRuleSet atomic.Pointer[rule.UsageRuleSet]

	fileWarnings   config.Faults
	resourceRules  *ResourceRules
	usageErr       error           // owned by Run
	usageUnsettled string          // owned by Run: the reason why labels of resourceRules are a guess
	loggedOddities map[string]bool // owned by Run: the logged oddities that still hold
}

// NewCatalog returns a catalog of cfg. It knows no series before Run has listed them.
func NewCatalog(cfg *Config, series SeriesLister, resources ResourceLookup, opts Options) *Catalog {
	opts.Backend = cmp.Or(opts.Backend, "prometheus")
	opts.RelistInterval = cmp.Or(opts.RelistInterval, defaultRelistInterval)
	opts.Lookback = max(opts.Lookback, opts.RelistInterval)
	if opts.Seed == 0 {
		opts.Seed = rand.Uint64()
	}
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	c := &Catalog{opts: opts, series: series, resources: resources, fileWarnings: cfg.warnings, resourceRules: cfg.ResourceRules}
	for i := range cfg.Rules {
		c.rules = append(c.rules, newCatalogRule(&cfg.Rules[i]))
	}
	for i := range cfg.ExternalRules {
		c.rules = append(c.rules, newCatalogRule(&cfg.ExternalRules[i]))
	}
	c.publishCatalogSnapshot()
	return c
}

// Rules returns the current snapshot: a new pointer after each change.
func (c *Catalog) Rules() *CatalogSnapshot { return c.snapshot.Load() }

// Run lists the series until ctx is done: at once, then every RelistInterval. It retries a failed rule sooner.
func (c *Catalog) Run(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(c.opts.Seed, 0))
	c.opts.Metrics.ruleFailing.Reset()
	relist := time.Now()
	for ctx.Err() == nil {
		now := time.Now()
		due := c.listRulesToRetry(now)
		if !now.Before(relist) {
			due = c.rules
			relist = now.Add(jitterCatalogRelistTime(rng, c.opts.RelistInterval))
		}
		c.resolveUsageRules(ctx, now)
		c.relistSeriesRules(ctx, now, due)
		if ctx.Err() != nil {
			break // an interrupted listing is incomplete
		}
		retry.Sleep(ctx, time.Until(c.nextSeriesListingTime(now, relist)))
	}
	return nil
}

// jitterCatalogRelistTime returns a time within 10 % of d: adapters with a common start must not list at the same time.
func jitterCatalogRelistTime(rng *rand.Rand, d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rng.Int64N(int64(d/5)+1))
}

// listRulesToRetry returns the failed rules to retry now.
func (c *Catalog) listRulesToRetry(now time.Time) []*catalogRule {
	var due []*catalogRule
	for _, r := range c.rules {
		if r.err != nil && !now.Before(r.retryAt) {
			due = append(due, r)
		}
	}
	return due
}

// nextSeriesListingTime returns the time of the next retry or relist.
func (c *Catalog) nextSeriesListingTime(now, relist time.Time) time.Time {
	if retryAt := now.Add(usageRetryInterval); (c.usageErr != nil || c.usageUnsettled != "") && retryAt.Before(relist) {
		relist = retryAt
	}
	for _, r := range c.rules {
		if r.err != nil && r.retryAt.Before(relist) {
			relist = r.retryAt
		}
	}
	return relist
}

// Relist lists the series of all rules once, as of now. It must not run beside Run.
func (c *Catalog) Relist(ctx context.Context, now time.Time) {
	c.relistSeriesRules(ctx, now, c.rules)
}

// relistSeriesRules finds the series of the rules. It publishes fixed rules, which need no listing, before it lists the others.
func (c *Catalog) relistSeriesRules(ctx context.Context, now time.Time, rules []*catalogRule) {
	l := newCatalogListing(c, now)
	var quick, slow []*catalogRule
	for _, r := range rules {
		if r.isFixedSeriesRule() {
			quick = append(quick, r)
		} else {
			slow = append(slow, r)
		}
	}
	for _, batch := range [][]*catalogRule{quick, slow} {
		if len(batch) == 0 {
			continue
		}
		c.listRuleSeries(ctx, l, batch)
		// Of several rules for a metric, a rule with series wins. So fixed rules among them need a listing, once for each rule.
		for unconfirmed := c.publishCatalogSnapshot(); len(unconfirmed) > 0 && ctx.Err() == nil; unconfirmed = c.publishCatalogSnapshot() {
			c.listRuleSeries(ctx, l, unconfirmed)
		}
	}
	if len(rules) == 0 {
		c.publishCatalogSnapshot() // for the notes about resourceRules
	}
	c.logRuleOddities(ctx)
}

// logRuleOddities logs each oddity once, when it appears.
func (c *Catalog) logRuleOddities(ctx context.Context) {
	current := map[string]bool{}
	for _, note := range c.Rules().oddities {
		current[note] = true
		if !c.loggedOddities[note] {
			klog.FromContext(ctx).Info("Rule of prometheus-adapter may be wrong", "reason", note)
		}
	}
	c.loggedOddities = current
}

// listRuleSeries lists the series of the rules and records the results.
func (c *Catalog) listRuleSeries(ctx context.Context, l *catalogListing, rules []*catalogRule) {
	found := make([]listingResult, len(rules))
	var group errgroup.Group
	group.SetLimit(maxConcurrentListings)
	for i, r := range rules {
		group.Go(func() error {
			found[i] = l.findAssociationsSafely(ctx, r, c.opts.Metrics.panics)
			return nil
		})
	}
	_ = group.Wait() // listingResult has the error of each rule
	if ctx.Err() != nil {
		return
	}
	for i, r := range rules {
		c.recordRuleListing(ctx, r, found[i], l.now)
	}
}

// recordRuleListing applies the result of a listing to its rule, and logs when an error begins, changes or ends.
func (c *Catalog) recordRuleListing(ctx context.Context, r *catalogRule, d listingResult, now time.Time) {
	before := r.err
	if r.err = d.err; r.err != nil {
		r.failures++
		r.retryAt = now.Add(listingBackoff.Delay(r.failures))
	} else {
		r.failures = 0
		r.applySeriesListing(d, c.newAssociationRule)
	}
	c.opts.Metrics.countSeriesListing(r.err)
	switch {
	case r.err == nil && before == nil:
	case r.err == nil:
		klog.FromContext(ctx).Info("Rule of prometheus-adapter works again", "rule", r.formatRuleLogName())
	case before == nil || r.err.Error() != before.Error():
		klog.FromContext(ctx).Error(r.err, "Rule of prometheus-adapter fails", "rule", r.formatRuleLogName())
	}
	c.opts.Metrics.setSeriesRuleFailing(r.path, r.findRuleServingError())
}

// newAssociationRule returns the rule that serves an association.
func (c *Catalog) newAssociationRule(r *catalogRule, a association) *rule.Rule {
	var groupBy []string
	if !r.external {
		groupBy = []string{a.label}
	}
	return rule.Rule{
		Metric: r.compiled.expandMetricNameAs(a.series), Resource: a.resource.Name, Name: r.formatRuleLogName(), External: r.external,
		Namespaced: r.isNamespacedSeriesRule(a.resource), NamespaceLabel: a.namespaceLabel, ObjectLabel: a.label,
		Backend: c.opts.Backend, Aggregate: config.AggregateSum, MaxAge: c.opts.MaxAge,
	}.WithTemplate(r.newSeriesTemplate(a.series, groupBy))
}

var errNotListed = errors.New("series are not listed yet")
