package provider

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestMatchers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		selector string
		want     []string
	}{
		"everything":               {"", nil},
		"=":                        {"route=orders", []string{`route="orders"`}},
		"==":                       {"route==orders", []string{`route="orders"`}},
		"!=":                       {"route!=orders", []string{`route!="orders"`}},
		"in, one":                  {"route in (orders)", []string{`route="orders"`}},
		"in, several, sorted":      {"code in (503,200,503)", []string{`code=~"200|503"`}},
		"in, quoted":               {"version in (v1.0,v1.1)", []string{`version=~"v1\\.0|v1\\.1"`}},
		"notin, one":               {"route notin (orders)", []string{`route!="orders"`}},
		"notin, several":           {"route notin (b,a)", []string{`route!~"a|b"`}},
		"exists":                   {"route", []string{`route!=""`}},
		"does not exist":           {"!route", []string{`route=""`}},
		"several, in order of key": {"b=2,a=1,!c", []string{`a="1"`, `b="2"`, `c=""`}},
		"prefixed key":             {"app.kubernetes.io/name=x", []string{`"app.kubernetes.io/name"="x"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := k8slabels.Parse(tc.selector)
			if err != nil {
				t.Fatal(err)
			}
			got, err := convertSelectorToMatchers(s)
			if err != nil {
				t.Fatalf("matchers(%q): %v", tc.selector, err)
			}
			var texts []string
			for _, m := range got {
				texts = append(texts, m.String())
			}
			if diff := cmp.Diff(tc.want, texts); diff != "" {
				t.Errorf("matchers(%q) (-want +got):\n%s", tc.selector, diff)
			}
		})
	}
}

// The selector that an answer repeats selects what the one that was asked with does.
func TestAsLabelSelector(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a=1", "a==1", "a!=1", "a in (1,2)", "a notin (2,1)", "a", "!a", "a,a!=1", "a=1,a=2", "a=1,b!=2,!c,d in (3)",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			asked, err := k8slabels.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := metav1.LabelSelectorAsSelector(convertToLabelSelector(asked))
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range []string{"", "1", "2"} {
				for _, rest := range []k8slabels.Set{{}, {"d": "3"}, {"b": "2", "d": "3"}, {"c": "", "d": "3"}} {
					set := k8slabels.Merge(rest, nil)
					if a != "" {
						set["a"] = a
					}
					if want := asked.Matches(set); got.Matches(set) != want {
						t.Errorf("%v: %q selects it: %v, not %v", set, got, got.Matches(set), want)
					}
				}
			}
		})
	}
}

func TestMatchersRejected(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		selector k8slabels.Selector
		want     string
	}{
		"greater than": {mustParse(t, "size>3"), `metric selector "size>3": operator "gt" cannot be expressed over the labels of series, which are compared as strings`},
		"less than":    {mustParse(t, "size<3"), `operator "lt" cannot be expressed`},
		"empty":        {mustParse(t, "route="), `metric selector "route=": a series never has an empty label; write Exists or DoesNotExist`},
		"empty in":     {mustParse(t, "route in (a,)"), "a series never has an empty label"},
		"empty notin":  {mustParse(t, "route notin (a,)"), "a series never has an empty label"},
		"nothing":      {k8slabels.Nothing(), "the metric selector selects nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := convertSelectorToMatchers(tc.selector)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			if metric.KindOf(err) != metric.KindInvalid {
				t.Errorf("kind %v, want KindInvalid", metric.KindOf(err))
			}
		})
	}
}

// FuzzMatchers: whatever Kubernetes parses is either rejected or selects the same series as Kubernetes would.
func FuzzMatchers(f *testing.F) {
	f.Add("route in (a,b.c)", "route", "b.c")
	f.Add("route notin (a,b)", "route", "abc")
	f.Add("!route", "code", "200")
	f.Add("route", "route", "x")
	f.Add("route!=a,code==200", "code", "200")
	f.Fuzz(func(t *testing.T, selector, key, value string) {
		s, err := k8slabels.Parse(selector)
		if err != nil || value == "" {
			return
		}
		ms, err := convertSelectorToMatchers(s)
		if err != nil {
			if metric.KindOf(err) != metric.KindInvalid {
				t.Fatalf("matchers(%q): kind %v", selector, metric.KindOf(err))
			}
			return
		}
		series := labels.FromStrings(key, value)
		got := true
		for _, m := range ms {
			got = got && m.Matches(series.Get(m.Name))
		}
		if want := s.Matches(k8slabels.Set{key: value}); got != want {
			t.Errorf("selector %q on {%s=%q}: %v, Kubernetes says %v", selector, key, value, got, want)
		}
	})
}

// TestMatchersOfLabelSelector goes the autoscaler's way: a LabelSelector, printed, sent and parsed.
func TestMatchersOfLabelSelector(t *testing.T) {
	t.Parallel()
	s, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{
		MatchLabels: map[string]string{"method": "GET"},
		MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "code", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"500", "503"}},
			{Key: "route", Operator: metav1.LabelSelectorOpExists},
			{Key: "canary", Operator: metav1.LabelSelectorOpDoesNotExist},
			{Key: "zone", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "b"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := convertSelectorToMatchers(mustParse(t, s.String()))
	if err != nil {
		t.Fatal(err)
	}
	want := `canary="" code!~"500|503" method="GET" route!="" zone=~"a|b"`
	var texts []string
	for _, m := range got {
		texts = append(texts, m.String())
	}
	if diff := cmp.Diff(want, strings.Join(texts, " ")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func mustParse(t *testing.T, s string) k8slabels.Selector {
	t.Helper()
	out, err := k8slabels.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
