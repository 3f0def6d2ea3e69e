// Reviews of rules, from the request to the answer.

package explain

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	// maxReviewedConfigBytes bounds the text of a review: a hundred rules.
	maxReviewedConfigBytes = 16 << 10
	// maxReviewedNameBytes bounds the names of a review, as of a read, and maxReviewedSelectorBytes its selectors.
	maxReviewedNameBytes     = 253
	maxReviewedSelectorBytes = 4 << 10
	// maxReviewedFaults bounds the faults of an answer.
	maxReviewedFaults = 50
	// reviewStepTimeout bounds the check of the configuration, and each evaluation. Usual ones take microseconds.
	reviewStepTimeout = time.Second
	// maxReviewTime bounds a review with its wait for scrapes, and reviewAnswerTime is the rest of a request's time, for the answer.
	maxReviewTime    = 9 * time.Second
	reviewAnswerTime = time.Second
)

// ruleReview is a review after its checks: the metric to compute by the rules of a text.
type ruleReview struct {
	namespace               string
	spec                    explainapi.RuleReviewSpec
	selector, seriesMatches labels.Selector
	rules                   *rule.Set
	rule                    *rule.Rule
}

// reviewRule answers a review for the pods of a namespace. An error means that the request itself is wrong or comes too soon; faults
// of the rule and missing values are answers.
func (a *API) reviewRule(ctx context.Context, namespace string, spec explainapi.RuleReviewSpec) (*explainapi.RuleReviewStatus, error) {
	free, err := a.reviews.takeRequestPlace(namespace)
	if err != nil {
		return nil, err
	}
	defer free()
	if err := a.reviews.takeRequestTurn(namespace, a.deps.Now()); err != nil {
		return nil, err
	}
	ctx, cancel := a.reviews.withReviewDeadline(ctx)
	defer cancel()
	review, err := newRuleReview(namespace, spec)
	if err != nil {
		return nil, err
	}
	status := &explainapi.RuleReviewStatus{Source: a.newReplicaSource()}
	if err := a.compileReviewedRules(ctx, review); err != nil {
		var faults config.Faults
		if !errors.As(err, &faults) {
			return nil, err
		}
		status.Faults = newReviewedFaults(faults)
		return status, nil
	}
	if err := review.chooseReviewedMetric(); err != nil {
		return nil, err
	}
	status.Metric, status.External, status.Resource = review.spec.Metric, review.spec.External, review.spec.Resource
	status.Families = review.rule.Families()
	a.computeReviewedValues(ctx, review, status)
	status.Source = a.newReplicaSource() // after the wait for scrapes
	return status, nil
}

// withReviewDeadline returns a context that ends early enough for an answer within the request's time.
func (l *reviewLimits) withReviewDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok {
		if end = end.Add(-reviewAnswerTime); time.Until(end) < l.timeout {
			return context.WithDeadline(ctx, end)
		}
	}
	return context.WithTimeout(ctx, l.timeout)
}

// newRuleReview checks the fields of a request.
func newRuleReview(namespace string, spec explainapi.RuleReviewSpec) (*ruleReview, error) {
	r := &ruleReview{namespace: namespace, spec: spec}
	switch {
	case namespace == "":
		return nil, metric.Errorf(metric.KindInvalid, "a review is of one namespace: create it in the namespace of the pods")
	case strings.TrimSpace(spec.Config) == "":
		return nil, metric.Errorf(metric.KindInvalid, "spec.config: required: the text of an adapter configuration with the rule")
	case len(spec.Config) > maxReviewedConfigBytes:
		return nil, metric.Errorf(metric.KindInvalid, "spec.config: has %d bytes, and a review takes %d; leave out the rules that are not reviewed", len(spec.Config), maxReviewedConfigBytes)
	case spec.External && (spec.Resource != "" || spec.Object != "" || spec.Selector != ""):
		return nil, metric.Errorf(metric.KindInvalid, "spec.external: an external metric describes no object; remove resource, object and selector")
	}
	if err := checkReviewedTexts(spec); err != nil {
		return nil, err
	}
	var err error
	if r.selector, err = labels.Parse(spec.Selector); err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "spec.selector: %w", err)
	}
	if r.seriesMatches, err = labels.Parse(spec.MetricSelector); err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "spec.metricSelector: %w", err)
	}
	return r, nil
}

