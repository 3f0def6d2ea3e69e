package scrape

// The slots of a workload's pods within the interval.

import (
	"hash/fnv"
	"math/bits"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// slotBits is the number of bits of a slot.
const slotBits = 6

// unplacedOffset is the offset of a new loop without a slot.
const unplacedOffset scrapeOffset = -1

// slotCounts has the number of a workload's pods in each slot.
type slotCounts [slotsPerInterval]uint16

// placeNewLoops puts each loop without a slot where few pods of its workload are, and far from them. Few pods at random offsets often have
// most of their pages late after a change of the load: the total of four pods then shows it up to 0.1 intervals later in one case of twenty.
func placeNewLoops(added []*scrapeLoop, all map[metric.Object]*scrapeLoop, seed uint64) {
	counts := map[metric.Object]*slotCounts{}
	for _, l := range added {
		counts[findTargetWorkload(l.key)] = &slotCounts{}
	}
	for key, l := range all {
		if c := counts[findTargetWorkload(key)]; c != nil && l.offset != unplacedOffset {
			c[int(l.offset*slotsPerInterval)]++
		}
	}
	for _, l := range added {
		if workload := findTargetWorkload(l.key); l.offset == unplacedOffset {
			l.offset = computeScrapeOffset(counts[workload].takeFreeSlot(hashFirstSlot(workload, seed)), seed)
		}
	}
}

// findTargetWorkload returns the object that names a pod: pods of a ReplicaSet, StatefulSet, DaemonSet or Job differ in the last part of
// their names.
func findTargetWorkload(pod metric.Object) metric.Object {
	if i := strings.LastIndexByte(pod.Name, '-'); i > 0 {
		pod.Name = pod.Name[:i]
	}
	return pod
}

// hashFirstSlot returns the slot of a workload's first pod. Processes with different seeds use different slots.
func hashFirstSlot(workload metric.Object, seed uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(workload.Namespace + "/" + workload.Name))
	// FNV's high bits hardly differ between names that differ at their end; mix them.
	return mixOffsetBits(h.Sum64()^seed) % slotsPerInterval
}

// takeFreeSlot takes a slot with the fewest pods: the first of them in the order of reversed bits, in which each slot halves a
// longest gap between those before it (van der Corput, Verteilungsfunktionen, 1935).
func (c *slotCounts) takeFreeSlot(first uint64) uint64 {
	free := first
	for i := range uint64(slotsPerInterval) {
		slot := (first + bits.Reverse64(i)>>(64-slotBits)) % slotsPerInterval
		if c[slot] < c[free] {
			free = slot
		}
	}
	c[free]++
	return free
}
