// Templates of queries: parsing, arguments and rendering.

package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// maxQueryBytes bounds the text of a template, which may loop.
const maxQueryBytes = 1 << 20

// parseSeriesRuleTemplate parses a template with the delimiters << and >>. The error omits Go's own prefix.
func parseSeriesRuleTemplate(name, text string) (*template.Template, error) {
	t, err := template.New(name).Delims("<<", ">>").Parse(text)
	if err != nil {
		return nil, errors.New(formatRuleTemplateError(name, err))
	}
	return t, nil
}

var (
	// templatePositionRegexp matches the line and the offset at the beginning of an error.
	templatePositionRegexp = regexp.MustCompile(`^(\d+):(?:(\d+):)? `)
	indexRegexp            = regexp.MustCompile(`executing "[^"]*" at <(.*)>: error calling index: .*out of range.*`)
	executingRegexp        = regexp.MustCompile(`executing "[^"]*" at <(.*)>: `)
	// unknownFieldRegexp matches the error of a field that the arguments of a template do not have.
	unknownFieldRegexp    = regexp.MustCompile(`executing "[^"]*" at <(.*)>: can't evaluate field (\w+) in type promadapter\.(\w+)$`)
	unknownFunctionRegexp = regexp.MustCompile(`function "(\w+)" not defined$`)
)

// formatRuleTemplateError returns an error of Go's templates in the words of the file.
func formatRuleTemplateError(name string, err error) string {
	text := strings.TrimPrefix(err.Error(), "template: "+name+":")
	known := ".Series, .LabelMatchers, .GroupBy, .LabelValuesByName, .GroupBySlice"
	if name == "template" {
		known = ".Resource, .Group"
	}
	if m := templatePositionRegexp.FindStringSubmatch(text); m != nil { // most templates are one line, and the text says where
		if text = text[len(m[0]):]; m[1] != "1" {
			text = "line " + m[1] + ": " + text
		}
	}
	if m := unknownFunctionRegexp.FindStringSubmatch(text); m != nil {
		if strings.Contains(known, "."+m[1]) {
			return text + "; write <<." + m[1] + ">>"
		}
		return text + "; templates have index, slice, len, printf, eq, ne, and, or, not and the like of Go's text/template"
	}
	text = unknownFieldRegexp.ReplaceAllString(text, "$1 does not exist; known: "+known)
	text = indexRegexp.ReplaceAllString(text, "<<$1>> is behind the last element; a rule groups by one label, <<index .GroupBySlice 0>>")
	return executingRegexp.ReplaceAllString(text, "<<$1>>: ")
}

// renderSeriesRuleTemplate returns the text of the template. Text of spaces alone is an error.
func renderSeriesRuleTemplate(t *template.Template, data any) (string, error) {
	var out boundedBuilder
	if err := t.Execute(&out, data); err != nil {
		return "", errors.New(formatRuleTemplateError(t.Name(), err))
	}
	if strings.TrimSpace(out.String()) == "" {
		return "", errEmptyText
	}
	return out.String(), nil
}

// boundedBuilder is a string builder limited to maxQueryBytes.
type boundedBuilder struct{ strings.Builder }

func (b *boundedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxQueryBytes {
		return 0, fmt.Errorf("the template gives more than %d bytes", maxQueryBytes)
	}
	return b.Builder.Write(p)
}

// queryArguments are the arguments of a metricsQuery. The file uses the names of the fields.
type queryArguments struct {
	Series            string
	LabelMatchers     string
	LabelValuesByName map[string]string
	GroupBy           string
	GroupBySlice      []string
}

// queryRequest is a request to render a metricsQuery for.
type queryRequest struct {
	series   string
	selector []*labels.Matcher
	// namespaceLabel and namespace make a matcher unless namespace is empty.
	namespaceLabel, namespace string
	// objectLabel and objects make a matcher unless objects is nil.
	objectLabel string
	objects     []string
	groupBy     []string
}

