package rule

import (
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// notFound is the error for a metric without rule (resource empty: external), with what was perhaps meant.
func (s *Set) notFound(resource, name string) error {
	asked := "metric %q on " + resource
	if resource == "" {
		asked = "external metric %q"
	}
	return metric.Errorf(metric.KindNotFound, "no rule for "+asked+"%s", name, s.hint(resource, name))
}

// hint names the nearest metric, or else what there is.
func (s *Set) hint(resource, name string) string {
	best, bestDistance := "", len(name)/3+1 // farther away it is another word
	var served []string
	for _, c := range s.rules {
		if c.spec.External != (resource == "") {
			if c.rule != nil && c.rule.Metric == name {
				return "; " + c.otherAPI()
			}
			continue
		}
		if !c.spec.External && c.spec.Resource != resource && c.spec.Resource != pods {
			continue
		}
		served = append(served, c.spec.Name())
		if near, d := c.nearest(name); d < bestDistance {
			best, bestDistance = near, d
		}
	}
	switch {
	case best != "":
		return "; nearest: " + best
	case len(served) == 0:
		return "; there are no such rules"
	}
	return "; there are rules for " + list(served)
}

// otherAPI says where a metric is that was asked for in the wrong place.
func (c *compiled) otherAPI() string {
	if c.spec.External {
		return "it is an external metric"
	}
	return "it is a metric of " + c.spec.Resource
}

// list names a few.
func list(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// far is the distance of what does not exist.
const far = 1 << 30

// nearest is the name nearest to the given one that the rule serves, and how far away it is.
func (c *compiled) nearest(name string) (string, int) {
	if c.rule != nil {
		return c.rule.Metric, Distance(name, c.rule.Metric)
	}
	return c.pattern.nearest(c.spec.Match, name)
}

const (
	// maxTails bounds the endings of a pattern that are tried.
	maxTails = 16
	// slack is how many characters an ending may be mistyped by in length.
	slack = 2
	// maxNearest bounds the names for which patterns are tried: the effort grows with the square.
	maxNearest = 100
)

// nearest puts the endings of the pattern, such as _per_second, in the place of the name's own, if that is
// like one of them.
func (p *pattern) nearest(expr, name string) (best string, bestDistance int) {
	bestDistance = far
	re, err := syntax.Parse(expr, syntax.Perl)
	if p.match == nil || err != nil || len(name) > maxNearest {
		return "", far
	}
	ends, _ := tails(re.Simplify())
	for _, end := range ends {
		for n := max(0, len(end)-slack); n <= min(len(name), len(end)+slack); n++ {
			candidate := name[:len(name)-n] + end
			d := Distance(name, candidate)
			if d <= max(1, len(end)/3) && d < bestDistance && end != "" && p.serves(candidate) {
				best, bestDistance = candidate, d
			}
		}
	}
	return best, bestDistance
}

// tails are the texts that a match of re may end in, as long as they are few; whole tells that they are all
// that it matches.
func tails(re *syntax.Regexp) (ends []string, whole bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		return []string{""}, true
	case syntax.OpLiteral:
		return []string{string(re.Rune)}, true
	case syntax.OpCapture:
		return tails(re.Sub[0])
	case syntax.OpCharClass:
		return classTails(re.Rune)
	case syntax.OpAlternate:
		whole = true
		for _, sub := range re.Sub {
			more, all := tails(sub)
			ends, whole = append(ends, more...), whole && all
		}
	case syntax.OpConcat:
		ends, whole = []string{""}, true
		for _, sub := range slices.Backward(re.Sub) {
			var heads []string
			if heads, whole = tails(sub); !whole && len(heads) == 0 {
				break
			}
			ends = join(heads, ends)
			if !whole {
				break
			}
		}
	}
	if len(ends) > maxTails {
		return nil, false
	}
	return ends, whole
}

func classTails(ranges []rune) (ends []string, whole bool) {
	for pair := range slices.Chunk(ranges, 2) {
		for r := pair[0]; r <= pair[1]; r++ {
			if ends = append(ends, string(r)); len(ends) > maxTails {
				return nil, false
			}
		}
	}
	return ends, true
}

func join(heads, ends []string) []string {
	var all []string
	for _, h := range heads {
		for _, e := range ends {
			if all = append(all, h+e); len(all) > maxTails {
				return all
			}
		}
	}
	return all
}

// Distance is Levenshtein's, of bytes: how many to insert, delete or replace to make b of a. It takes time proportional
// to both lengths.
func Distance(a, b string) int {
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
