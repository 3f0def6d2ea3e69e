package promadapter

// hint names the nearest metric of the resource (empty: external), if one is near, or where else there is such a metric.
func (s *Set) hint(resource, name string) string {
	best, bestDistance := "", len(name)/3+1 // farther away it is another word
	for _, i := range s.infos {
		if i.Metric == name {
			if i.External {
				return "; it is an external metric"
			}
			return "; it is a metric of " + i.Resource
		}
		if i.Resource != resource || len(name) > maxNearest || len(i.Metric) > maxNearest {
			continue
		}
		if abs(len(i.Metric)-len(name)) >= bestDistance {
			continue // cheaper than to compare
		}
		if d := distance(name, i.Metric); d < bestDistance {
			best, bestDistance = i.Metric, d
		}
	}
	if best == "" {
		return ""
	}
	return "; nearest: " + best
}

// maxNearest bounds the names that are compared: the effort grows with the square.
const maxNearest = 100

func abs(n int) int { return max(n, -n) }

// distance is Levenshtein's: the characters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
