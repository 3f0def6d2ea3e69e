package truth

// The judge of the stated time: a list of values with one timestamp covers the window before it, to the moment.

import (
	"fmt"
	"math"
	"time"
)

// coversCommonStretch reports whether an answer states one end for all its pods, whose scrapes have times of their own.
func (a *answer) coversCommonStretch() bool { return len(a.values) > 1 && a.oldest.Equal(a.newest) }

// judgeStretch judges the total of a list over exactly the window that it states, also while the load changes.
func (p *player) judgeStretch(out *answer, c rateCase, noise float64) (verdict, string) {
	if !out.coversCommonStretch() || c.noisy || p.pagesTroubled(c, out.at, c.reference+retainedIntervals*p.settings.interval) {
		return verdictRight, ""
	}
	histories := c.totalHistories()
	low, high := p.trueRange(histories, out, 0)
	edges := (p.edgeCount(histories, out.newest) + p.edgeCount(histories, out.newest.Add(-out.window[1]))) / max(1, out.window[0].Seconds())
	p.report.Promises.addSample(promiseStretch, relativeError(out.sum, low-edges, high+edges))
	if out.sum < low*(1-windowTolerance)-noise-edges || out.sum > high*(1+windowTolerance)+noise+edges {
		return verdictWrong, fmt.Sprintf("truth %.4g to %.4g over the stated window to the moment, %.4g at its edges", low, high, edges)
	}
	return verdictRight, ""
}

// edgeCount returns the greatest number of events on the wrong side of an edge between two scrapes. Interpolation counts evenly between them:
// of a rate that steps from r to s within an increment of length d it misses up to |s − r| d/4, with both step and edge in its middle.
func (p *player) edgeCount(histories []truthHistory, edge time.Time) float64 {
	low, high := math.Inf(1), 0.0
	step := p.settings.interval / 8
	for at := edge.Add(-p.settings.interval); !at.After(edge.Add(p.settings.interval + step)); at = at.Add(step) {
		rate := 0.0
		for _, h := range histories {
			rate += h.rateOver(at, step)
		}
		low, high = min(low, rate), max(high, rate)
	}
	return (high - low) * p.settings.interval.Seconds() / 4
}
