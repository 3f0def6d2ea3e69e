// The choice among several labels of one resource: by the values that the series have, because only names of objects find any.

package promadapter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// maxSampledValues bounds the listed values of a label: a sample is enough to recognize names.
const maxSampledValues = 100

// objectLabelChooser chooses among several labels of a resource.
type objectLabelChooser struct {
	series     SeriesLister
	start, end time.Time
}

// chooseObjectLabel returns the label with the values that look most like names of objects; of equal labels the first. It returns
// no label if none of the selected series has any.
func (c objectLabelChooser) chooseObjectLabel(ctx context.Context, match, candidates []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, listingTimeout)
	defer cancel()
	best, bestLikeness := "", 0
	for _, label := range candidates {
		likeness, err := c.sampleLabelValues(ctx, match, label)
		if err != nil {
			return "", fmt.Errorf("list the values of label %q: %w", label, err)
		}
		if likeness > bestLikeness {
			best, bestLikeness = label, likeness
		}
	}
	return best, nil
}

var errEnoughValues = errors.New("enough values")

// sampleLabelValues returns the likeness of most values of a label; 0 if there are none.
func (c objectLabelChooser) sampleLabelValues(ctx context.Context, match []string, label string) (likeness int, err error) {
	counts := map[int]int{}
	sampled := 0
	s := SeriesSelection{Match: match, Start: c.start, End: c.end, Limit: maxSampledValues}
	err = c.series.LabelValues(ctx, label, s, func(v string) error {
		counts[measureObjectLabelLikeness(v)]++
		if sampled++; sampled >= maxSampledValues {
			return errEnoughValues
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnoughValues) {
		return 0, err
	}
	for l := range counts {
		if counts[l] > counts[likeness] {
			likeness = l
		}
	}
	return likeness, nil
}

var objectNameRegexp = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// measureObjectLabelLikeness returns 1 for a text that names no object, such as an address with a port, 2 for an IP address, which few
// objects are named by, and 3 for any other name.
func measureObjectLabelLikeness(v string) int {
	if !objectNameRegexp.MatchString(v) {
		return 1
	}
	if _, err := netip.ParseAddr(v); err == nil {
		return 2
	}
	return 3
}

// listOverrideLabels returns the labels that the overrides give the resource, in file order.
func (m resolvedMapping) listOverrideLabels(resource string) []string {
	var out []string
	for i, r := range m.resources {
		if r.Name == resource {
			out = append(out, m.overrides[i].Label)
		}
	}
	return out
}

// parseTemplateSelectors returns the selectors of a query as text, without the matchers of a request. It returns none if the query
// is not PromQL.
func parseTemplateSelectors(t *template.Template) []string {
	text, err := renderSeriesRuleTemplate(t, queryArguments{
		Series: seriesMarker, LabelMatchers: labelMarker + `="x"`, GroupBy: groupMarker, GroupBySlice: []string{groupMarker},
	})
	if err != nil {
		return nil
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil
	}
	var out []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		v, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		own := slices.DeleteFunc(slices.Clone(v.LabelMatchers), func(m *labels.Matcher) bool { return m.Name == labelMarker })
		named := slices.ContainsFunc(own, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel && !m.Matches("") })
		if text := "{" + joinSeriesMatchers(own) + "}"; named && !slices.Contains(out, text) && !strings.Contains(text, markerPrefix) {
			out = append(out, text)
		}
		return nil
	})
	return out
}
