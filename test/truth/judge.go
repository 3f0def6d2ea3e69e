package truth

// The judge: the verdict on every answer.

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// verdict is the judgment on an answer.
type verdict int

// The verdicts.
const (
	verdictRight verdict = iota
	verdictRefused
	verdictWrong
)

// The promises, as fractions of the truth.
const (
	windowTolerance   = 0.10 // of a value, of the truth over the window that it states
	conservedMoving   = 0.10 // of a total, of the offered load, up to the second scrape after a move
	conservedSettled  = 0.05 // the same, from then on
	settledIntervals  = 2.2  // two scrapes of every pod, whose times shift by up to a 32nd
	retainedIntervals = 8    // how far beyond its window a value may depend on samples
)

// judgeAnswer sets the verdict of an answer. The caller holds the world's lock.
func (p *player) judgeAnswer(r *reader, a *adapterReplica, out *answer) {
	p.advanceCounts(out.at)
	switch {
	case out.err != nil:
		out.verdict, out.why = p.judgeError(r, a, out)
	case r.truth[0] == "none":
		out.verdict, out.why = verdictWrong, "no number can be right"
	case r.truth[0] == "any": // an expectation judges it
	case r.truth[0] == "gauge":
		out.verdict, out.why = p.judgeGauge(r, out)
	case r.truth[0] == "quantile":
		out.verdict, out.why = p.judgeQuantile(r, out)
	default:
		out.verdict, out.why = p.judgeRate(r, a, out)
	}
	p.report.countVerdict(p, r, out)
}

// familiesOf returns the families behind a reader's truth, with their services.
func (p *player) familiesOf(r *reader) (services []*service, families []*metricFamily) {
	if len(r.truth) < 2 {
		return nil, nil
	}
	for _, s := range p.services {
		f := s.findFamily(r.truth[1])
		subject := r.subject
		if r.kind == "service" {
			subject = p.selected[subject]
		}
		if f == nil || r.kind != "external" && r.kind != "namespace" && s.name != subject {
			continue
		}
		services, families = append(services, s), append(families, f)
	}
	return services, families
}

// trueRange is the range of the true total rate over the windows that an answer may mean.
func (p *player) trueRange(histories []truthHistory, out *answer, slack time.Duration) (low, high float64) {
	low, high = math.Inf(1), 0
	step := max(slack/4, 250*time.Millisecond)
	for end := out.oldest.Add(-slack); !end.After(out.newest.Add(step)); end = end.Add(step) {
		for _, w := range []time.Duration{out.window[0] - time.Second/2, out.window[0], out.window[1], out.window[1] + time.Second/2} {
			from := end.Add(-w)
			if end.After(out.at) {
				continue // nobody knows what comes
			}
			if from.Before(p.start) {
				from = p.start
			}
			if !end.After(from) {
				continue
			}
			rate := 0.0
			for _, h := range histories {
				rate += h.rateOver(end, end.Sub(from))
			}
			low, high = min(low, rate), max(high, rate)
		}
	}
	return low, high
}

// changingRange is the range of the true rate within the window that an answer states, over an interval each: where the load
// changes, a total over pods with windows of their own lies between the old rate and the new.
func (p *player) changingRange(histories []truthHistory, out *answer) (low, high float64) {
	low, high = math.Inf(1), 0
	step := p.settings.interval / 4
	for end := out.oldest.Add(-out.window[1] - p.settings.interval); end.Before(out.at.Add(step)); end = end.Add(step) {
		if end.After(out.at) { // the last interval may hold a change that the newest page shows
			end = out.at
		}
		rate := 0.0
		for _, h := range histories {
			rate += h.rateOver(end, p.settings.interval)
		}
		if end.Sub(p.start) > p.settings.interval {
			low, high = min(low, rate), max(high, rate)
		}
	}
	return low, high
}

// rateCase is an answer to a question for a rate, with what the judge needs to know of the world.
type rateCase struct {
	services  []*service
	families  []*metricFamily
	pods      int
	lastMove  time.Time     // of load between pods
	lastRate  time.Time     // when the offered load changed
	reference time.Duration // the longest window that the rule may use
	fixed     bool
	jump      float64 // the greatest jump of the counters together, in events
	offered   float64
	noisy     bool
}

