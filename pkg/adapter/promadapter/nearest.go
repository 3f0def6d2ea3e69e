package promadapter

import "github.com/tachometer-metrics/tachometer/pkg/adapter/rule"

// suggestMetric names the nearest metric of the resource (empty: external), if one is near, or where else there is such a metric.
func (s *RuleSnapshot) suggestMetric(resource, name string) string {
	best, bestDistance := "", len(name)/3+1 // farther away it is another word
	for _, i := range s.infos {
		if i.Metric == name {
			if i.External {
				return "; it is an external metric"
			}
			return "; it is a metric of " + i.Resource
		}
		if i.Resource != resource || len(name) > maxComparedLength || len(i.Metric) > maxComparedLength {
			continue
		}
		if max(len(i.Metric)-len(name), len(name)-len(i.Metric)) >= bestDistance {
			continue // cheaper than to compare
		}
		if d := rule.EditDistance(name, i.Metric); d < bestDistance {
			best, bestDistance = i.Metric, d
		}
	}
	if best == "" {
		return ""
	}
	return "; nearest: " + best
}

// maxComparedLength bounds the names that are compared: the effort grows with the square.
const maxComparedLength = 100
