// The results that a process keeps in memory: the last verdict and the last reading of each hold.

package rollout

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// holdResults are the results about the holds of one workload, by the holds' UIDs.
type holdResults struct {
	verdicts map[types.UID]Verdict
	readings map[types.UID]WatchReading
}

// findHoldResults returns copies of the results about the holds of a workload, and forgets those of other holds: another process, such as a
// command, may have removed a hold.
func (e *Engine) findHoldResults(t hold.Workload, holds []hold.Object) holdResults {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, found := e.results[t.WithoutVersion()]
	if !found {
		return holdResults{}
	}
	isGone := func(id types.UID) bool {
		return !slices.ContainsFunc(holds, func(h hold.Object) bool { return h.UID == id })
	}
	maps.DeleteFunc(r.verdicts, func(id types.UID, _ Verdict) bool { return isGone(id) })
	maps.DeleteFunc(r.readings, func(id types.UID, _ WatchReading) bool { return isGone(id) })
	if len(r.verdicts)+len(r.readings) == 0 {
		delete(e.results, t.WithoutVersion())
	}
	return holdResults{maps.Clone(r.verdicts), maps.Clone(r.readings)}
}

// changeHoldResults changes the results about the holds of a workload.
func (e *Engine) changeHoldResults(t hold.Workload, change func(holdResults)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, found := e.results[t.WithoutVersion()]
	if !found {
		r = holdResults{map[types.UID]Verdict{}, map[types.UID]WatchReading{}}
		e.results[t.WithoutVersion()] = r
	}
	change(r)
}
