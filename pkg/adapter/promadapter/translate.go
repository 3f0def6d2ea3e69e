// The translation of a metricsQuery template into a native query.

package promadapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Markers stand for the parts of a request while the text of a template is parsed as PromQL.
const (
	markerPrefix = "zzzz_tachometer_"
	seriesMarker = markerPrefix + "series"
	labelMarker  = markerPrefix + "matchers"
	groupMarker  = markerPrefix + "group"
)

// nameMarkers replaces the markers by the parts of the template that they stand for.
var nameMarkers = strings.NewReplacer(labelMarker+`="x"`, "<<.LabelMatchers>>", seriesMarker, "<<.Series>>", labelMarker, "<<.LabelMatchers>>", groupMarker, "<<.GroupBy>>")

// translateQueryTemplate returns the native query of a rule. It renders the template with markers, parses the text, and removes the markers
// from the syntax tree. The native format itself adds matchers to every selector.
func translateQueryTemplate(r *SeriesRule, n nativeNames, t mappedResource) (string, error) {
	if r.compiled.metricsQuery == nil {
		return "", errors.New("metricsQuery: missing")
	}
	if t.namespaced && t.namespaceLabel == "" {
		return "", errors.New("no label for the namespace; prometheus-adapter cannot serve it either")
	}
	if err := validatePlainTemplate(r.compiled.metricsQuery.Root); err != nil {
		return "", fmt.Errorf("metricsQuery: %w", err)
	}
	args := queryArguments{Series: seriesMarker, LabelMatchers: labelMarker + `="x"`}
	if !r.external {
		args.GroupBy = groupMarker
	}
	text, err := renderSeriesRuleTemplate(r.compiled.metricsQuery, args)
	if err != nil {
		return "", fmt.Errorf("metricsQuery: %w", err)
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return "", errors.New("metricsQuery: does not give PromQL: " + nameMarkers.Replace(findSeriesQueryError(err).Error()))
	}
	tr := markerReplacer{series: n.series, groupBy: t.listGroupingLabels()}
	parser.Inspect(expr, tr.replaceQueryMarkers)
	if tr.err != nil {
		return "", tr.err
	}
	out := expr.String()
	if strings.Contains(out, markerPrefix) {
		return "", errors.New("metricsQuery: the native format has no part of the request at this place: " + nameMarkers.Replace(out))
	}
	return out, nil
}

// listGroupingLabels returns the labels that a native result must have.
func (t mappedResource) listGroupingLabels() []string {
	var out []string
	if t.namespaced {
		out = append(out, t.namespaceLabel)
	}
	if t.objectLabel != "" {
		out = append(out, t.objectLabel)
	}
	return out
}

// templateUsesSeries reports whether the template depends on the name of the series.
func templateUsesSeries(root *parse.ListNode) bool {
	return strings.Contains(root.String(), ".Series")
}

// validatePlainTemplate rejects templates with a different expression for different requests.
func validatePlainTemplate(root *parse.ListNode) error {
	for _, n := range root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
			continue
		case *parse.ActionNode:
			if slices.Contains([]string{".Series", ".LabelMatchers", ".GroupBy"}, n.Pipe.String()) {
				continue
			}
		}
		text := strings.NewReplacer("{{", "<<", "}}", ">>").Replace(n.String())
		return fmt.Errorf("%s depends on the request, which the native format does not support", joinYAMLLines(strict.ShortenPlain(text)))
	}
	return nil
}

// markerReplacer replaces markers in a syntax tree.
type markerReplacer struct {
	series  string
	groupBy []string
	err     error
}

func (tr *markerReplacer) replaceQueryMarkers(node parser.Node, _ []parser.Node) error {
	switch n := node.(type) {
	case *parser.VectorSelector:
		tr.replaceSelectorMarkers(n)
	case *parser.AggregateExpr:
		if !n.Without {
			n.Grouping = tr.replaceGroupMarker(n.Grouping)
		}
	case *parser.BinaryExpr:
		if m := n.VectorMatching; m != nil {
			if m.On {
				m.MatchingLabels = tr.replaceGroupMarker(m.MatchingLabels)
			}
			m.Include = tr.replaceGroupMarker(m.Include)
		}
	}
	return nil
}

func (tr *markerReplacer) replaceSelectorMarkers(v *parser.VectorSelector) {
	isMarker := func(m *labels.Matcher) bool { return m.Name == labelMarker }
	if !slices.ContainsFunc(v.LabelMatchers, isMarker) {
		tr.err = errors.New("metricsQuery: the native format adds matchers to every selector; <<.LabelMatchers>> is missing in " +
			nameMarkers.Replace(v.String()))
		return
	}
	v.LabelMatchers = slices.DeleteFunc(v.LabelMatchers, isMarker)
	for i, m := range v.LabelMatchers {
		if m.Name != model.MetricNameLabel || m.Value != seriesMarker || m.Type != labels.MatchEqual {
			continue
		}
		v.LabelMatchers[i] = &labels.Matcher{Type: labels.MatchEqual, Name: m.Name, Value: tr.series}
		if v.Name = tr.series; strings.Contains(tr.series, "$") {
			v.Name = "" // String then prints the name as a matcher
		}
	}
}

// replaceGroupMarker replaces the marker by the labels of an object, and adds the namespace to the label of the object.
func (tr *markerReplacer) replaceGroupMarker(by []string) []string {
	if len(tr.groupBy) == 0 {
		return by
	}
	object := tr.groupBy[len(tr.groupBy)-1]
	var out []string
	for _, l := range by {
		wanted := []string{l}
		if l == groupMarker || l == object {
			wanted = tr.groupBy
		}
		for _, w := range wanted {
			if !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
	return out
}
