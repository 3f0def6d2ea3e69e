// The numbers that gates are watched by.

package preflight

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/watch"
)

// checkGateWatches reads the number of each gate's watch, for each namespace with holds that may use the gate. A metric of pods needs a workload: its
// right alone is checked.
func (o *Inspection) checkGateWatches(ctx context.Context) (all []Result) {
	gates := o.Config.Gates()
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g := gates[name]
		if g.After == nil || g.After.Of == action.WatchPods {
			continue
		}
		namespaces := slices.Compact(slices.Sorted(slices.Values(g.Namespaces)))
		if g.After.Query != "" && len(namespaces) > 1 { // its answer is the same for all
			namespaces = namespaces[:1]
		}
		for _, namespace := range namespaces {
			all = append(all, o.checkGateWatch(ctx, name, namespace, *g.After))
		}
	}
	return all
}

// checkGateWatch reads the number of a watch once.
func (o *Inspection) checkGateWatch(ctx context.Context, gate, namespace string, w action.Watch) Result {
	subject, fix := gate+": metric "+w.Metric+" in namespace "+namespace, "mend the metric, or the gate's after"
	if w.Query != "" {
		subject, fix = gate+": query at "+w.Prometheus, "check the address and the query of the gate's after, and the NetworkPolicy"
	}
	v, err := o.Watcher.ReadWatch(ctx, namespace, "", w)
	switch {
	case errors.Is(err, watch.ErrNotNumber):
		return Result{Check: "watch", Subject: subject, Status: OK, Detail: err.Error()}
	case errors.Is(err, watch.ErrNoValue):
		return Result{Check: "watch", Subject: subject, Status: Unknown, Detail: err.Error() + ": while that lasts, nothing watches the open gate"}
	}
	return newCheckResult("watch", subject, w.FormatWatchValue(v), err, fix)
}
