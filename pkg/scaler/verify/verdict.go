package verify

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file compares results with the thresholds of the spec.

// readinessOK is the readiness of a ready pod.
const readinessOK = "ok"

// minLatencyDifference always passes, whatever the ratio to old pods: at such latencies a ratio measures the network and the scheduler of
// the machine.
const minLatencyDifference = 5 * time.Millisecond

func allPassed(all []Verdict) bool {
	return !slices.ContainsFunc(all, func(v Verdict) bool { return !v.Passed })
}

// decideReadiness passes if every pod with a readiness address is ready.
func decideReadiness(pods []PodReport) Verdict {
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
		v.Got += " (" + formatCauses(causes) + ")"
	}
	return v
}

// decideThresholds compares the responses with the thresholds.
func (r *podVerification) decideThresholds(report *Report) []Verdict {
	all := []Verdict{r.decideSuccess("success", &report.New), r.decideWorstPod(report.Pods)}
	for _, l := range r.spec.latencyLimits() {
		if l.maximum.Duration > 0 {
			all = append(all, decideLatency(l.name, &report.New, l.percentile(&report.New), l.maximum.Duration, ""))
		}
	}
	if r.spec.Slower > 0 {
		all = append(all, r.decideSlowdown(report)...)
	}
	return all
}

func (r *podVerification) decideSuccess(name string, s *Summary) Verdict {
	got := fmt.Sprintf("%s of %d", formatShare(s.Success), s.Requests)
	if s.Failed > 0 {
		got += " (" + formatCauses(s.Causes) + ")"
	}
	return Verdict{What: name, Got: got, Limit: "at least " + formatShare(r.spec.Success), Passed: s.Requests > 0 && s.Success >= r.spec.Success}
}

// decideWorstPod compares the new pod with the lowest success with the threshold, and counts the other pods below it: a single bad pod
// among many does not show in the total.
func (r *podVerification) decideWorstPod(pods []PodReport) Verdict {
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
	v := r.decideSuccess("success of each pod", &worst.Summary)
	if v.Got += ", pod " + worst.Name; bad > 1 {
		v.Got += fmt.Sprintf(" and %d more", bad-1)
	}
	return v
}

// decideLatency compares a latency with its limit. Without responses the latency is unknown, and does not pass.
func decideLatency(name string, s *Summary, got, limit time.Duration, comparison string) Verdict {
	v := Verdict{What: name, Got: formatLatency(got), Limit: "at most " + limit.String() + comparison, Passed: got <= limit}
	if !s.hasLatencies() {
		v.Got, v.Passed = "no answers", false
	}
	return v
}

// decideSlowdown compares p50 and p95 with the old pods'. Without measured old pods it passes, and the verdict says so: the new pods are
// not at fault.
func (r *podVerification) decideSlowdown(report *Report) []Verdict {
	if !report.Old.hasLatencies() {
		got := "no ready old pods"
		if len(r.oldPods) > 0 {
			got = "no answers of old pods"
		}
		return []Verdict{{What: "slower", Got: "not compared: " + got, Limit: fmt.Sprintf("at most %v times", r.spec.Slower), Passed: true}}
	}
	var all []Verdict
	for _, l := range r.spec.latencyLimits()[:2] {
		theirs := l.percentile(&report.Old)
		limit := roundLatency(max(time.Duration(float64(theirs)*r.spec.Slower), theirs+minLatencyDifference))
		all = append(all, decideLatency(l.name+" beside old pods", &report.New, l.percentile(&report.New), limit, ", theirs "+formatLatency(theirs)))
	}
	return all
}

// hasLatencies reports whether a latency was measured: Max is at least a microsecond then.
func (s *Summary) hasLatencies() bool { return s.Max.Duration > 0 }

// formatShare formats a share as a percentage, rounded down, so that only a full share is 100%.
func formatShare(share float64) string {
	const slack = 1e-9 // 0.57 is a little less than 57 hundredths
	return strconv.FormatFloat(math.Floor(share*1e4+slack)/100, 'f', -1, 64) + "%"
}

// formatLatency formats a latency with the measured digits.
func formatLatency(d time.Duration) string { return roundLatency(d).String() }