// checkReviewedTexts bounds the names and selectors of a request before they are looked up, parsed or repeated.
func checkReviewedTexts(spec explainapi.RuleReviewSpec) error {
	for _, text := range []struct {
		name, text string
		limit      int
	}{
		{"metric", spec.Metric, maxReviewedNameBytes}, {"resource", spec.Resource, maxReviewedNameBytes}, {"object", spec.Object, maxReviewedNameBytes},
		{"selector", spec.Selector, maxReviewedSelectorBytes}, {"metricSelector", spec.MetricSelector, maxReviewedSelectorBytes},
	} {
		if len(text.text) > text.limit {
			return metric.Errorf(metric.KindInvalid, "spec.%s: has %d bytes; the limit is %d", text.name, len(text.text), text.limit)
		}
	}
	return nil
}

// compileReviewedRules compiles the text with the intervals of the running configuration. The error is config.Faults for a faulty text.
func (a *API) compileReviewedRules(ctx context.Context, r *ruleReview) error {
	var faults config.Faults
	err := a.reviews.runReviewStep(ctx, "check", func(ctx context.Context) (err error) {
		r.rules, faults, err = compileReviewedText(ctx, r.spec.Config, a.deps.Config())
		return err
	})
	if err != nil {
		return err
	}
	return faults.Err()
}

// compileReviewedText compiles a text of at most maxReviewedConfigBytes within the bounds of a review. The error is other than that of a
// faulty text.
func compileReviewedText(ctx context.Context, text string, running *config.Config) (*rule.Set, config.Faults, error) {
	cfg, faults := config.Decode([]byte(completeReviewedConfig(text, running)))
	if !cfg.HasRules && len(faults) == 0 {
		return nil, config.Faults{{Path: "rules", Line: 1, Message: "required: the rule to review"}}, nil
	}
	if costly := rule.ValidateReviewedRules(cfg); len(costly) > 0 {
		return nil, append(faults, costly...), nil
	}
	cfg.Scrape, cfg.MaxWindow = running.Scrape, running.MaxWindow
	rules, err := rule.CompileContext(ctx, cfg)
	var more config.Faults
	if err != nil && !errors.As(err, &more) {
		return nil, nil, err
	}
	return rules, append(faults, more...), nil
}

// topLevelKey matches the keys of a configuration that a review completes.
var topLevelKey = regexp.MustCompile(`(?m)^(scrape|maxAge|maxWindow)\s*:`)

// completeReviewedConfig returns the text with the intervals of the running configuration where it has none. They come last, so that the
// lines of the text keep their numbers.
func completeReviewedConfig(text string, running *config.Config) string {
	own := map[string]bool{}
	for _, m := range topLevelKey.FindAllStringSubmatch(text, -1) {
		own[m[1]] = true
	}
	for _, key := range []struct{ name, value string }{
		{"scrape", fmt.Sprintf("{interval: %s}", running.Scrape.Interval)},
		{"maxAge", running.MaxAge.String()}, {"maxWindow", running.MaxWindow.String()},
	} {
		if !own[key.name] {
			text = strings.TrimRight(text, "\n") + "\n" + key.name + ": " + key.value + "\n"
		}
	}
	return text
}

func newReviewedFaults(faults config.Faults) []explainapi.RuleFault {
	var all []explainapi.RuleFault
	for _, f := range faults[:min(len(faults), maxReviewedFaults)] {
		all = append(all, explainapi.RuleFault{Path: f.Path, Line: f.Line, Message: f.Message})
	}
	return all
}

// chooseReviewedMetric finds the rule of the metric. It rejects a rule that reads anything but the pods of the namespace.
func (r *ruleReview) chooseReviewedMetric() (err error) {
	if r.spec.Metric == "" {
		if err := r.chooseOnlyReviewedRule(); err != nil {
			return err
		}
	}
	if r.spec.External {
		r.rule, err = r.rules.External(r.spec.Metric)
	} else {
		if r.spec.Resource == "" {
			r.spec.Resource = "pods"
		}
		if r.spec.Object == "" && r.spec.Resource != "pods" && r.spec.Resource != "namespaces" {
			return metric.Errorf(metric.KindInvalid, "spec.object: required: the name of one of %s", strict.ShortenPlain(r.spec.Resource))
		}
		r.rule, err = r.rules.Lookup(r.spec.Resource, r.spec.Metric)
	}
	if err != nil {
		return err
	}
	for own := r.rule; own != nil; own = own.Next() {
		if err := checkReviewedRule(own, r.namespace); err != nil {
			return err
		}
	}
	return nil
}

