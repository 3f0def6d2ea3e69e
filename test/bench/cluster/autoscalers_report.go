// The section of the report on many autoscalers.

package main

import (
	"fmt"
	"strings"
)

func (s *setting) formatAutoscalers(seen *autoscalersUsage) string {
	var w strings.Builder
	a := seen.audit
	fmt.Fprintf(&w, `The real API server and HPA controller with a period of %v, and `+"`--kube-api-qps=%d`"+` (the default permits 20 autoscalers a second with any adapter).
%d autoscalers on Deployments of %d pods each, without nodes; a scrape of each pod every %v. Everything shares this machine, with %.2f processors
busy, for %.0f s.

| | |
| --- | --- |
| reads of metrics | %d, %.1f a second; %d with an error |
| time between two of one autoscaler, s | median %.2f, p95 %.2f, greatest %.2f |
| a read, at the API server, ms | median %.1f, p99 %.1f |
| autoscalers with a value at the end; with the right pods | %d, %d |
| adapter: processors | %.2f |
| adapter: most memory | %.0f MB resident |
| adapter: scrapes | %.0f; %.0f left out |
| adapter: requests to the API server | %d, %.2f a second: %s |
`, hpaPeriod, s.qps, s.count, podsEach, s.interval, seen.busy, seen.elapsed.Seconds(),
		a.reads, float64(a.reads)/seen.elapsed.Seconds(), a.refused,
		a.periods.nearestFigureRank(0.5).Seconds(), a.periods.nearestFigureRank(0.95).Seconds(), a.periods.nearestFigureRank(1).Seconds(),
		1000*a.latency.nearestFigureRank(0.5).Seconds(), 1000*a.latency.nearestFigureRank(0.99).Seconds(),
		seen.active, seen.steady, seen.cpu.Seconds()/seen.elapsed.Seconds(), float64(seen.resident)/1e6,
		seen.scrapes+seen.missed, seen.missed, a.requests, float64(a.requests)/seen.elapsed.Seconds(), a.listAuditedRequestKinds())
	if a.reason != "" {
		fmt.Fprintf(&w, "\nThe last error: %s.\n", a.reason)
	}
	return w.String()
}
