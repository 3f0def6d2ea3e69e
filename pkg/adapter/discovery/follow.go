package discovery

import (
	"context"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// pause is the least time between two computations of the targets: a lone change is acted on at once, a
	// rollout of a thousand pods ten times a second.
	pause = 100 * time.Millisecond
	// upkeep is how often demands are checked for age.
	upkeep = time.Second
	// retryUnmapped is how often autoscalers are looked at again whose kinds the API server did not know.
	retryUnmapped = 10 * time.Second
	// patience is how long the first targets wait for the selectors of autoscalers: without them, scraping
	// would begin with a part of the targets, and the adapter call itself ready.
	patience = 10 * time.Second
)

// follow computes the targets after changes until ctx ends.
func (d *Discovery) follow(ctx context.Context) {
	ticker := time.NewTicker(upkeep)
	defer ticker.Stop()
	c := computer{Discovery: d, sets: newFamilySets(), start: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if d.readers.expire(time.Now()) || c.overdue(time.Now()) {
				d.poke()
			}
			continue
		case <-d.dirty:
		}
		if !c.rest(ctx) {
			return
		}
		c.compute(ctx, time.Now())
	}
}

// computer turns what is known into targets. It belongs to one goroutine.
type computer struct {
	*Discovery
	sets  *familySets
	plan  *plan // nil before the first one
	start time.Time
	last  time.Time // the last computation
	known map[*autoscaler]struct{}
}

// overdue tells that a computation is needed though nothing was reported to have changed.
func (c *computer) overdue(now time.Time) bool {
	return !c.ready.Load() || c.plan != nil && c.plan.unmapped && now.Sub(c.last) >= retryUnmapped
}

// rest waits until a computation is allowed again, or returns false when ctx ends. Changes on the way are
// part of that computation.
func (c *computer) rest(ctx context.Context) bool {
	if wait := pause - time.Since(c.last); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
	}
	select {
	case <-c.dirty:
	default:
	}
	return true
}

func (c *computer) compute(ctx context.Context, now time.Time) {
	podsSynced, _ := c.podMirror.state()
	hpasSynced, _ := c.hpaMirror.state()
	if !podsSynced || !hpasSynced {
		return
	}
	if c.stale.Swap(false) || c.plan == nil {
		c.replan(now)
	}
	next := choose(c.plan, c.pods, c.sets)
	c.selectors.hurry(next.deserted, refresh, now)
	c.last = now
	c.publish(ctx, next, now)
}

func (c *computer) replan(now time.Time) {
	if c.sets.full() {
		c.sets = newFamilySets()
	}
	hpas := c.hpas.list()
	c.plan = c.planner().plan(hpas, c.readers.list())
	c.selectors.need(c.plan.needed, now)
	c.hurryChanged(hpas, now)
	c.metrics.autoscalers.Set(float64(len(hpas)))
}

func (c *computer) planner() planner {
	p := planner{sets: c.sets, resourceOf: c.resolver.resource, selectorOf: c.selectors.peek}
	if rules := c.rules.Load(); rules != nil {
		p.rules = *rules
	}
	return p
}

// hurryChanged has the scale targets of new and changed autoscalers asked for again.
func (c *computer) hurryChanged(hpas []*autoscaler, now time.Time) {
	known := make(map[*autoscaler]struct{}, len(hpas))
	var keys []objectKey
	for _, a := range hpas {
		known[a] = struct{}{}
		if _, ok := c.known[a]; ok || len(a.metrics) == 0 {
			continue
		}
		if resource, err := c.resolver.resource(a.target.kind); err == nil {
			keys = append(keys, objectKey{resource, a.namespace, a.target.name})
		}
	}
	c.known = known
	c.selectors.hurry(keys, 0, now)
}

// publish makes next the state, and hands the targets on if they differ.
func (c *computer) publish(ctx context.Context, next *snapshot, now time.Time) {
	previous := c.state.Swap(next)
	c.metrics.targets.Set(float64(len(next.targets)))
	c.metrics.demands.Set(float64(len(next.demanded)))
	c.metrics.unresolved.Set(float64(len(next.unresolved)))
	for namespace, trouble := range next.unresolved {
		if previous.unresolved[namespace] != trouble {
			klog.FromContext(ctx).Info("Pods of an autoscaler not found", "namespace", namespace, "err", trouble)
		}
	}
	first := !c.ready.Load()
	if first && !c.selectors.settled() && now.Sub(c.start) < patience {
		return
	}
	if !first && slices.EqualFunc(previous.targets, next.targets, metric.Target.Equal) {
		return
	}
	c.mu.Lock()
	listeners := slices.Clone(c.listeners)
	c.mu.Unlock()
	for _, f := range listeners {
		f(next.targets)
	}
	c.ready.Store(true)
}
