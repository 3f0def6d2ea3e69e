package promadapter

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// queryCase is a case of testdata/queries.yaml, which explains the keys.
type queryCase struct {
	Name     string
	Config   string
	Series   []map[string]string
	Metrics  []string
	Requests []struct {
		External                                     bool
		Resource, Metric, Namespace, Selector, Query string
		Objects                                      []string
	}
	Why string
}

// upstreamCase is the result of prometheus-adapter 0.12 for a case; testdata/upstream writes it.
type upstreamCase struct {
	Name             string
	Metrics, Queries []string
}

func decodeYAMLFile(t testing.TB, path string, to any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, to); err != nil {
		t.Fatal(err)
	}
}

// TestMeaning: a configuration means the same as to prometheus-adapter 0.12, except for differences with a reason.
func TestMeaning(t *testing.T) {
	t.Parallel()
	var cases []queryCase
	var theirs []upstreamCase
	decodeYAMLFile(t, "testdata/queries.yaml", &cases)
	decodeYAMLFile(t, "testdata/queries.golden.yaml", &theirs)
	if len(cases) != len(theirs) {
		t.Fatalf("%d cases, and %d of upstream: run testdata/upstream", len(cases), len(theirs))
	}
	for i, tc := range cases {
		t.Run(tc.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { tc.checkQueries(t, theirs[i]) })
		})
	}
}

func (tc queryCase) checkQueries(t *testing.T, theirs upstreamCase) {
	if theirs.Name != tc.Name || len(theirs.Queries) != len(tc.Requests) {
		t.Fatalf("upstream has another case here, %q: run testdata/upstream", theirs.Name)
	}
	var series seriesList
	for _, s := range tc.Series {
		series.series = append(series.series, labels.FromMap(s))
	}
	s := startCatalog(t, loadConfig(t, tc.Config), &series,
		&fakeCluster{extra: []Resource{{"brands.cheese.io", "brand", "cheese.io", false}}}).Rules()

	var metrics []string
	for _, m := range servedMetrics(s) {
		metrics = append(metrics, strings.TrimSuffix(m, " (cluster)"))
	}
	slices.Sort(metrics)
	differs := tc.Metrics != nil
	if diff := cmp.Diff(theirs.Metrics, metrics); !differs && diff != "" {
		t.Errorf("metrics (-upstream +got):\n%s", diff)
	} else if diff := cmp.Diff(tc.Metrics, metrics); differs && diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	for i, r := range tc.Requests {
		find := func() (*rule.Rule, error) { return s.Lookup(r.Resource, r.Metric) }
		if r.External {
			find = func() (*rule.Rule, error) { return s.External(r.Metric) }
		}
		got := renderRuleQuery(find, rule.Query{Namespace: r.Namespace, Objects: r.Objects, Selector: selectorMatchers(t, r.Selector)})
		want := theirs.Queries[i]
		if r.Query != "" {
			want, differs = r.Query, true
			if r.Query == theirs.Queries[i] {
				t.Errorf("request %d is no difference", i)
			}
		}
		if failed := strings.HasPrefix(want, "error: "); failed != strings.HasPrefix(got, "error: ") || !failed && got != want {
			t.Errorf("request %d: %s\nwant        %s", i, got, want)
		}
	}
	if differs != (tc.Why != "") {
		t.Error("a difference has a reason, and a reason a difference")
	}
}

// renderRuleQuery renders the query by the template itself, because BuildRemoteQuery would format it anew.
func renderRuleQuery(find func() (*rule.Rule, error), q rule.Query) string {
	r, err := find()
	if err != nil {
		return "error: " + err.Error()
	}
	q.Rule = r
	key, err := q.SharingKey() // of a templated rule: the labels, and the text as rendered
	if err != nil {
		return "error: " + err.Error()
	}
	parts := strings.SplitN(key, "\x00", 3)
	return parts[len(parts)-1]
}

// selectorMatchers returns the provider's matchers for a metric selector.
func selectorMatchers(t testing.TB, text string) []*labels.Matcher {
	t.Helper()
	s, err := k8slabels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	types := map[selection.Operator][2]labels.MatchType{
		selection.Equals: {labels.MatchEqual}, selection.In: {labels.MatchEqual, labels.MatchRegexp},
		selection.NotEquals: {labels.MatchNotEqual}, selection.NotIn: {labels.MatchNotEqual, labels.MatchNotRegexp},
		selection.Exists: {labels.MatchNotEqual}, selection.DoesNotExist: {labels.MatchEqual},
	}
	var out []*labels.Matcher
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		values := slices.Sorted(slices.Values(r.ValuesUnsorted()))
		kind := types[r.Operator()][0]
		if len(values) > 1 {
			kind = types[r.Operator()][1]
			for i, v := range values {
				values[i] = regexp.QuoteMeta(v)
			}
		}
		out = append(out, labels.MustNewMatcher(kind, r.Key(), strings.Join(values, "|")))
	}
	return out
}

func ruleQueryText(t testing.TB, r *rule.Rule, namespace string, objects []string, selector []*labels.Matcher) string {
	t.Helper()
	got, err := rule.Query{Rule: r, Namespace: namespace, Objects: objects, Selector: selector}.BuildRemoteQuery(nil)
	if err != nil {
		t.Fatal(err)
	}
	return got.Expr
}
