package scrape

// The times of scrapes, and the queues of loops that wait for their time or for a free place.

import (
	"container/heap"
	"time"
)

// scrapeOffset is the place of a target's scrapes within the interval, as a fraction in [0, 1).
type scrapeOffset float64

// slotsPerInterval is the number of due times in an interval. Scrapes due at the same moment share the costs of waking up and of
// cold caches. With 1,000 targets every 5 s that answer by family, a scrape costs 0.1 ms of CPU instead of 0.27; with 10,000,
// 156 are due at a time, which take some 10 ms.
const slotsPerInterval = 64

// computeScrapeOffset returns the offset of a slot. Processes with different seeds have different due times.
func computeScrapeOffset(slot, seed uint64) scrapeOffset {
	return scrapeOffset((float64(slot) + float64(mixOffsetBits(seed)>>11)/(1<<53)) / slotsPerInterval)
}

// mixOffsetBits applies the last step of splitmix64.
func mixOffsetBits(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// offsetInInterval returns the offset as a time from the beginning of an interval.
func (p scrapeOffset) offsetInInterval(interval time.Duration) time.Duration {
	return time.Duration(float64(p) * float64(interval))
}

// firstScrapeTime returns the time of a new target's first scrape: within an eighth of the interval, so that many new targets
// are not due at the same moment.
func firstScrapeTime(now time.Time, interval time.Duration, p scrapeOffset) time.Time {
	const moments = slotsPerInterval / 8
	return now.Add(time.Duration(p*moments) * interval / slotsPerInterval)
}

// maxSlewSlots bounds, in slots, the difference of a gap between scrapes from the interval: a 32nd of it. A rate over
// unevenly spaced samples is extrapolated wrongly if a gap is a tenth shorter than the others; this bound stays below half of
// a tenth.
const maxSlewSlots = slotsPerInterval / 32

// nextScrapeTime returns the time after due at which a target is due again, and the number of intervals that its scrape,
// which ended at now, missed. The time is an interval later, moved by at most maxSlewSlots towards the target's offset. It
// counts from a fixed time, not from the start of the scrape, so that it never drifts.
func nextScrapeTime(due, now time.Time, interval time.Duration, p scrapeOffset) (next time.Time, missed int) {
	next = due.Add(interval)
	if late := now.Sub(next); late >= 0 {
		missed = int(late/interval) + 1
		next = next.Add(time.Duration(missed) * interval)
	}
	// In whole nanoseconds, so that targets due together stay together.
	off := (p.offsetInInterval(interval) - time.Duration(next.UnixNano())%interval) % interval
	switch {
	case off >= interval/2:
		off -= interval
	case off < -interval/2:
		off += interval
	}
	maxSlew := interval / slotsPerInterval * maxSlewSlots
	return next.Add(max(-maxSlew, min(maxSlew, off))), missed
}

// loopQueue is a heap of loops by the time they are due.
type loopQueue []*scrapeLoop

func (q loopQueue) Len() int           { return len(q) }
func (q loopQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q loopQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push is for package heap; other code calls pushScrapeLoop.
func (q *loopQueue) Push(x any) { *q = append(*q, x.(*scrapeLoop)) }

// Pop is for package heap; other code calls popScrapeLoop.
func (q *loopQueue) Pop() any {
	old := *q
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return l
}

// pushScrapeLoop adds a loop and reports whether it is now the first.
func (q *loopQueue) pushScrapeLoop(l *scrapeLoop) bool {
	heap.Push(q, l)
	return (*q)[0] == l
}

func (q *loopQueue) popScrapeLoop() *scrapeLoop { return heap.Pop(q).(*scrapeLoop) }

// advanceDueLoops moves due times forward so that no loop waits for longer than a new interval.
func (q loopQueue) advanceDueLoops(now time.Time, interval time.Duration) {
	for _, l := range q {
		if latest := now.Add(l.offset.offsetInInterval(interval)); l.due.After(latest) {
			l.due = latest
		}
	}
	heap.Init(&q)
}

// waitingQueue is a first-in, first-out list.
type waitingQueue[T any] struct {
	items []T
	head  int
}

func (f *waitingQueue[T]) scrapeQueueLength() int { return len(f.items) - f.head }
func (f *waitingQueue[T]) peekScrapeQueue() T     { return f.items[f.head] }
func (f *waitingQueue[T]) pushScrapeQueue(x T)    { f.items = append(f.items, x) }

func (f *waitingQueue[T]) popScrapeQueue() T {
	var none T
	x := f.items[f.head]
	f.items[f.head] = none
	if f.head++; f.head*2 >= len(f.items) { // as much to copy as was popped: constant cost on average
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return x
}
