package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

func (c *chain) formatChain(set settings) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s\n\n", set.regenerateCommand(fmt.Sprintf(`-parts chain -runs %d -svg "$PWD/docs/%s"`, set.runs, filepath.Base(set.picture))))
	fmt.Fprintf(&w, `The sample service on a real node under %d requests/s, for which its autoscaler keeps %d pods (%d requests/s a pod). The load steps to %d,
which needs %d pods, at any phase of the HPA controller's real period of %v. *Right*: from the step until the metric of all pods together is within
10 %% of the load. *Desired*: until the autoscaler asks for %d pods. *Ready*: until as many are ready, checked every %v. Load goes to ready
pods. As shipped, the sample waits up to 4 s at its start and is first probed after 5 s; its pods request 20m of a processor instead of 100m, because
the node has two. *Shipped behavior* is `+"`manifests/sample/overlays/hpa-requests`"+`; *default* is a manifest without behavior.

| behavior | run | right, s | ≥ %d desired, s | ≥ %d ready, s | requests failed |
| --- | --- | --- | --- | --- | --- |
`, low, fewPods, perPod, high, manyPods, hpaPeriod, enough, lookEvery, enough, enough)
	for _, behavior := range []string{shippedBehavior, defaultBehavior} {
		var right, desired, ready figures
		for i, r := range c.chainRunsWith(behavior) {
			fmt.Fprintf(&w, "| %s | %d | %.1f | %.1f | %.1f | %d of %d |\n", behavior, i+1, r.right.Seconds(), r.desired.Seconds(), r.ready.Seconds(), r.failed, r.sent)
			right, desired, ready = append(right, r.right), append(desired, r.desired), append(ready, r.ready)
		}
		median := func(f figures) time.Duration { return f.nearestFigureRank(0.5) }
		fmt.Fprintf(&w, "| %s | median | %.1f | %.1f | %.1f |  |\n", behavior, median(right).Seconds(), median(desired).Seconds(), median(ready).Seconds())
	}
	fmt.Fprintf(&w, "\nThe run with the median time of each:\n\n![load, metric, desired and ready pods over time](%s)\n", filepath.Base(set.picture))
	return w.String()
}

// regenerateCommand returns the sentence with the command that repeats the measurement. It names the adapter unless it is this
// repository's.
func (s settings) regenerateCommand(args string) string {
	if strings.HasSuffix(s.adapter, "/"+shipped) {
		return "Regenerate: `go -C test run ./bench/cluster " + args + ` -report "$PWD/docs/benchmarks.md"` + "`."
	}
	return fmt.Sprintf("Regenerate: `go -C test run ./bench/cluster %s -adapter %s -metric %s`. **The adapter is not ours** but that of these manifests.",
		args, s.adapter, s.metric)
}
