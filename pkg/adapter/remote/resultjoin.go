// Results become values: each is joined to its object, its namespace, and the time of its newest sample.

package remote

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

const (
	metricNameLabel = "__name__"
	// sampleTimeLabel marks the times of samples in the response, which has results as well.
	sampleTimeLabel = "tachometer_sample_time"
)

// addSampleTimesQuery returns a single expression for results and the times of their newest samples. A second query would see other
// samples, and cost the server a second look-up.
func addSampleTimesQuery(t rule.RemoteQuery) string {
	if t.Times == "" {
		return t.Expr
	}
	return "(" + t.Expr + ") or label_replace(" + t.Times + `, "` + sampleTimeLabel + `", "1", "", "")`
}

// namespaceScope is the scope of a query: certain namespaces, or all.
type namespaceScope struct {
	allNamespaces bool
	namespaces    map[string]bool
}

func (s namespaceScope) queryScopeCoversNamespace(namespace string) bool {
	return s.allNamespaces || s.namespaces[namespace]
}

// queryResult is the result of a query, joined to objects. It is immutable.
type queryResult struct {
	namespaceScope
	// evaluatedAt is the time of the evaluation.
	evaluatedAt time.Time
	// valuesByNamespace has the values of each namespace, sorted by object. If the rule does not separate namespaces, all
	// values are under "".
	valuesByNamespace map[string][]metric.Value
	sortedNamespaces  []string // keys of valuesByNamespace
	// faults has the error of each such key without right values: other namespaces keep theirs.
	faults map[string]error
}

// findNamespaceFault returns the error of a namespace (empty: of any) without right values; nil if all are right.
func (r *queryResult) findNamespaceFault(namespace string) error {
	for n, fault := range r.faults {
		if namespace == "" || n == namespace {
			return fault
		}
	}
	return nil
}

// selectQueryResultValues returns the values of a namespace (empty: of all) for objects (nil: any). The caller owns the slice, and must not
// change the labels.
func (r *queryResult) selectQueryResultValues(namespace string, objects []string) []metric.Value {
	if namespace != "" {
		return appendServerResultValues(nil, r.valuesByNamespace[namespace], objects)
	}
	var found []metric.Value
	for _, n := range r.sortedNamespaces {
		found = appendServerResultValues(found, r.valuesByNamespace[n], objects)
	}
	return found
}

func appendServerResultValues(found, values []metric.Value, objects []string) []metric.Value {
	if objects == nil {
		return append(found, values...)
	}
	found = slices.Grow(found, min(len(objects), len(values)))
	for _, name := range objects {
		at, ok := sort.Find(len(values), func(i int) int { return strings.Compare(name, values[i].Object.Name) })
		if ok {
			found = append(found, values[at])
		}
	}
	return found
}

// mergeQueryResult returns a result with the namespaces of both; more may be nil. Its time is the earlier of the two.
func (r *queryResult) mergeQueryResult(more *queryResult) *queryResult {
	if more == nil {
		return r
	}
	both := &queryResult{
		evaluatedAt:       chooseEarlierResultTime(r.evaluatedAt, more.evaluatedAt),
		namespaceScope:    namespaceScope{namespaces: maps.Clone(r.namespaceScope.namespaces)},
		valuesByNamespace: maps.Clone(r.valuesByNamespace),
		faults:            maps.Clone(r.faults),
	}
	maps.Copy(both.faults, more.faults)
	maps.Copy(both.namespaceScope.namespaces, more.namespaceScope.namespaces)
	maps.Copy(both.valuesByNamespace, more.valuesByNamespace)
	both.sortedNamespaces = slices.Sorted(maps.Keys(both.valuesByNamespace))
	return both
}

// isPartitionedServerResult reports whether a result has values of several namespaces, which a label separates.
func isPartitionedServerResult(r *rule.Rule) bool { return r.Shared() && r.Namespaced }

// serverResultJoin joins the results of an evaluation to objects.
type serverResultJoin struct {
	query       rule.Query
	text        rule.RemoteQuery
	scope       namespaceScope
	evaluatedAt time.Time
}

// namespacedValue is a value and its key in valuesByNamespace.
type namespacedValue struct {
	namespace string
	value     metric.Value
}

