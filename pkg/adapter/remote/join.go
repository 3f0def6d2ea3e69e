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
	metricName = "__name__"
	// sampleTimeLabel tells the times of samples from results, which come back together.
	sampleTimeLabel = "tachometer_sample_time"
)

// withTimes is one expression for results and the times of their newest samples. A second question would see other
// samples, and cost the server a second look-up.
func withTimes(t rule.Text) string {
	if t.Times == "" {
		return t.Expr
	}
	return "(" + t.Expr + ") or label_replace(" + t.Times + `, "` + sampleTimeLabel + `", "1", "", "")`
}

// scope is what a question is asked for: namespaces, or any.
type scope struct {
	any        bool
	namespaces map[string]bool
}

func (s scope) covers(namespace string) bool { return s.any || s.namespaces[namespace] }

// answer is what a server said to a question, joined to objects. It does not change.
type answer struct {
	scope
	// asked is the time of the evaluation.
	asked time.Time
	// byNamespace has the values of each namespace, sorted by object; all are under "" where the rule does not tell
	// namespaces apart.
	byNamespace map[string][]metric.Value
	namespaces  []string // sorted
}

// find are the values of a namespace (empty: of all) for objects (nil: any). The caller owns the slice, and must not
// change the labels.
func (a *answer) find(namespace string, objects []string) []metric.Value {
	if namespace != "" {
		return find(nil, a.byNamespace[namespace], objects)
	}
	var found []metric.Value
	for _, n := range a.namespaces {
		found = find(found, a.byNamespace[n], objects)
	}
	return found
}

func find(found, values []metric.Value, objects []string) []metric.Value {
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

// with is the answer with another one for further namespaces. It is as old as the older.
func (a *answer) with(more *answer) *answer {
	both := &answer{
		asked:       earlier(a.asked, more.asked),
		scope:       scope{namespaces: maps.Clone(a.scope.namespaces)},
		byNamespace: maps.Clone(a.byNamespace),
	}
	maps.Copy(both.scope.namespaces, more.scope.namespaces)
	maps.Copy(both.byNamespace, more.byNamespace)
	both.namespaces = slices.Sorted(maps.Keys(both.byNamespace))
	return both
}

// partitioned tells that one answer holds values of several namespaces, which are told apart by a label.
func partitioned(r *rule.Rule) bool { return r.Shared() && r.Namespaced }

// join makes values of the results to q, as asked for by text within a scope.
type join struct {
	query rule.Query
	text  rule.Text
	scope scope
	asked time.Time
}

// row is a value and the namespace that it is filed under.
type row struct {
	namespace string
	value     metric.Value
}

func (j join) answer(samples []sample) (*answer, *fault) {
	results, times := j.split(samples)
	rows := make([]row, 0, len(results))
	for _, s := range results {
		delete(s.Metric, metricName)
		r, ok, f := j.row(s)
		if f != nil {
			return nil, f
		}
		if !ok {
			continue
		}
		r.value.Value, r.value.Window = s.Value.value, j.text.Window
		r.value.Time = j.timeOf(s, times)
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.value.Object.Name, b.value.Object.Name))
	})
	if f := j.twice(rows); f != nil {
		return nil, f
	}
	return j.file(rows), nil
}

// split parts results from times.
func (j join) split(samples []sample) ([]sample, newest) {
	if j.text.Times == "" {
		return samples, nil
	}
	results := make([]sample, 0, len(samples)/2+1)
	var times newest
	for _, s := range samples {
		if s.Metric[sampleTimeLabel] == "" {
			results = append(results, s)
			continue
		}
		delete(s.Metric, sampleTimeLabel)
		delete(s.Metric, metricName)
		if at, ok := seconds2time(s.Value.value); ok {
			times = times.add(s.Metric, at)
		}
	}
	return results, times
}

// timeOf is the time of the newest sample behind a result; the zero time where the server sees none. Where no times can
// be asked for, because the expression is in no dialect known here or hides its metrics, it is the time of the
// evaluation: what every adapter before this one says, and the best that can be said. Of that the server's word counts
// where it is earlier: VictoriaMetrics may evaluate somewhat in the past.
func (j join) timeOf(s sample, times newest) time.Time {
	if j.text.Times != "" {
		return times.of(s.Metric)
	}
	if s.Value.at.Before(j.asked) {
		return s.Value.at
	}
	return j.asked
}