func (p *player) describeRateCase(r *reader, a *adapterReplica) rateCase {
	c := rateCase{reference: p.settings.maxWindow, lastMove: p.start.Add(-time.Hour), lastRate: p.start.Add(-time.Hour)}
	c.services, c.families = p.familiesOf(r)
	if found := p.findWindow(r, a); found > 0 {
		c.reference, c.fixed = found, true
	}
	for i, s := range c.services {
		f := c.families[i]
		serving := s.servingPods()
		c.pods += len(serving)
		c.offered += f.rateAt(time.Now())
		c.noisy = c.noisy || f.poisson
		c.lastMove, c.lastRate = laterTime(c.lastMove, s.lastMove), laterTime(c.lastRate, f.rateChanged)
		if f.slope != 0 {
			c.lastRate = time.Now()
		}
		jump := 0.0
		if f.batch > 1 && !f.poisson {
			jump = f.batch
		}
		for _, pod := range serving {
			if pod.page.name == "cached" {
				jump = max(jump, f.rate/float64(len(serving))*pod.page.value.Seconds())
			}
		}
		for _, pod := range serving { // each of two pages begins and ends in the midst of a batch
			if f.batch > 1 && !f.poisson && time.Since(pod.moved) < c.reference+retainedIntervals*p.settings.interval {
				c.jump += jump
			}
		}
		c.jump += jump * math.Sqrt(float64(max(1, len(serving))))
	}
	return c
}

// totalHistories returns the counts of each family.
func (c rateCase) totalHistories() (out []truthHistory) {
	for _, f := range c.families {
		out = append(out, f.history)
	}
	return out
}

// findWindow returns the fixed window of a reader's rule, or 0 for auto.
func (p *player) findWindow(r *reader, a *adapterReplica) time.Duration {
	found, err := a.rules.External(r.metric)
	if r.kind != "external" {
		found, err = a.rules.Lookup("pods", r.metric)
	}
	if err != nil {
		return 0
	}
	if !found.HasWindow() {
		return found.Span(0)
	}
	return found.Window.Duration
}

func laterTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// judgeRate judges a rate: each pod's if load did not move, and the total.
func (p *player) judgeRate(r *reader, a *adapterReplica, out *answer) (verdict, string) {
	c := p.describeRateCase(r, a)
	if len(c.families) == 0 {
		panic(scenarioFault{Statement{Verb: "read", Args: []string{r.id}}, errNoFamily})
	}
	if age := out.at.Sub(out.oldest); age > p.greatestAge(r, a)+time.Second {
		return verdictWrong, fmt.Sprintf("age %v", age)
	}
	omitted := p.omittedHistories(r, out, c)
	horizon := c.reference + retainedIntervals*p.settings.interval
	steady := out.at.Sub(c.lastRate) > horizon
	if c.jump > 0 {
		return p.judgeBatches(out, c, steady, min(c.reference, out.at.Sub(a.started)), len(omitted) == 0)
	}
	histories := c.totalHistories()
	low, high := p.trueRange(histories, out, p.settings.interval)
	if out.at.Sub(c.lastRate) < out.window[1]+retainedIntervals*p.settings.interval {
		l, h := p.changingRange(histories, out)
		low, high = min(low, l), max(high, h)
	}
	if len(omitted) > 0 {
		_, missing := p.trueRange(omitted, out, p.settings.interval)
		low -= missing
	}
	noise := float64(c.pods*max(1, len(c.families[0].series))) / max(1, out.window[0].Seconds())
	if c.noisy { // events near the edges of windows, whose pods differ by up to an interval
		f := c.families[0]
		noise += 3 * math.Sqrt(max(1, f.batch)*c.offered*p.settings.interval.Seconds()) / max(1, out.window[0].Seconds())
	}
	loss := p.lostRate(c, out)
	if (out.sum < low*(1-windowTolerance)-noise-loss || out.sum > high*(1+windowTolerance)+noise) && !p.isPromQLRate(r, a, out, c) {
		return verdictWrong, fmt.Sprintf("truth %.4g to %.4g over the stated window", low, high)
	}
	// A pod's value has the counts of pods that left within the stated window, which a pause of its page makes longer than the rule's.
	if steady && out.at.Sub(c.lastMove) > max(horizon, out.window[1]+retainedIntervals*p.settings.interval) && len(omitted) == 0 {
		p.report.Promises.addSample(promiseWindow, relativeError(out.sum, low, high))
		if v, why := p.judgePods(r, out, c, noise); v != verdictRight && !p.isPromQLRate(r, a, out, c) {
			return v, why
		}
	}
	if len(omitted) == 0 && loss == 0 {
		if v, why := p.judgeStretch(out, c, noise); v != verdictRight {
			return v, why
		}
	}
	if steady && !c.noisy {
		return p.judgeConserved(r, out, c, noise+loss)
	}
	return verdictRight, ""
}

// lostRate is the rate of events that no page ever showed, since their pod ended without notice.
func (p *player) lostRate(c rateCase, out *answer) float64 {
	total := 0.0
	for i, s := range c.services {
		for _, l := range s.lost {
			if out.at.Sub(l.at) < out.window[1]+4*p.settings.interval {
				total += l.share * c.families[i].rate * p.settings.interval.Seconds() / max(1, out.window[0].Seconds())
			}
		}
	}
	return total
}

