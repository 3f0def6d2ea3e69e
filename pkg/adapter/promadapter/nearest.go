// The hint at the nearest metric in an error for an unknown metric.

package promadapter

import "github.com/tachometer-metrics/tachometer/pkg/strict"

// suggestSimilarMetric returns a hint at a metric with a similar name on the resource (empty: external), or with this name elsewhere.
// The hint is empty if no metric qualifies.
func (s *CatalogSnapshot) suggestSimilarMetric(resource, name string) string {
	best, bestDistance := "", len(name)/3+1 // a larger distance makes it another word
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
			continue // the lengths alone exclude it
		}
		if d := strict.EditDistance(name, i.Metric); d < bestDistance {
			best, bestDistance = i.Metric, d
		}
	}
	if best == "" {
		return ""
	}
	return "; nearest: " + best
}

// maxComparedLength bounds the compared names, because the time grows with the square of the length.
const maxComparedLength = 100
