package replay

import (
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// gapTracker follows the gaps of a record along its looks.
type gapTracker struct {
	gaps   []explainapi.Gap // of all replicas
	period time.Duration    // the usual time between two looks; 0: unknown
	last   time.Time        // of the newest look with reads, or the begin of the record
	end    time.Time        // of the newest gap
}

func newGapTracker(log *explainapi.DecisionLog) *gapTracker {
	g := &gapTracker{gaps: slices.Clone(log.Source.Gaps), period: measureLookPeriod(log.Decisions), last: log.Source.UnknownBefore}
	for _, r := range log.Source.Replicas {
		g.gaps = append(g.gaps, r.Gaps...)
	}
	return g
}

// measureLookPeriod returns the median time between two decisions with reads.
func measureLookPeriod(decisions []explainapi.Decision) time.Duration {
	var spans []time.Duration
	var last time.Time
	for i := range decisions {
		if len(decisions[i].Reads) == 0 {
			continue
		}
		if at := decisions[i].Time; !last.IsZero() {
			spans = append(spans, at.Sub(last))
		}
		last = decisions[i].Time
	}
	if len(spans) == 0 {
		return 0
	}
	slices.Sort(spans)
	return spans[len(spans)/2]
}

// isAfterGap reports whether a look is so soon after a gap that the controller may remember what the gap hides. The looks must come in their
// order. A gap is a replica's own, a look without its inputs, or a time in which a look is due and none is recorded.
func (g *gapTracker) isAfterGap(look *Look, hasReads bool, memory time.Duration) bool {
	inside := false
	for _, gap := range g.gaps {
		if !look.Time.Before(gap.Until) && gap.Until.After(g.end) {
			g.end = gap.Until
		}
		inside = inside || !look.Time.Before(gap.From) && look.Time.Before(gap.Until)
	}
	if hasReads {
		if !g.last.IsZero() && g.period > 0 && look.Time.Sub(g.last) > g.period*3/2 {
			g.end = look.Time
		}
		g.last = look.Time
	}
	if look.Missing != "" && !look.Unknown {
		g.end = look.Time
	}
	return inside || !g.end.IsZero() && look.Time.Sub(g.end) < memory
}