// chooseOnlyReviewedRule takes the metric of the configuration's only rule with a name.
func (r *ruleReview) chooseOnlyReviewedRule() error {
	named := r.rules.Metrics()
	if len(named) != 1 {
		var names []string
		for _, m := range named {
			names = append(names, m.Metric)
		}
		text := "spec.metric: required: the configuration has no rule with a name; a rule with match serves many names"
		if len(names) > 0 {
			text = "spec.metric: required: the configuration has the metrics " + strings.Join(names, ", ")
		}
		return metric.Errorf(metric.KindInvalid, "%s", text)
	}
	r.spec.Metric, r.spec.External = named[0].Metric, named[0].External
	if r.spec.Resource == "" {
		r.spec.Resource = named[0].Resource
	}
	return nil
}

// checkReviewedRule rejects a rule with values that are not of the namespace's own pods: the right to review is one of a namespace.
func checkReviewedRule(r *rule.Rule, namespace string) error {
	switch {
	case r.Backend != config.ScrapeBackend:
		return metric.Errorf(metric.KindInvalid, "rule %q asks the backend %q: a review computes on the pods that the adapter scrapes; ask that server itself", strict.Shorten(r.Name), r.Backend)
	case !slices.Equal(r.SourceNamespaces(namespace), []string{namespace}):
		return metric.Errorf(metric.KindInvalid, "rule %q reads the pods of other namespaces than %s; a review reads only those of its own", strict.Shorten(r.Name), namespace)
	}
	return nil
}

// computeReviewedValues evaluates the rule as a read of its metric does. It waits for first scrapes as a person's read does.
func (a *API) computeReviewedValues(ctx context.Context, r *ruleReview, status *explainapi.RuleReviewStatus) {
	ctx, evidence := provider.WithEvidence(ctx)
	err := a.readReviewedMetric(ctx, r, status)
	for _, o := range evidence.Omitted {
		status.Omitted = append(status.Omitted, explainapi.Omission{Pod: o.Object.Name, Reason: string(o.Reason), Detail: o.Detail})
	}
	if err != nil {
		status.Values, status.Error = nil, err.Error()
	}
}

func (a *API) readReviewedMetric(ctx context.Context, r *ruleReview, status *explainapi.RuleReviewStatus) error {
	p := a.newReviewProvider(r)
	if r.spec.External {
		list, err := p.GetExternalMetric(ctx, r.namespace, r.seriesMatches, metricsprovider.ExternalMetricInfo{Metric: r.spec.Metric})
		if err != nil {
			return err
		}
		for _, v := range list.Items {
			status.Values = append(status.Values, newReviewedValue("", v.MetricLabels, v.Value.MilliValue(), v.Timestamp.Time, v.WindowSeconds))
		}
		return nil
	}
	resource := schema.ParseGroupResource(r.spec.Resource)
	info := metricsprovider.CustomMetricInfo{GroupResource: resource, Namespaced: resource.Resource != "namespaces", Metric: r.spec.Metric}
	if r.spec.Object == "" && r.spec.Resource == "pods" {
		list, err := p.GetMetricBySelector(ctx, r.namespace, r.selector, info, r.seriesMatches)
		if err != nil {
			return err
		}
		for _, v := range list.Items {
			status.Values = append(status.Values, newReviewedValue(v.DescribedObject.Name, nil, v.Value.MilliValue(), v.Timestamp.Time, v.WindowSeconds))
		}
		return nil
	}
	key := types.NamespacedName{Namespace: r.namespace, Name: r.spec.Object}
	if resource.String() == "namespaces" { // its own alone
		key = types.NamespacedName{Name: r.namespace}
	}
	v, err := p.GetMetricByName(ctx, key, info, r.seriesMatches)
	if err == nil {
		status.Values = []explainapi.ReviewedValue{newReviewedValue(v.DescribedObject.Name, nil, v.Value.MilliValue(), v.Timestamp.Time, v.WindowSeconds)}
	}
	return err
}

func newReviewedValue(object string, series map[string]string, milli int64, at time.Time, window *int64) explainapi.ReviewedValue {
	v := explainapi.ReviewedValue{Object: object, Labels: series, Milli: milli, Time: at}
	if window != nil {
		v.WindowSeconds = *window
	}
	return v
}
