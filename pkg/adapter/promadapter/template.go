package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// maxQueryBytes bounds what a template makes, whatever it loops over.
const maxQueryBytes = 1 << 20

// parseTemplate parses a template with the delimiters << and >>. The error is without the words that are about Go.
func parseTemplate(name, text string) (*template.Template, error) {
	t, err := template.New(name).Delims("<<", ">>").Parse(text)
	if err != nil {
		return nil, errors.New(formatTemplateError(name, err))
	}
	return t, nil
}

func formatTemplateError(name string, err error) string {
	return strings.TrimPrefix(err.Error(), "template: "+name+":")
}

// renderTemplate returns the text that the template makes, which is not empty.
func renderTemplate(t *template.Template, data any) (string, error) {
	var out boundedBuilder
	if err := t.Execute(&out, data); err != nil {
		return "", errors.New(formatTemplateError(t.Name(), err))
	}
	if out.Len() == 0 {
		return "", errors.New("the template makes no text")
	}
	return out.String(), nil
}

// boundedBuilder is a string builder that takes maxQueryBytes.
type boundedBuilder struct{ strings.Builder }

func (b *boundedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxQueryBytes {
		return 0, fmt.Errorf("the template makes more than %d bytes", maxQueryBytes)
	}
	return b.Builder.Write(p)
}

// queryArguments are what a metricsQuery sees.
type queryArguments struct {
	Series            string
	LabelMatchers     string
	LabelValuesByName map[string]string
	GroupBy           string
	GroupBySlice      []string
}

// queryRequest is what a metricsQuery is rendered for.
type queryRequest struct {
	series   string
	selector []*labels.Matcher
	// namespaceLabel and namespace make a matcher, if there is a namespace.
	namespaceLabel, namespace string
	// objectLabel and objects make a matcher; nil objects make none.
	objectLabel string
	objects     []string
	groupBy     []string
}

// buildQueryArguments orders the matchers as they always were: those of the metric selector, the namespace, the objects.
func (q queryRequest) buildQueryArguments() (queryArguments, error) {
	matchers := q.selector[:len(q.selector):len(q.selector)]
	if q.namespace != "" {
		if q.namespaceLabel == "" {
			return queryArguments{}, errors.New("no label names the namespace: give resources.overrides or resources.template, or namespaced: false")
		}
		matchers = append(matchers, &labels.Matcher{Type: labels.MatchEqual, Name: q.namespaceLabel, Value: q.namespace})
	}
	if q.objects != nil {
		m, err := newObjectMatcher(q.objectLabel, q.objects)
		if err != nil {
			return queryArguments{}, err
		}
		matchers = append(matchers, m)
	}
	values := make(map[string]string, len(matchers))
	for _, m := range matchers {
		values[m.Name] = bracketDots(m)
	}
	return queryArguments{
		Series:            q.series,
		LabelMatchers:     joinMatchers(matchers),
		LabelValuesByName: values,
		GroupBy:           strings.Join(q.groupBy, ","),
		GroupBySlice:      q.groupBy,
	}, nil
}

// newObjectMatcher matches any of the values, of which there is at least one.
func newObjectMatcher(label string, values []string) (*labels.Matcher, error) {
	switch len(values) {
	case 0:
		return nil, errors.New("no objects are asked for")
	case 1:
		return labels.NewMatcher(labels.MatchEqual, label, values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strings.ReplaceAll(regexp.QuoteMeta(v), `\.`, `[.]`)
	}
	return labels.NewMatcher(labels.MatchRegexp, label, strings.Join(quoted, "|"))
}

// bracketDots is a matcher's value as templates put it between quotes of their own, where a backslash would begin an
// escape. A single value is left as it is, because templates compare it with = as well as with =~.
func bracketDots(m *labels.Matcher) string {
	if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
		return m.Value
	}
	return strings.ReplaceAll(m.Value, `\.`, `[.]`)
}

// newQueryRenderer makes the text of a rule's questions about one series.
func (r *Rule) newQueryRenderer(series string, groupBy []string) func(rule.Query) (string, error) {
	return func(q rule.Query) (string, error) {
		ask := queryRequest{
			series: series, selector: q.Selector, namespaceLabel: q.Rule.NamespaceLabel,
			objectLabel: q.Rule.ObjectLabel, objects: q.Objects, groupBy: groupBy,
		}
		if q.Rule.Namespaced {
			ask.namespace = q.Namespace
		}
		if q.Rule.External {
			ask.objects = nil
		}
		text, err := r.renderQuery(ask)
		if err != nil {
			return "", metric.Errorf(metric.KindInternal, "%s.metricsQuery: %w", r.path, err)
		}
		return text, nil
	}
}

func (r *Rule) renderQuery(q queryRequest) (string, error) {
	if r.compiled.metricsQuery == nil {
		return "", errors.New("missing")
	}
	args, err := q.buildQueryArguments()
	if err != nil {
		return "", err
	}
	return renderTemplate(r.compiled.metricsQuery, args)
}
