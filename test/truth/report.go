package truth

// Reports: the verdicts of a scenario, and the table of promises.

import (
	"fmt"
	"io"
	"math"
	"sort"
	"strings"
	"sync"
)

// Report is the outcome of a scenario.
type Report struct {
	// Fault is an error of the scenario, or of the configuration where none is expected.
	Fault error
	// Right, Refused and Wrong count the answers.
	Right, Refused, Wrong int
	// Findings are the first wrong answers of each reader.
	Findings []string
	// Failures are expectations that were not met, and scalings in the wrong direction.
	Failures []string
	Promises *Promises

	shown map[string]int
}

// Failed reports whether something is wrong.
func (r Report) Failed() bool { return r.Fault != nil || r.Wrong > 0 || len(r.Failures) > 0 }

// describeFirst returns the reader and the kind of the first wrong answer or failure, without numbers.
func (r Report) describeFirst() string {
	for _, line := range append(r.Findings, r.Failures...) {
		word, _, _ := strings.Cut(line, " ")
		why := line[strings.LastIndex(line, ": ")+1:]
		return word + strings.Map(func(c rune) rune {
			if c >= '0' && c <= '9' || c == '.' {
				return -1
			}
			return c
		}, why)
	}
	return ""
}

// expectsWrongAnswers reports whether a scenario expects wrong answers of a reader, as a limit that is written down.
func (p *player) expectsWrongAnswers(r *reader) bool {
	for _, st := range p.expects {
		if st.Args[0] == r.id && st.Args[1] == "wrong" {
			return true
		}
	}
	return false
}

// String returns the report's lines.
func (r Report) String() string {
	out := fmt.Sprintf("%d right, %d refused, %d WRONG\n", r.Right, r.Refused, r.Wrong)
	if r.Fault != nil {
		out += fmt.Sprintf("fault: %v\n", r.Fault)
	}
	for _, line := range r.Findings {
		out += "WRONG " + line + "\n"
	}
	for _, line := range r.Failures {
		out += "FAILED " + line + "\n"
	}
	return out
}

// shownFindings is the number of wrong answers of a reader that a report shows.
const shownFindings = 1

func (r *Report) countVerdict(p *player, by *reader, a *answer) {
	switch a.verdict {
	case verdictRight:
		r.Right++
	case verdictRefused:
		r.Refused++
	case verdictWrong:
		if p.expectsWrongAnswers(by) {
			return
		}
		r.Wrong++
		if r.shown == nil {
			r.shown = map[string]int{}
		}
		if r.shown[by.id]++; r.shown[by.id] <= shownFindings {
			r.Findings = append(r.Findings, fmt.Sprintf("%s at %v: %s: %s", by.id, a.at.Sub(p.start), a, a.why))
		}
	}
	r.Promises.countAnswer(a)
}

func (r *Report) failExpectation(st Statement, got string) {
	if got == "" {
		got = "no answer in that time"
	}
	r.Failures = append(r.Failures, fmt.Sprintf("%s: %s", st, got))
}

// The promises whose figures are measured.
const (
	promiseWindow  = "served total of a steady load, of the truth over the stated window"
	promiseStretch = "total of a list with one timestamp, of the truth over exactly the stated window, beyond its edges"
	promiseMoving  = "conserved total, up to the second scrape after a move"
	promiseSettled = "conserved total, from the second scrape after a move on"
	promiseFixed   = ", fixed windows"
	promiseBatches = "counts in batches: auto, distance from the longest window's value in jumps"
	promiseCalm    = "batches spread over pods: standard deviation, as a multiple of the longest window's"
	promiseStep    = "step 40 → 400 over 4 pods: seconds to 90 %"
)

var promiseLimits = []struct{ name, limit string }{
	{promiseWindow, "±10 %"},
	{promiseStretch, "±10 %"},
	{promiseMoving, "±10 %"},
	{promiseMoving + promiseFixed, "±10 %"},
	{promiseSettled, "±5 %"},
	{promiseSettled + promiseFixed, "±5 %"},
	{promiseBatches, "±1"},
	{promiseCalm, "≤ 1.15"},
	{promiseStep, "≤ 3.5 (p95)"},
}

// Promises are the figures of all promises. It is safe for concurrent use.
type Promises struct {
	mu                    sync.Mutex // guards the fields below
	samples               map[string][]float64
	right, refused, wrong int
}

func newPromises() *Promises { return &Promises{samples: map[string][]float64{}} }

// NewPromises returns an empty table.
func NewPromises() *Promises { return newPromises() }

func (p *Promises) addSample(promise string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples[promise] = append(p.samples[promise], v)
}

func (p *Promises) countAnswer(a *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch a.verdict {
	case verdictRight:
		p.right++
	case verdictRefused:
		p.refused++
	case verdictWrong:
		p.wrong++
	}
}

// AddAll adds the figures of another table. The table keeps at most a million samples of a promise: the most distant of them.
func (p *Promises) AddAll(o *Promises) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, samples := range o.samples {
		p.samples[name] = append(p.samples[name], samples...)
	}
	p.right, p.refused, p.wrong = p.right+o.right, p.refused+o.refused, p.wrong+o.wrong
}

// WriteTable writes the table of promises in Markdown.
func (p *Promises) WriteTable(w io.Writer, scenarios int, seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(w, "%d scenarios from seed %d: %d answers right, %d refused with a reason, %d WRONG.\n\n", scenarios, seed, p.right, p.refused, p.wrong)
	fmt.Fprintln(w, "| promise | limit | lowest | highest | mean distance | 99 % within (step: 95 %) | answers |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- |")
	for _, l := range promiseLimits {
		samples := p.samples[l.name]
		if len(samples) == 0 {
			fmt.Fprintf(w, "| %s | %s | | | | | 0 |\n", l.name, l.limit)
			continue
		}
		distances, low, high, sum := make([]float64, len(samples)), math.Inf(1), math.Inf(-1), 0.0
		for i, v := range samples {
			distances[i] = math.Abs(v)
			low, high, sum = min(low, v), max(high, v), sum+math.Abs(v)
		}
		sort.Float64s(distances)
		most := len(samples) * 99 / 100
		if l.name == promiseStep {
			most = len(samples) * 95 / 100
		}
		show := func(v float64) string { return fmt.Sprintf("%+.1f %%", 100*v) }
		if l.name == promiseBatches || l.name == promiseCalm || l.name == promiseStep {
			show = func(v float64) string { return fmt.Sprintf("%.2f", v) }
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %d |\n", l.name, l.limit, show(low), show(high),
			show(sum/float64(len(samples))), show(distances[most]), len(samples))
	}
}
