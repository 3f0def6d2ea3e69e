package verify

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readyOK is the readiness of a pod that answered well.
const readyOK = "ok"

// leastDifference is what pods may be slower than old ones whatever the factor: at such latencies it judges the network and the
// scheduler of the machine.
const leastDifference = 5 * time.Millisecond

func passed(all []Verdict) bool {
	return !slices.ContainsFunc(all, func(v Verdict) bool { return !v.Passed })
}

// judgeReadiness wants every pod that has a readiness address to have answered.
func judgeReadiness(pods []PodReport) Verdict {
	causes := map[string]int{}
	asked, failed := 0, 0
	for i := range pods {
		switch answer := pods[i].Readiness; {
		case strings.HasPrefix(answer, "skipped"):
		case answer == readyOK:
			asked++
		default:
			asked++
			failed++
			causes[answer]++
		}
	}
	v := Verdict{What: "readiness", Got: fmt.Sprintf("%d of %d pods", asked-failed, asked), Limit: "all", Passed: failed == 0}
	switch {
	case asked == 0:
		v.Got = "nothing to ask"
	case failed > 0:
		v.Got += " (" + countsOf(causes) + ")"
	}
	return v
}

// judge holds the answers against the thresholds.
func (r *run) judge(report *Report) []Verdict {
	all := []Verdict{r.judgeSuccess("success", &report.New), r.judgeWorst(report.Pods)}
	for _, l := range r.spec.latencies() {
		if l.most.Duration > 0 {
			all = append(all, atMost(l.name, &report.New, l.of(&report.New), l.most.Duration, ""))
		}
	}
	if r.spec.Slower > 0 {
		all = append(all, r.compare(report)...)
	}
	return all
}

func (r *run) judgeSuccess(what string, s *Summary) Verdict {
	got := fmt.Sprintf("%s of %d", percent(s.Success), s.Requests)
	if s.Failed > 0 {
		got += " (" + countsOf(s.Causes) + ")"
	}
	return Verdict{What: what, Got: got, Limit: "at least " + percent(r.spec.Success), Passed: s.Requests > 0 && s.Success >= r.spec.Success}
}

// judgeWorst judges the new pod with the fewest good answers, and says how many others are not good enough: one bad pod among
// many does not show in the whole.
func (r *run) judgeWorst(pods []PodReport) Verdict {
	var worst *PodReport
	bad := 0
	for i := range pods {
		p := &pods[i]
		if p.Old {
			continue
		}
		if worst == nil || p.Success < worst.Success {
			worst = p
		}
		if p.Success < r.spec.Success {
			bad++
		}
	}
	v := r.judgeSuccess("success of each pod", &worst.Summary)
	if v.Got += ", pod " + worst.Name; bad > 1 {
		v.Got += fmt.Sprintf(" and %d more", bad-1)
	}
	return v
}

// atMost judges a latency. Of no answers there is none, and what is not known does not pass.
func atMost(what string, s *Summary, got, most time.Duration, of string) Verdict {
	v := Verdict{What: what, Got: short(got), Limit: "at most " + most.String() + of, Passed: got <= most}
	if !s.timed() {
		v.Got, v.Passed = "no answers", false
	}
	return v
}

// compare judges p50 and p95 by those of the old pods. Without old ones there is nothing to compare with, which is said and is
// no fault of the new ones.
func (r *run) compare(report *Report) []Verdict {
	if !report.Old.timed() {
		got := "no ready old pods"
		if len(r.old) > 0 {
			got = "no answers of old pods"
		}
		return []Verdict{{What: "slower", Got: "not compared: " + got, Limit: fmt.Sprintf("at most %v times", r.spec.Slower), Passed: true}}
	}
	var all []Verdict
	for _, l := range r.spec.latencies()[:2] {
		theirs := l.of(&report.Old)
		most := digits(max(time.Duration(float64(theirs)*r.spec.Slower), theirs+leastDifference))
		all = append(all, atMost(l.name+" beside old pods", &report.New, l.of(&report.New), most, ", theirs "+short(theirs)))
	}
	return all
}

// timed tells whether there are latencies: Max is at least a microsecond then.
func (s *Summary) timed() bool { return s.Max.Duration > 0 }

// percent writes a share, never as more than it is: 100% is all.
func percent(share float64) string {
	const slack = 1e-9 // 0.57 is a little less than 57 hundredths
	return strconv.FormatFloat(math.Floor(share*1e4+slack)/100, 'f', -1, 64) + "%"
}

// short is a latency in the digits that are measured.
func short(d time.Duration) string { return digits(d).String() }
