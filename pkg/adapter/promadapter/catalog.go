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

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// SeriesLister knows the names and labels of a server's series. It is safe for concurrent use, returns soon after ctx is done,
// and calls each for one value after the other, never at the same time.
type SeriesLister interface {
	// LabelValues are the values that the label has in the series selected.
	LabelValues(ctx context.Context, label string, s SeriesSelection, each func(string) error) error
	// LabelNames are the names of the labels of the series selected.
	LabelNames(ctx context.Context, s SeriesSelection, each func(string) error) error
}

// SeriesSelection are series: those that any of Match selects, with samples from Start to End. Limit is the most that is
// wanted to be told; 0: all.
type SeriesSelection struct {
	Match      []string
	Start, End time.Time
	Limit      int
}

// Options tune a Catalog; the zero value is right but for MaxAge.
type Options struct {
	// Backend is what evaluates the rules; empty means "prometheus".
	Backend string
	// MaxAge is the age beyond which a value is not served.
	MaxAge time.Duration
	// RelistInterval is the time between two listings of the series; 0 means 10m.
	RelistInterval time.Duration
	// Lookback is how far back a series may have had its last sample to be listed, and at least RelistInterval.
	Lookback time.Duration
	// Metrics are the self-metrics; nil means that there are none.
	Metrics *Metrics
	// Seed makes the jitter repeatable; 0 means any.
	Seed uint64
}

const (
	defaultRelistInterval = 10 * time.Minute
	// listingTimeout is for one listing, which a server may well take longer for than for a query.
	listingTimeout = time.Minute
	// maxConcurrentListings bounds the listings under way at one time: the server has others to serve.
	maxConcurrentListings = 4
	// maxListedNames bounds the names that one listing may give.
	maxListedNames = 50_000
	// maxRuleMetrics bounds the metrics that a rule ever had.
	maxRuleMetrics = 100_000
)

// listingBackoff is the delay before a failed listing of a rule is retried.
var listingBackoff = retry.Backoff{First: 5 * time.Second, Max: time.Minute}

// Catalog knows which metrics a configuration serves, from the series that there are. Create it with New.
type Catalog struct {
	opts         Options
	series       SeriesLister
	resources    ResourceLookup
	rules        []*ruleState // Run's alone
	snapshot     atomic.Pointer[RuleSnapshot]
	synced       atomic.Bool
	usageRuleSet atomic.Pointer[UsageRuleSet]

	resourceRules  *ResourceRules
	usageErr       error           // Run's alone
	loggedOddities map[string]bool // Run's alone: oddities that were logged and still hold
}

// NewCatalog returns a catalog of cfg that knows no series until Run has listed them.
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
	c := &Catalog{opts: opts, series: series, resources: resources, resourceRules: cfg.ResourceRules}
	for i := range cfg.Rules {
		c.rules = append(c.rules, newRuleState(&cfg.Rules[i]))
	}
	for i := range cfg.ExternalRules {
		c.rules = append(c.rules, newRuleState(&cfg.ExternalRules[i]))
	}
	c.publishRuleSnapshot()
	return c
}

// Rules is what is known now: a new pointer whenever it changes.
func (c *Catalog) Rules() *RuleSnapshot { return c.snapshot.Load() }

// Synced tells that every rule's series were listed, or that it was tried. Until then, and for a rule of which that
// failed, what is not known is answered as unavailable, never as not there.
func (c *Catalog) Synced() bool { return c.synced.Load() }

// Run lists the series until ctx is done: at once, then every RelistInterval, and those of a rule that failed sooner.
func (c *Catalog) Run(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(c.opts.Seed, 0))
	c.opts.Metrics.ruleFailing.Reset()
	relist := time.Now()
	for ctx.Err() == nil {
		now := time.Now()
		due := c.dueRules(now)
		if !now.Before(relist) {
			due = c.rules
			relist = now.Add(jitterRelist(rng, c.opts.RelistInterval))
		}
		c.resolveUsageRules(ctx)
		c.relistRules(ctx, now, due)
		if ctx.Err() != nil {
			break // a listing that was cut short says nothing
		}
		c.synced.Store(true)
		retry.Sleep(ctx, time.Until(c.nextListingTime(now, relist)))
	}
	return nil
}

// jitterRelist is a time around d, so that adapters that started together do not ask together.
func jitterRelist(rng *rand.Rand, d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rng.Int64N(int64(d/5)+1))
}