// joinQueryResultSamples returns the values of all results, or a failure if a result breaks the promise of the rule.
func (j serverResultJoin) joinQueryResultSamples(samples []resultSample) (*queryResult, *backendRequestFailure) {
	results, times := j.splitSampleTimes(samples)
	rows := make([]namespacedValue, 0, len(results))
	var unlabelled *backendRequestFailure
	for _, s := range results {
		delete(s.Metric, metricNameLabel)
		r, ok, f := j.joinQueryResultObject(s)
		if f != nil && len(s.Metric) == 0 && len(results) > 1 {
			unlabelled = f // of a template with `or vector(0)`: the result is of no object
			continue
		}
		if f != nil {
			return nil, f
		}
		if !ok {
			continue
		}
		r.value.Value, r.value.Window = s.Value.value, j.text.Window
		r.value.Time = j.findResultSampleTime(s, times)
		rows = append(rows, r)
	}
	if len(rows) == 0 && unlabelled != nil {
		return nil, unlabelled
	}
	slices.SortStableFunc(rows, func(a, b namespacedValue) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.value.Object.Name, b.value.Object.Name))
	})
	if f := j.rejectDuplicateResults(rows); f != nil {
		return nil, f
	}
	result := j.groupRowsByNamespace(rows)
	result.faults = j.findResultSumFaults(rows)
	return result, nil
}

// splitSampleTimes separates results from sample times.
func (j serverResultJoin) splitSampleTimes(samples []resultSample) ([]resultSample, selectorTimes) {
	if j.text.Times == "" {
		return samples, nil
	}
	results := make([]resultSample, 0, len(samples)/2+1)
	var times selectorTimes
	for _, s := range samples {
		if s.Metric[sampleTimeLabel] == "" {
			results = append(results, s)
			continue
		}
		delete(s.Metric, sampleTimeLabel)
		delete(s.Metric, metricNameLabel)
		selector := s.Metric[rule.TimesSelectorLabel]
		delete(s.Metric, rule.TimesSelectorLabel)
		if at, ok := parseEpochSeconds(s.Value.value); ok {
			times = times.addSelectorTime(selector, s.Metric, at)
		}
	}
	return results, times
}

// findResultSampleTime returns the time of a result: of its selectors' newest samples the oldest. It is zero if a needed selector has
// no sample that the server still sees. If the query cannot return sample times, because the expression does not parse or hides
// its metrics, it is the time of the evaluation: no better time is known. The server's evaluation time counts if it is earlier:
// VictoriaMetrics may evaluate somewhat in the past.
func (j serverResultJoin) findResultSampleTime(s resultSample, times selectorTimes) time.Time {
	if j.text.Times != "" {
		return times.lookupQueryResultTime(s.Metric, j.text.TimesNeeded)
	}
	if s.Value.at.Before(j.evaluatedAt) {
		return s.Value.at
	}
	return j.evaluatedAt
}

// joinQueryResultObject joins a result to its object; false omits the result.
func (j serverResultJoin) joinQueryResultObject(s resultSample) (namespacedValue, bool, *backendRequestFailure) {
	r := j.query.Rule
	namespace, f := j.resolveResultNamespace(s)
	if f != nil || isPartitionedServerResult(r) && !j.scope.queryScopeCoversNamespace(namespace) || j.isOfOtherNamespace(namespace) {
		return namespacedValue{}, false, f
	}
	v := metric.Value{Labels: s.Metric}
	if !r.External {
		if v.Object.Name = s.Metric[r.ObjectLabel]; v.Object.Name == "" {
			return namespacedValue{}, false, newRequestFailuref(outcomeBadResult, "the result %s has no label %s to name its object", formatServerResultLabels(s.Metric), r.ObjectLabel)
		}
		v.Object.Namespace = namespace
	}
	if !isPartitionedServerResult(r) {
		namespace = ""
	}
	return namespacedValue{namespace, v}, true, nil
}