// buildQueryArguments returns the arguments, with matchers in prometheus-adapter's order: metric selector, namespace, objects.
func (q queryRequest) buildQueryArguments() (queryArguments, error) {
	matchers := q.selector[:len(q.selector):len(q.selector)]
	if q.namespace != "" {
		if q.namespaceLabel == "" {
			return queryArguments{}, errors.New("no label for the namespace; set resources.overrides or resources.template, or for an external metric namespaced: false")
		}
		matchers = append(matchers, &labels.Matcher{Type: labels.MatchEqual, Name: q.namespaceLabel, Value: q.namespace})
	}
	if q.objects != nil {
		m, err := newObjectNameMatcher(q.objectLabel, q.objects)
		if err != nil {
			return queryArguments{}, err
		}
		matchers = append(matchers, m)
	}
	values := make(map[string]string, len(matchers))
	for _, m := range matchers {
		values[m.Name] = bracketMatcherDots(m)
	}
	return queryArguments{
		Series:            q.series,
		LabelMatchers:     joinSeriesMatchers(matchers),
		LabelValuesByName: values,
		GroupBy:           joinGroupByLabels(q.groupBy),
		GroupBySlice:      q.groupBy,
	}, nil
}

// joinGroupByLabels returns labels for a by (…), in quotes where they are no classic names: k8s.pod.name.
func joinGroupByLabels(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		if quoted[i] = name; !model.LegacyValidation.IsValidLabelName(name) {
			quoted[i] = strconv.Quote(name)
		}
	}
	return strings.Join(quoted, ",")
}

// newObjectNameMatcher returns a matcher for any of the values. No values are an error.
func newObjectNameMatcher(label string, values []string) (*labels.Matcher, error) {
	switch len(values) {
	case 0:
		return nil, errors.New("the request names no objects")
	case 1:
		return labels.NewMatcher(labels.MatchEqual, label, values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strings.ReplaceAll(regexp.QuoteMeta(v), `\.`, `[.]`)
	}
	return labels.NewMatcher(labels.MatchRegexp, label, strings.Join(quoted, "|"))
}

// bracketMatcherDots returns the value of a matcher with [.] for an escaped dot. Templates put values between quotes, where a backslash
// would begin an escape. A single value stays as it is, because templates compare it with = as well as with =~.
func bracketMatcherDots(m *labels.Matcher) string {
	if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
		return m.Value
	}
	return strings.ReplaceAll(m.Value, `\.`, `[.]`)
}

// newSeriesTemplate returns the template of a rule for a series. A template that branches by the name has no sample: it may have
// another form for a made-up name.
func (r *SeriesRule) newSeriesTemplate(series string, groupBy []string) rule.Template {
	t := rule.Template{Render: r.newQueryRenderer(series, groupBy)}
	if m := r.compiled.metricsQuery; m != nil && !templateBranchesBySeries(m) {
		t.RenderSample = r.newQueryRenderer(sampleSeriesName, groupBy)
	}
	return t
}

// sampleSeriesName is the made-up name of a series.
const sampleSeriesName = "example"

// newQueryRenderer returns the function that renders the queries of a rule for a series.
func (r *SeriesRule) newQueryRenderer(series string, groupBy []string) func(rule.Query) (string, error) {
	return func(q rule.Query) (string, error) {
		text, err := r.renderSeriesQuery(r.newQueryRequest(q, series, groupBy))
		if err != nil {
			return "", metric.Errorf(metric.KindInternal, "%s.metricsQuery: %w", r.path, err)
		}
		return text, nil
	}
}

func (r *SeriesRule) newQueryRequest(q rule.Query, series string, groupBy []string) queryRequest {
	request := queryRequest{
		series: series, selector: q.Selector, namespaceLabel: q.Rule.NamespaceLabel,
		objectLabel: q.Rule.ObjectLabel, objects: q.Objects, groupBy: groupBy,
	}
	if q.Rule.Namespaced {
		request.namespace = q.Namespace
	}
	if q.Rule.External {
		request.objects = nil
	}
	return request
}

// isNamespacedSeriesRule reports whether queries for objects of the resource match the namespace of the request.
func (r *SeriesRule) isNamespacedSeriesRule(res Resource) bool {
	if r.external {
		return r.Resources.Namespaced == nil || *r.Resources.Namespaced
	}
	return res.Namespaced
}

func (r *SeriesRule) renderSeriesQuery(q queryRequest) (string, error) {
	if r.compiled.metricsQuery == nil {
		return "", errors.New("missing")
	}
	args, err := q.buildQueryArguments()
	if err != nil {
		return "", err
	}
	return renderSeriesRuleTemplate(r.compiled.metricsQuery, args)
}
