// This file has the loop that recomputes and publishes the targets.

package discovery

import (
	"context"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

const (
	// minComputeInterval is the minimum time between two computations of the targets, except for computeBurst of them after the start. The
	// changes of one moment take effect at once, because reads know of them at once; a rollout of a thousand pods causes ten computations a
	// second.
	minComputeInterval = 100 * time.Millisecond
	computeBurst       = 20
	// expireInterval is the interval between two checks of the demands' age.
	expireInterval = time.Second
	// unmappedRetryInterval is the retry interval for autoscalers with a kind that the API server does not know.
	unmappedRetryInterval = 10 * time.Second
	// firstTargetsTimeout bounds the wait of the first targets for the selectors of autoscalers. Without the selectors,
	// scraping would begin with a part of the targets, and the adapter would report itself ready.
	firstTargetsTimeout = 10 * time.Second
)

// runTargetLoop computes the targets after changes until ctx ends.
func (d *Discovery) runTargetLoop(ctx context.Context) {
	ticker := time.NewTicker(expireInterval)
	defer ticker.Stop()
	reporter, stopReporter := d.startRejectionReporter(ctx)
	defer stopReporter()
	c := targetPlanLoop{Discovery: d, start: time.Now(), reporter: reporter, computations: rate.NewLimiter(rate.Every(minComputeInterval), computeBurst)}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.pods.expireDepartures(time.Now())
			if d.readers.expireReaderDemands(time.Now()) || c.isTargetUpdateOverdue(time.Now()) {
				d.requestDemandReplan()
			}
			continue
		case <-d.updateRequested:
		}
		if !c.waitTargetInterval(ctx) {
			return
		}
		began := time.Now()
		c.computeTargetsSafely(ctx, began)
		c.lastTook = time.Since(began)
	}
}

// targetPlanLoop computes the targets from pods, autoscalers and demands. It belongs to one goroutine.
type targetPlanLoop struct {
	*Discovery
	reporter         *rejectionReporter
	plan             *demandPlan // nil before the first plan
	start            time.Time
	computations     *rate.Limiter // of the time after the first targets
	lastComputed     time.Time
	lastTook         time.Duration
	knownAutoscalers map[*storedAutoscaler]struct{}
	ruled            plannedRules
	lastRules        *Rules // of ruled
	hasRuleTargets   bool   // at the last computation
	panicked         bool   // the last computation, before its end
}

// isTargetUpdateOverdue reports whether a computation is needed without a reported change.
func (c *targetPlanLoop) isTargetUpdateOverdue(now time.Time) bool {
	isOld := now.Sub(c.lastComputed) >= unmappedRetryInterval
	return !c.ready.Load() || c.panicked && isOld || c.plan != nil && c.plan.unmapped && isOld
}

// waitTargetInterval waits until a computation is due (see minComputeInterval), or returns false when ctx ends. The
// next computation includes changes that arrive meanwhile. After a long computation the wait is longer, so that demands of many scopes
// take at most a fifth of a processor.
func (c *targetPlanLoop) waitTargetInterval(ctx context.Context) bool {
	passed := time.Since(c.lastComputed)
	wait := minComputeInterval - passed
	if c.ready.Load() { // before, no read depends on the targets
		wait = c.computations.Reserve().Delay()
	}
	if wait = max(wait, 5*c.lastTook-passed); wait > 0 && !retry.Sleep(ctx, wait) {
		return false
	}
	select {
	case <-c.updateRequested:
	default:
	}
	return true
}

// computeTargetsSafely is computeTargets. A panic keeps the previous targets, and the next computation makes a new plan and publishes.
func (c *targetPlanLoop) computeTargetsSafely(ctx context.Context, now time.Time) {
	if err := c.catchTargetPanic(ctx, now); err != nil {
		c.plan, c.ruled, c.lastRules, c.knownAutoscalers, c.lastComputed = nil, plannedRules{}, nil, nil, now
	}
}

func (c *targetPlanLoop) catchTargetPanic(ctx context.Context, now time.Time) (err error) {
	defer c.metrics.panics.Catch(ctx, &err, func() []any {
		c.panicked = true
		return nil
	})
	c.computeTargets(ctx, now)
	return nil
}

func (c *targetPlanLoop) computeTargets(ctx context.Context, now time.Time) {
	podsSynced, _ := c.podReflector.readSyncState()
	hpasSynced, _ := c.hpaReflector.readSyncState()
	if !podsSynced || !hpasSynced {
		return
	}
	previous := c.plan
	if c.replanRequested.Swap(false) || c.plan == nil {
		c.rebuildDemandPlan(ctx, now)
	}
	c.refreshNewPodSelectors(now)
	c.updateRuleTargets(now)
	next := chooseTargets(c.plan, c.pods)
	if previous != nil && previous != c.plan {
		c.reportOptedOutPods(ctx, previous, next)
	}
	c.lastComputed = now
	c.publishTargets(ctx, next, now)
}