// dueRules are the rules to be tried again.
func (c *Catalog) dueRules(now time.Time) []*ruleState {
	var due []*ruleState
	for _, r := range c.rules {
		if r.err != nil && !now.Before(r.retryAt) {
			due = append(due, r)
		}
	}
	return due
}

// nextListingTime is when there is something to do.
func (c *Catalog) nextListingTime(now, relist time.Time) time.Time {
	if retryAt := now.Add(usageRetryInterval); c.usageErr != nil && retryAt.Before(relist) {
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
func (c *Catalog) Relist(ctx context.Context, now time.Time) { c.relistRules(ctx, now, c.rules) }

// relistRules finds the series of the rules. Those that need no listing are served before the others are done.
func (c *Catalog) relistRules(ctx context.Context, now time.Time, rules []*ruleState) {
	l := newSeriesListing(c, now)
	var quick, slow []*ruleState
	for _, r := range rules {
		if r.isFixed() {
			quick = append(quick, r)
		} else {
			slow = append(slow, r)
		}
	}
	for _, some := range [][]*ruleState{quick, slow} {
		if len(some) == 0 {
			continue
		}
		c.listRuleSeries(ctx, l, some)
		// Rules that meet over a name have to say whether they have series at all. That is asked once for each rule.
		for again := c.publishRuleSnapshot(); len(again) > 0 && ctx.Err() == nil; again = c.publishRuleSnapshot() {
			c.listRuleSeries(ctx, l, again)
		}
	}
	if len(rules) == 0 {
		c.publishRuleSnapshot() // what is said of resourceRules
	}
	c.logOddities(ctx)
}

// logOddities logs what is odd, when it begins to be.
func (c *Catalog) logOddities(ctx context.Context) {
	odd := map[string]bool{}
	for _, note := range c.Rules().oddities {
		odd[note] = true
		if !c.loggedOddities[note] {
			klog.FromContext(ctx).Info("Configuration of prometheus-adapter may not mean what it should", "note", note)
		}
	}
	c.loggedOddities = odd
}

// listRuleSeries lists for all of the rules, and notes what came of it.
func (c *Catalog) listRuleSeries(ctx context.Context, l *seriesListing, rules []*ruleState) {
	found := make([]listingResult, len(rules))
	var group errgroup.Group
	group.SetLimit(maxConcurrentListings)
	for i, r := range rules {
		group.Go(func() error {
			found[i] = l.findAssociations(ctx, r)
			return nil
		})
	}
	_ = group.Wait() // each rule has its own error
	if ctx.Err() != nil {
		return
	}
	for i, r := range rules {
		c.recordListing(ctx, r, found[i], l.now)
	}
}

// recordListing keeps what was found for a rule, or why nothing was.
func (c *Catalog) recordListing(ctx context.Context, r *ruleState, d listingResult, now time.Time) {
	before := r.err
	if r.err = d.err; r.err != nil {
		r.failures++
		r.retryAt = now.Add(listingBackoff.Delay(r.failures))
	} else {
		r.failures = 0
		r.applyListing(d, c.newAssociationRule)
	}
	c.opts.Metrics.countListing(r.err)
	switch {
	case r.err == nil && before == nil:
	case r.err == nil:
		klog.FromContext(ctx).Info("Rule of prometheus-adapter is served again", "rule", r.logName())
	case before == nil || r.err.Error() != before.Error():
		klog.FromContext(ctx).Error(r.err, "Rule of prometheus-adapter fails", "rule", r.logName())
	}
	c.opts.Metrics.setRuleFailing(r.path, r.servingError())
}

// newAssociationRule makes the rule for one association.
func (c *Catalog) newAssociationRule(r *ruleState, a association) *rule.Rule {
	namespaced := r.Resources.Namespaced == nil || *r.Resources.Namespaced
	if !r.external {
		namespaced = namespaced && a.resource.Namespaced
	}
	var groupBy []string
	if !r.external {
		groupBy = []string{a.label}
	}
	return rule.Rule{
		Metric: r.compiled.expandMetricName(a.series), Resource: a.resource.Name, Name: r.logName(), External: r.external,
		Namespaced: namespaced, NamespaceLabel: a.namespaceLabel, ObjectLabel: a.label,
		Backend: c.opts.Backend, Aggregate: rule.AggregateSum, MaxAge: c.opts.MaxAge,
	}.WithTemplate(r.newQueryRenderer(a.series, groupBy))
}

var errNotListed = errors.New("its series are not listed yet")
