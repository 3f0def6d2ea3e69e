package truth

// The judge of gauges and quantiles, and of the statements that expect something.

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// greatestAge returns the age up to which the reader's rule may serve a sample.
func (p *player) greatestAge(r *reader, a *adapterReplica) time.Duration {
	found, err := a.rules.External(r.metric)
	if r.kind != "external" {
		found, err = a.rules.Lookup("pods", r.metric)
	}
	if err != nil {
		return 5 * p.settings.interval
	}
	return found.MaxAge
}

// gaugeTotals returns the least and greatest total of a gauge that samples since a time can make: a pod that has run for some scrapes
// counts in both, a pod that began or ended since then in the greatest alone.
func (p *player) gaugeTotals(s *service, f *metricFamily, since time.Time) (low, high float64) {
	lowest, highest := f.valueSince(since, f.value)
	settled := time.Now().Add(-time.Duration(settledIntervals*float64(p.settings.interval)) - time.Second)
	for _, pod := range slices.Concat(s.pods, s.departed) {
		if pod.counts[f] == nil || !pod.running && pod.stopped.Before(since) {
			continue
		}
		high += highest
		if pod.running && !pod.deleting && pod.started.Before(settled) {
			low += lowest
		}
	}
	return low, high
}

// judgeGauge judges a gauge: each pod's, and the total of a complete answer.
func (p *player) judgeGauge(r *reader, out *answer) (verdict, string) {
	services, families := p.familiesOf(r)
	if len(families) == 0 {
		panic(scenarioFault{Statement{Verb: "read", Args: []string{r.id}}, errNoFamily})
	}
	age := p.greatestAge(r, p.replicas[out.replica])
	if out.at.Sub(out.oldest) > age+time.Second {
		return verdictWrong, fmt.Sprintf("age %v", out.at.Sub(out.oldest))
	}
	since := out.at.Add(-age - p.settings.interval) // of each pod a sample may be so old
	low, high := 0.0, 0.0
	for i, s := range services {
		l, h := p.gaugeTotals(s, families[i], since)
		low, high = low+l, high+h
	}
	slack := 0.002*math.Abs(high) + 2*families[0].wobble*float64(max(1, len(services[0].pods)))
	if r.kind == "pods" {
		one := families[0].value
		for name, v := range out.values {
			lowest, highest := families[0].valueSince(since, one)
			if v < lowest-slack || v > highest+slack {
				return verdictWrong, fmt.Sprintf("%s: truth %.4g", name, one)
			}
		}
		low = math.Inf(-1) // the list says which pods it has
	}
	if out.sum < low-slack || out.sum > high+slack {
		return verdictWrong, fmt.Sprintf("truth %.4g to %.4g", low, high)
	}
	return verdictRight, ""
}

// valueSince returns the range of a pod's gauge since a time.
func (f *metricFamily) valueSince(since time.Time, now float64) (low, high float64) {
	low, high = now, now
	for i, c := range f.changes {
		if i == len(f.changes)-1 || f.changes[i+1].at.After(since) {
			low, high = min(low, c.value), max(high, c.value)
		}
	}
	return low, high
}

// judgeQuantile judges a quantile: it lies in the buckets of the latencies within its window.
func (p *player) judgeQuantile(r *reader, out *answer) (verdict, string) {
	_, families := p.familiesOf(r)
	if len(families) == 0 {
		panic(scenarioFault{Statement{Verb: "read", Args: []string{r.id}}, errNoFamily})
	}
	f := families[0]
	low, high := f.valueSince(out.oldest.Add(-out.window[1]-2*p.settings.interval), f.latency)
	low, high = bucketBounds(low)[0], bucketBounds(high)[1]
	for name, v := range out.values {
		if v < low || v > high {
			return verdictWrong, fmt.Sprintf("%s: truth %.4g to %.4g", name, low, high)
		}
	}
	return verdictRight, ""
}

// emptyWindow is the window of a quantile's error for want of events.
var emptyWindow = regexp.MustCompile(`\(no events in ([0-9hms]+)\)`)

// listEventHistories returns the events that a read of families is about: of the serving pods in a list, else of all pods, also of those that are gone.
func listEventHistories(r *reader, services []*service, families []*metricFamily) (histories []truthHistory) {
	for _, f := range families {
		if r.kind != "pods" {
			histories = append(histories, f.history)
			continue
		}
		for _, s := range services {
			for _, pod := range s.servingPods() {
				if counts := pod.counts[f]; counts != nil {
					histories = append(histories, counts.history)
				}
			}
		}
	}
	return histories
}

// hadNoEvents reports whether an error says that there were no events in a window, and there were none until a page of the last intervals.
func (p *player) hadNoEvents(text string, histories []truthHistory, now time.Time) bool {
	found := emptyWindow.FindStringSubmatch(text)
	if found == nil {
		return false
	}
	window, err := time.ParseDuration(found[1])
	if err != nil || window < p.settings.interval {
		return false
	}
	window -= time.Second / 2 // it is rounded
	step := p.settings.interval / 8
	for end := now.Add(-time.Duration(settledIntervals * float64(p.settings.interval))); !end.After(now); end = end.Add(step) {
		events := 0.0
		for _, h := range histories {
			events += h.countAt(end) - h.countAt(end.Add(-window))
		}
		if events < 1 { // a page has whole events
			return true
		}
	}
	return false
}