func (c *targetPlanLoop) rebuildDemandPlan(ctx context.Context, now time.Time) {
	hpas := c.hpas.listStoredAutoscalers()
	c.plan = c.newDemandPlanner().planDemands(hpas, c.readers.listReaderDemands()) //nolint:contextcheck // a panic over an object is logged without a context
	c.readers.forgetStandingDemands(c.plan.standing)
	for _, t := range c.listRuleTargets() {
		if key, isService := t.ruleTargetService(); isService {
			c.plan.needed[key] = struct{}{}
		}
	}
	c.selectors.setNeededPodSelectors(c.plan.needed, now)
	c.refreshHPASelectors(hpas, now)
	c.metrics.autoscalers.Set(float64(len(hpas)))
	c.metrics.rejectedMetrics.Set(float64(c.reporter.reportRejectedMetrics(ctx, hpas)))
	c.metrics.rejectedFamilies.Set(float64(c.plan.rejectedFamilies))
}

func (c *targetPlanLoop) newDemandPlanner() demandPlanner {
	p := demandPlanner{resourceOf: c.resolver.mapDemandedKind, selectorOf: c.selectors.peekSelector, panics: c.metrics.panics}
	if rules := c.rules.Load(); rules != nil {
		c.ruled.startRulePlan(*rules, rules != c.lastRules)
		p.rules, c.lastRules = &c.ruled, rules
	}
	if c.plan != nil {
		p.parsed = c.plan.selectors
	}
	return p
}

// refreshHPASelectors refreshes the selectors of the scale targets of new and changed autoscalers.
func (c *targetPlanLoop) refreshHPASelectors(hpas []*storedAutoscaler, now time.Time) {
	known := make(map[*storedAutoscaler]struct{}, len(hpas))
	var keys []objectKey
	for _, a := range hpas {
		known[a] = struct{}{}
		if _, ok := c.knownAutoscalers[a]; ok || len(a.metrics) == 0 {
			continue
		}
		if resource, err := c.resolver.mapDemandedKind(a.scaleTarget.kind); err == nil {
			keys = append(keys, objectKey{resource, a.namespace, a.scaleTarget.name})
		}
	}
	c.knownAutoscalers = known
	c.selectors.refreshSelectorsSoon(keys, 0, now)
}

// refreshNewPodSelectors refreshes the selectors in namespaces with pods of other labels: they may be the pods of an
// object that was deleted and made again with another selector.
func (c *targetPlanLoop) refreshNewPodSelectors(now time.Time) {
	changed := c.pods.takeNamespacesWithNewPodLabels()
	if len(changed) == 0 {
		return
	}
	var keys []objectKey
	for key := range c.plan.needed {
		if _, ok := changed[key.namespace]; ok {
			keys = append(keys, key)
		}
	}
	c.selectors.refreshSelectorsSoon(keys, defaultRefreshInterval, now)
}

// reportOptedOutPods logs and counts the pods that leave metrics of many objects since the previous plan, with their share of
// the sum: an autoscaler was their only sign that they want to be scraped.
func (c *targetPlanLoop) reportOptedOutPods(ctx context.Context, previous *demandPlan, next *plannedTargets) {
	left := map[*storedPod]struct{}{}
	for _, group := range previous.demandedPods {
		if !group.autoscaled {
			continue
		}
		c.pods.visitStoredPods(group.podScope, func(p *storedPod) {
			scraped := p.Live && p.url != "" && p.inserted <= next.inserted
			if scraped && !p.annotated && !next.marks[p].autoscaled && c.plan.demandsOptedInPod(p) {
				left[p] = struct{}{}
			}
		})
	}
	byNamespace := map[string]int{}
	for p := range left {
		byNamespace[p.Namespace]++
	}
	for namespace, pods := range byNamespace {
		c.metrics.optedOut.Add(float64(pods))
		klog.FromContext(ctx).Info("Pods leave external metrics: no autoscaler names a metric of theirs, and they are not annotated",
			"namespace", namespace, "pods", pods, "annotation", podpage.AnnotationScrape)
	}
}

// publishTargets makes next the state, and calls the listeners if the targets differ.
func (c *targetPlanLoop) publishTargets(ctx context.Context, next *plannedTargets, now time.Time) {
	previous := c.state.Swap(next)
	c.metrics.targets.Set(float64(len(next.targets)))
	c.metrics.demands.Set(float64(len(next.demanded)))
	c.metrics.unresolved.Set(float64(len(next.unresolved)))
	for namespace, reason := range next.unresolved {
		if previous.unresolved[namespace] != reason {
			klog.FromContext(ctx).Info("Pods of an autoscaler not found", "namespace", namespace, "reason", reason)
		}
	}
	first := !c.ready.Load()
	if first && c.selectors.awaitsFirstLookups(c.plan.unread) {
		if now.Sub(c.start) < firstTargetsTimeout {
			return
		}
		klog.FromContext(ctx).Info("Serving begins without the pods of some autoscalers: the API server has not answered for their selectors",
			"waited", firstTargetsTimeout)
	}
	if !first && !c.panicked && slices.EqualFunc(previous.targets, next.targets, metric.Target.Equal) {
		return
	}
	c.mu.Lock()
	listeners := slices.Clone(c.listeners)
	c.mu.Unlock()
	for _, f := range listeners {
		f(next.targets)
	}
	c.panicked = false
	c.ready.Store(true)
}
