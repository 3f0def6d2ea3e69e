// The section of the report on the chain.

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

func (c *chain) formatChain(set settings) string {
	var w strings.Builder
	fmt.Fprint(&w, set.describeForeignAdapter())
	fmt.Fprintf(&w, `The sample's autoscaler keeps %d pods for %d requests/s. The load steps to %d, which needs %d pods, at any phase of the HPA controller's period of
%v. *Right*: the total is within 10 %% of the load; *desired*: %d pods are asked for. The sample waits up to 4 s at its start and is first probed after
5 s. *Shipped behavior*: `+"`manifests/sample/overlays/hpa-requests`"+`. Median, and range of all runs.

| behavior | runs | right, s | ≥ %d desired, s | ≥ %d ready, s | requests failed |
| --- | --- | --- | --- | --- | --- |
`, fewPods, low, high, manyPods, hpaPeriod, enough, enough, enough)
	for _, behavior := range c.behaviors {
		runs := c.chainRunsWith(behavior)
		var right, desired, ready figures
		failed, sent := 0, 0
		for _, r := range runs {
			right, desired, ready = append(right, r.right), append(desired, r.desired), append(ready, r.ready)
			failed, sent = failed+r.failed, sent+r.sent
		}
		fmt.Fprintf(&w, "| %s | %d | %s | %s | %s | %d of %d |\n", behavior, len(runs),
			right.formatFigureRange(), desired.formatFigureRange(), ready.formatFigureRange(), failed, sent)
	}
	fmt.Fprintf(&w, "\nThe median run of each:\n\n![load, metric, desired and ready pods over time](%s)\n", filepath.Base(set.picture))
	return w.String()
}

// describeForeignAdapter returns a paragraph that names the adapter, unless it is this repository's.
func (s settings) describeForeignAdapter() string {
	if isShippedAdapter(s.adapter) {
		return ""
	}
	return fmt.Sprintf("**The adapter is not ours** but that of the manifests in %s; the metric is %s.\n\n", s.adapter, s.metric)
}
