// This file compares results with the thresholds of the spec.

package verify

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readinessOK is the readiness of a ready pod.
const readinessOK = "ok"

// minLatencyDifference always passes, with any ratio to old pods: at such latencies a ratio measures the network and the scheduler of
// the machine.
const minLatencyDifference = 5 * time.Millisecond

func allVerdictsPassed(all []Verdict) bool {
	return !slices.ContainsFunc(all, func(v Verdict) bool { return !v.Passed })
}

// decideReadinessVerdict passes if every pod with a readiness address is ready.
func decideReadinessVerdict(pods []PodReport) Verdict {
	causes := map[string]int{}
	asked, failed := 0, 0
	for i := range pods {
		switch answer := pods[i].Readiness; {
		case strings.HasPrefix(answer, "skipped"):
		case answer == readinessOK:
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
		v.Got += " (" + formatRequestCauses(causes) + ")"
	}
	return v
}

// decideThresholdVerdicts compares the responses with the thresholds.
func (r *podVerification) decideThresholdVerdicts(report *Report) []Verdict {
	all := []Verdict{r.decideSuccessVerdict("success", &report.New), r.decideWorstPodVerdict(report.Pods)}
	for _, l := range r.spec.specLatencyLimits() {
		if l.maximum.Duration > 0 {
			all = append(all, decideLatencyVerdict(l.name, &report.New, l.percentile(&report.New), l.maximum.Duration, ""))
		}
	}
	if r.spec.Slower > 0 {
		all = append(all, r.decideSlowdownVerdicts(report)...)
	}
	return all
}

func (r *podVerification) decideSuccessVerdict(name string, s *Summary) Verdict {
	got := fmt.Sprintf("%s of %d", formatRequestShare(s.Success), s.Requests)
	if s.Failed > 0 {
		got += " (" + formatRequestCauses(s.Causes) + ")"
	}
	return Verdict{What: name, Got: got, Limit: "at least " + formatRequestShare(r.spec.Success), Passed: s.Requests > 0 && s.Success >= r.spec.Success}
}

// decideWorstPodVerdict compares the new pod with the lowest success with the threshold, and counts the other pods below it: a single bad pod
// among many does not show in the total.
func (r *podVerification) decideWorstPodVerdict(pods []PodReport) Verdict {
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
	v := r.decideSuccessVerdict("success of each pod", &worst.Summary)
	if v.Got += ", pod " + worst.Name; bad > 1 {
		v.Got += fmt.Sprintf(" and %d more", bad-1)
	}
	return v
}

// decideLatencyVerdict compares a latency with its limit. Without responses the latency is unknown, and does not pass.
func decideLatencyVerdict(name string, s *Summary, got, limit time.Duration, comparison string) Verdict {
	v := Verdict{What: name, Got: formatRequestLatency(got), Limit: "at most " + limit.String() + comparison, Passed: got <= limit}
	if !s.hasRequestLatencies() {
		v.Got, v.Passed = "no answers", false
	}
	return v
}

// decideSlowdownVerdicts compares p50 and p95 with the old pods'. Without measured old pods it passes, and the verdict says so: the new pods are
// not at fault.
func (r *podVerification) decideSlowdownVerdicts(report *Report) []Verdict {
	if !report.Old.hasRequestLatencies() {
		got := "no ready old pods"
		if len(r.oldPods) > 0 {
			got = "no answers of old pods"
		}
		return []Verdict{{What: "slower", Got: "not compared: " + got, Limit: fmt.Sprintf("at most %v times", r.spec.Slower), Passed: true}}
	}
	var all []Verdict
	for _, l := range r.spec.specLatencyLimits()[:2] {
		theirs := l.percentile(&report.Old)
		limit := roundRequestLatency(max(time.Duration(float64(theirs)*r.spec.Slower), theirs+minLatencyDifference))
		all = append(all, decideLatencyVerdict(l.name+" beside old pods", &report.New, l.percentile(&report.New), limit, ", theirs "+formatRequestLatency(theirs)))
	}
	return all
}

// hasRequestLatencies reports whether a latency was measured: Max is at least a microsecond then.
func (s *Summary) hasRequestLatencies() bool { return s.Max.Duration > 0 }

// formatRequestShare formats a share as a percentage, rounded down, so that only a full share is 100%.
func formatRequestShare(share float64) string {
	const slack = 1e-9 // 0.57 is a little less than 57 hundredths
	return strconv.FormatFloat(math.Floor(share*1e4+slack)/100, 'f', -1, 64) + "%"
}

// formatRequestLatency formats a latency with the measured digits.
func formatRequestLatency(d time.Duration) string { return roundRequestLatency(d).String() }