// relativeError returns the distance of a value from a range, as a fraction.
func relativeError(v, low, high float64) float64 {
	switch {
	case v < low:
		return (v - low) / max(low, 1e-9)
	case v > high:
		return (v - high) / max(high, 1e-9)
	default:
		return 0
	}
}

// judgePods judges each pod's rate, under a load that neither changed nor moved.
func (p *player) judgePods(r *reader, out *answer, c rateCase, noise float64) (verdict, string) {
	if r.kind != "pods" {
		return verdictRight, ""
	}
	for _, pod := range c.services[0].pods {
		v, ok := out.values[pod.name]
		if !ok || pod.counts[c.families[0]] == nil {
			continue
		}
		low, high := p.trueRange([]truthHistory{pod.counts[c.families[0]].history}, out, p.settings.interval)
		if v < low*(1-windowTolerance)-noise || v > high*(1+windowTolerance)+noise {
			return verdictWrong, fmt.Sprintf("%s: truth %.4g to %.4g", pod.name, low, high)
		}
	}
	return verdictRight, ""
}

// judgeBatches judges counters that grow in steps: within one jump of the longest window's value.
// A list that lacks pods may be lower.
func (p *player) judgeBatches(out *answer, c rateCase, steady bool, seen time.Duration, complete bool) (verdict, string) {
	if !steady || out.at.Sub(c.lastMove) < c.reference {
		return verdictRight, ""
	}
	jump := c.jump / max(1, seen.Seconds()-2*p.settings.interval.Seconds())
	if c.offered > 0 && !c.fixed && complete {
		p.report.Promises.addSample(promiseBatches, (out.sum-c.offered)/jump)
	}
	// What happened is the truth, and not what was offered: nobody serves it while no pod is ready.
	low, high := p.trueRange(c.totalHistories(), out, p.settings.interval)
	if c.noisy { // random batches, on pages that are cached
		jump += 3 * math.Sqrt(max(1, c.families[0].batch)*c.offered*p.settings.interval.Seconds()) / max(1, out.window[0].Seconds())
	}
	// At each edge of the window a pod shows up to one jump too much or too little, half a jump in the root mean square. The sum
	// over pods of any phases is within three standard deviations: 1.5 √n jumps, and in no case beyond n.
	jump *= min(1.5, math.Sqrt(float64(max(1, c.pods))))
	if limit := jump + windowTolerance*c.offered; out.sum > high+limit || complete && out.sum < low-limit {
		return verdictWrong, fmt.Sprintf("truth %.4g to %.4g, a jump is %.4g over %v", low, high, jump, seen)
	}
	return verdictRight, ""
}

// judgeConserved judges the total of a constant load while it moves between pods.
func (p *player) judgeConserved(r *reader, out *answer, c rateCase, noise float64) (verdict, string) {
	since := out.at.Sub(c.lastMove)
	horizon := c.reference + retainedIntervals*p.settings.interval
	counted := 0.0
	for _, f := range c.families {
		counted += f.history.rateOver(out.at, min(horizon, out.at.Sub(p.start)))
	}
	if len(p.omittedHistories(r, out, c)) > 0 && !p.omitsRunningPod(out, c) {
		return verdictRight, "" // a list without the pods that are down, as the autoscaler knows
	}
	if since > horizon || c.offered == 0 || counted < 0.99*c.offered || p.pagesTroubled(c, out.at, horizon) {
		return verdictRight, ""
	}
	promise, limit := promiseMoving, conservedMoving
	if since > time.Duration(settledIntervals*float64(p.settings.interval)) {
		promise, limit = promiseSettled, conservedSettled
	}
	if c.fixed {
		promise += promiseFixed
	}
	deviation := out.sum/c.offered - 1
	p.report.Promises.addSample(promise, deviation)
	if math.Abs(out.sum-c.offered) > limit*c.offered+noise {
		return verdictWrong, fmt.Sprintf("the total is not conserved: offered %.4g, %v after load moved, limit %.0f %%", c.offered, since, 100*limit)
	}
	return verdictRight, ""
}

// pagesTroubled reports whether a page was broken, or the adapter began, within the horizon.
func (p *player) pagesTroubled(c rateCase, now time.Time, horizon time.Duration) bool {
	for _, t := range p.troubles {
		if now.Sub(t.until) > horizon || !strings.HasPrefix(t.why, "page") && t.service != "" {
			continue
		}
		if t.service == "" && now.After(t.until) {
			continue
		}
		for _, s := range c.services {
			if t.service == "" || t.service == s.name {
				return true
			}
		}
	}
	return false
}