func bucketBounds(latency float64) [2]float64 {
	i := sort.SearchFloat64s(latencyBounds, latency)
	bounds := [2]float64{0, latencyBounds[min(i, len(latencyBounds)-1)]}
	if i > 0 {
		bounds[0] = latencyBounds[i-1]
	}
	return bounds
}

// judgeExpectations checks the statements that expect something, after the end.
func (p *player) judgeExpectations() {
	expectsFault := false
	for _, st := range p.expects {
		if st.Args[0] == "load" {
			expectsFault = true
			if p.loadErr == nil || !strings.Contains(p.loadErr.Error(), st.Text) {
				p.report.failExpectation(st, fmt.Sprintf("the configuration gives the fault: %v", p.loadErr))
			}
			continue
		}
		if st.Args[1] == "calm" {
			p.judgeDeviation(st)
			continue
		}
		if st.Args[1] == "step" {
			p.judgeStep(st)
			continue
		}
		p.judgeExpectation(st)
	}
	if p.loadErr != nil && !expectsFault {
		p.report.Fault = p.loadErr
	}
}

// judgeStep measures how long after `from` a reader shows the value `low`; the scenario fails if it is later than `to`.
func (p *player) judgeStep(st Statement) {
	from := p.start.Add(st.parseDuration("from", 0))
	for _, r := range p.readers {
		for _, a := range r.answers {
			if r.id != st.Args[0] || a.at.Before(from) || a.err != nil || a.sum < st.parseNumber("low", 0) {
				continue
			}
			p.report.Promises.addSample(promiseStep, a.at.Sub(from).Seconds())
			if a.at.Sub(p.start) > st.parseDuration("to", p.length) {
				p.report.failExpectation(st, "shown after "+a.at.Sub(from).String())
			}
			return
		}
	}
	p.report.failExpectation(st, "never shown")
}

// judgeDeviation compares the standard deviation of a reader's totals with that of another reader, `than`, whose rule has the longest
// window: at most `most` times.
func (p *player) judgeDeviation(st Statement) {
	ratio := p.totalDeviation(st.Args[0], st) / p.totalDeviation(st.optionOr("than", ""), st)
	p.report.Promises.addSample(promiseCalm, ratio)
	if !(ratio <= st.parseNumber("most", 1.15)) {
		p.report.failExpectation(st, fmt.Sprintf("the standard deviation is %.2f times the longest window's", ratio))
	}
}

// totalDeviation returns the standard deviation of a reader's totals; NaN without any.
func (p *player) totalDeviation(id string, st Statement) float64 {
	var served []float64
	for _, r := range p.readers {
		for _, a := range r.answers {
			if r.id == id && a.err == nil && a.at.Sub(p.start) > st.parseDuration("from", 0) {
				served = append(served, a.sum)
			}
		}
	}
	return standardDeviation(served)
}

func standardDeviation(values []float64) float64 {
	sum, squares, n := 0.0, 0.0, float64(len(values))
	for _, v := range values {
		sum, squares = sum+v, squares+v*v
	}
	return math.Sqrt(squares/n - sum*sum/n/n)
}

// judgeExpectation checks one expectation against the answers of its reader.
func (p *player) judgeExpectation(st Statement) {
	from, to := st.parseDuration("from", 0), st.parseDuration("to", p.length)
	met, failed := 0, ""
	for _, r := range p.readers {
		if r.id != st.Args[0] {
			continue
		}
		for _, a := range r.answers {
			if at := a.at.Sub(p.start); at < from || at > to {
				continue
			}
			if a.meetsExpectation(st) {
				met++
			} else if failed == "" {
				failed = fmt.Sprintf("%v: %s %s", a.at.Sub(p.start), a, a.why)
			}
		}
	}
	if failed != "" && st.Args[1] != "some" && st.Args[1] != "wrong" || met == 0 {
		p.report.failExpectation(st, failed)
	}
}

// meetsExpectation reports whether an answer is as a statement expects.
func (a answer) meetsExpectation(st Statement) bool {
	switch st.Args[1] {
	case "ok": // a right number
		return a.err == nil && a.verdict == verdictRight
	case "refused", "some": // an error with these words
		return a.err != nil && strings.Contains(a.err.Error(), st.Text)
	case "never": // no error with these words
		return a.err == nil || !strings.Contains(a.err.Error(), st.Text)
	case "wrong": // a limit that is written down
		return a.verdict == verdictWrong
	case "between":
		return a.err == nil && a.sum >= st.parseNumber("low", math.Inf(-1)) && a.sum <= st.parseNumber("high", math.Inf(1))
	default: // a number
		want, within := st.parseArgument(st.Args[1]), st.parseNumber("within", windowTolerance)
		return a.err == nil && math.Abs(a.sum-want) <= within*math.Abs(want)+1e-9
	}
}