// resolveResultNamespace returns the namespace of a result's object; empty if the rule does not tell, or if the object is in no
// namespace. A result that may have come from another namespace than the requested is a failure.
func (j serverResultJoin) resolveResultNamespace(s resultSample) (string, *backendRequestFailure) {
	r, requested := j.query.Rule, j.query.Namespace
	if !r.Namespaced || r.ObjectLabel == r.NamespaceLabel {
		return "", nil
	}
	is := s.Metric[r.NamespaceLabel]
	switch {
	case r.Shared() && is == "":
		return "", newRequestFailuref(outcomeBadResult, "the result %s has no label %s to name its namespace", formatServerResultLabels(s.Metric), r.NamespaceLabel)
	case r.Shared():
		return is, nil
	case r.External && j.query.Objects == nil: // the value of a query, of no object
		return requested, nil
	case is == "" && !j.text.OfNamespace:
		return "", newRequestFailuref(outcomeBadResult, "the result %s has no label %s, and the query reads all namespaces; "+
			"write <<.LabelMatchers>> in every selector, or aggregate by (%s, %s)",
			formatServerResultLabels(s.Metric), r.NamespaceLabel, r.NamespaceLabel, cmp.Or(r.ObjectLabel, "pod"))
	case is == "":
		return requested, nil
	case j.text.OfNamespace && requested != "" && is != requested:
		return "", newRequestFailuref(outcomeBadResult, "the result %s is of another namespace than %s", formatServerResultLabels(s.Metric), requested)
	}
	return is, nil
}

// isOfOtherNamespace reports whether a result of the namespace is beside the request, because the query reads all namespaces.
func (j serverResultJoin) isOfOtherNamespace(namespace string) bool {
	return !j.query.Rule.Shared() && !j.text.OfNamespace && namespace != "" && j.query.Namespace != "" && namespace != j.query.Namespace
}

// findResultSumFaults returns the error of each namespace in which two of the sorted values, which do not add up, have the same object.
func (j serverResultJoin) findResultSumFaults(rows []namespacedValue) map[string]error {
	faults := map[string]error{}
	for i := 1; i < len(rows) && j.query.Rule.NonAdditive != ""; i++ {
		if a, b := rows[i-1].value, rows[i]; a.Object == b.value.Object {
			faults[b.namespace] = j.query.Rule.NewSeriesSumError(formatServerResultLabels(b.value.Labels))
		}
	}
	return faults
}

// rejectDuplicateResults returns a failure if two of the sorted values have the same object. See findResultSumFaults for values that do not
// add up: there the rule's author is not at fault.
func (j serverResultJoin) rejectDuplicateResults(rows []namespacedValue) *backendRequestFailure {
	if j.query.Rule.External || j.query.Rule.NonAdditive != "" {
		return nil
	}
	for i := 1; i < len(rows); i++ {
		a, b := rows[i-1].value, rows[i].value
		if a.Object == b.Object {
			return newRequestFailuref(outcomeBadResult, "two results for %s %s: %s and %s; aggregate by (%s)",
				j.query.Rule.ObjectLabel, a.Object, formatServerResultLabels(a.Labels), formatServerResultLabels(b.Labels), j.query.Rule.ObjectLabel)
		}
	}
	return nil
}

// groupRowsByNamespace returns the result of sorted rows.
func (j serverResultJoin) groupRowsByNamespace(rows []namespacedValue) *queryResult {
	result := &queryResult{namespaceScope: j.scope, evaluatedAt: j.evaluatedAt, valuesByNamespace: map[string][]metric.Value{}}
	values := make([]metric.Value, len(rows))
	for i, r := range rows {
		values[i] = r.value
		if j.query.Rule.NonAdditive != "" || j.objectNamesAllLabels(r.value.Labels) {
			values[i].Labels = nil // most of the memory of a result
		}
	}
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to].namespace == rows[from].namespace {
			to++
		}
		result.valuesByNamespace[rows[from].namespace] = values[from:to:to]
		result.sortedNamespaces = append(result.sortedNamespaces, rows[from].namespace)
		from = to
	}
	return result
}

// objectNamesAllLabels reports whether the object of a value has all that its labels say.
func (j serverResultJoin) objectNamesAllLabels(l map[string]string) bool {
	r := j.query.Rule
	return !r.External && (len(l) == 1 || len(l) == 2 && l[r.NamespaceLabel] != "" && r.NamespaceLabel != r.ObjectLabel)
}

// formatServerResultLabels formats labels in PromQL syntax.
func formatServerResultLabels(l map[string]string) string {
	return clipServerText(labels.FromMap(l).String())
}