// row joins a result to its object; false leaves it out.
func (j join) row(s sample) (row, bool, *fault) {
	r := j.query.Rule
	namespace, f := j.namespace(s)
	if f != nil || partitioned(r) && !j.scope.covers(namespace) {
		return row{}, false, f
	}
	v := metric.Value{Labels: s.Metric}
	if !r.External {
		if v.Object.Name = s.Metric[r.ObjectLabel]; v.Object.Name == "" {
			return row{}, false, faultf(badResult, "the result %s has no label %s to name its object", text(s.Metric), r.ObjectLabel)
		}
		v.Object.Namespace = namespace
	}
	if !partitioned(r) {
		namespace = ""
	}
	return row{namespace, v}, true, nil
}

// namespace is that of a result's object; empty where the rule does not tell, and for objects that are in none.
func (j join) namespace(s sample) (string, *fault) {
	r, asked := j.query.Rule, j.query.Namespace
	if !r.Namespaced || r.ObjectLabel == r.NamespaceLabel {
		return "", nil
	}
	is := s.Metric[r.NamespaceLabel]
	switch {
	case r.Shared() && is == "":
		return "", faultf(badResult, "the result %s has no label %s to name its namespace", text(s.Metric), r.NamespaceLabel)
	case r.Shared():
	case is == "" || r.External:
		return asked, nil
	case asked != "" && is != asked:
		return "", faultf(badResult, "the result %s is of another namespace than %s", text(s.Metric), asked)
	}
	return is, nil
}

// twice finds two values of one object.
func (j join) twice(rows []row) *fault {
	if j.query.Rule.External {
		return nil
	}
	for i := 1; i < len(rows); i++ {
		a, b := rows[i-1].value, rows[i].value
		if a.Object == b.Object {
			return faultf(badResult, "two results for %s %s: %s and %s; aggregate by (%s)",
				j.query.Rule.ObjectLabel, a.Object, text(a.Labels), text(b.Labels), j.query.Rule.ObjectLabel)
		}
	}
	return nil
}

// file makes the answer of sorted rows.
func (j join) file(rows []row) *answer {
	a := &answer{scope: j.scope, asked: j.asked, byNamespace: map[string][]metric.Value{}}
	values := make([]metric.Value, len(rows))
	for i, r := range rows {
		values[i] = r.value
	}
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to].namespace == rows[from].namespace {
			to++
		}
		a.byNamespace[rows[from].namespace] = values[from:to:to]
		a.namespaces = append(a.namespaces, rows[from].namespace)
		from = to
	}
	return a
}

// text is a set of labels as PromQL writes it.
func text(l map[string]string) string { return clip(labels.FromMap(l).String()) }

// newest are times of newest samples, by the labels that they share with results: one entry per set of label names,
// those with the most labels first.
type newest []*timesBy

type timesBy struct {
	names []string // sorted
	times map[string]time.Time
}

// key is the values of the labels; false if one is missing.
func (t *timesBy) key(l map[string]string) (string, bool) {
	if len(t.names) == 1 {
		v, ok := l[t.names[0]]
		return v, ok
	}
	var key []byte
	for _, name := range t.names {
		v, ok := l[name]
		if !ok {
			return "", false
		}
		key = append(append(key, v...), 0xff) // which is in no label's value: they are UTF-8
	}
	return string(key), true
}

// add files a time under all labels of its series.
func (n newest) add(l map[string]string, at time.Time) newest {
	i := slices.IndexFunc(n, func(t *timesBy) bool { return t.exactly(l) })
	if i < 0 {
		t := &timesBy{times: map[string]time.Time{}}
		for name := range l {
			t.names = append(t.names, name)
		}
		slices.Sort(t.names)
		i, _ = slices.BinarySearchFunc(n, t, func(a, b *timesBy) int { return len(b.names) - len(a.names) })
		n = slices.Insert(n, i, t)
	}
	key, _ := n[i].key(l)
	if at.After(n[i].times[key]) {
		n[i].times[key] = at
	}
	return n
}

func (t *timesBy) exactly(l map[string]string) bool {
	if len(l) != len(t.names) {
		return false
	}
	_, ok := t.key(l)
	return ok
}

// of is the time for a result: of the series that has the most of its labels, and no others.
func (n newest) of(l map[string]string) time.Time {
	var at time.Time
	most := 0
	for _, t := range n {
		if len(t.names) < most {
			break
		}
		if key, ok := t.key(l); ok {
			if found, ok := t.times[key]; ok {
				most = len(t.names)
				at = later(at, found)
			}
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
