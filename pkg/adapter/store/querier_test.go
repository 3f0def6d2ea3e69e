package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// drawLabels draws the labels of a series: few values, so that matchers hit, and every label may be missing.
func drawLabels(r *rand.Rand) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for name, values := range map[string][]string{
		nameLabel:      {"a_total", "b_total", "b_bucket"},
		namespaceLabel: {"shop", "mail"},
		podLabel:       {"p-1", "p-2", "p-3", "p.4", "q|5"},
		"code":         {"200", "404", "500"},
		"le":           {"+Inf", "0.5"},
	} {
		if i := r.IntN(len(values) + 1); i < len(values) {
			b.Set(name, values[i])
		}
	}
	return b.Labels()
}

// drawMatchers draws one to three matchers of every kind.
func drawMatchers(r *rand.Rand) (matchers []*labels.Matcher) {
	names := []string{nameLabel, namespaceLabel, podLabel, "code", "le", "unknown"}
	values := []string{
		"a_total", "b_total", "shop", "mail", "p-1", "p-2", "200", "0.5", "", "nothing",
		"p-1|p-2", "p-1|p-1|nothing", "p-1|", "p-[13]", `p\.4|q\|5`, "p.*", ".+", ".*", "b_.+", "(shop|mail)", "5..", "a_total|b_bucket",
	}
	kinds := []labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp}
	for range 1 + r.IntN(3) {
		kind, name, value := kinds[r.IntN(4)], names[r.IntN(len(names))], values[r.IntN(len(values))]
		matchers = append(matchers, labels.MustNewMatcher(kind, name, value))
	}
	return matchers
}

func matchesAll(l labels.Labels, matchers []*labels.Matcher) bool {
	return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) })
}

// Select, LabelNames and LabelValues find the same as a walk over all series, even after the store dropped some.
func TestSelectEqualsNaiveFilter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			s := New(Options{})
			all := map[string]labels.Labels{}
			for range 150 {
				l := drawLabels(r)
				if ref, err := s.Append(0, l, 1, 1); err != nil {
					continue // drawn before
				} else if r.IntN(4) == 0 {
					s.dropListedStoreSeries([]*storedSeries{s.lookupSeriesRef(ref)}, math.MaxInt64)
				} else {
					all[l.String()] = l
				}
			}
			found := 0
			for range 300 {
				matchers := drawMatchers(r)
				var want []labels.Labels
				for _, l := range all {
					if matchesAll(l, matchers) {
						want = append(want, l)
					}
				}
				found += len(want)
				checkSelection(t, s, matchers, want)
			}
			if found == 0 {
				t.Error("no selection finds anything: the test shows nothing")
			}
		})
	}
}

func checkSelection(t *testing.T, s *Store, matchers []*labels.Matcher, want []labels.Labels) {
	t.Helper()
	slices.SortFunc(want, labels.Compare)
	names, codes := map[string]struct{}{}, map[string]struct{}{}
	var wanted []string
	for _, l := range want {
		wanted = append(wanted, l.String())
		l.Range(func(l labels.Label) { names[l.Name] = struct{}{} })
		if c := l.Get("code"); c != "" {
			codes[c] = struct{}{}
		}
	}
	q, ctx := newTestQuerier(t, s, 0, 9), context.Background()
	var got []string
	for set := q.Select(ctx, true, nil, matchers...); set.Next(); {
		got = append(got, set.At().Labels().String())
	}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Errorf("select %v (-want +got):\n%s", matchers, d)
	}
	gotNames, _, err := q.LabelNames(ctx, nil, matchers...)
	if d := cmp.Diff(sortAndLimitLabelNames(names, nil), gotNames); err != nil || d != "" {
		t.Errorf("label names of %v: %v (-want +got):\n%s", matchers, err, d)
	}
	gotCodes, _, err := q.LabelValues(ctx, "code", nil, matchers...)
	if d := cmp.Diff(sortAndLimitLabelNames(codes, nil), gotCodes); err != nil || d != "" {
		t.Errorf("codes of %v: %v (-want +got):\n%s", matchers, err, d)
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, pod := range []string{"c", "a", "b"} {
		ref := mustAppend(t, s, 0, counterLabels(pod), 1000, 1)
		mustAppend(t, s, ref, counterLabels(pod), 2000, 2)
	}
	q := newTestQuerier(t, s, 0, 9000)
	set := q.Select(t.Context(), true, &storage.SelectHints{Start: 1500, End: 2500, Limit: 2}, namedMatcher)
	var pods []string
	for set.Next() {
		pods = append(pods, set.At().Labels().Get(podLabel))
		it := set.At().Iterator(nil)
		it.Next()
		if at, v := it.At(); at != 2000 || v != 2 {
			t.Errorf("first sample (%d, %v), want (2000, 2)", at, v)
		}
	}
	if d := cmp.Diff([]string{"a", "b"}, pods); d != "" {
		t.Errorf("pods (-want +got):\n%s", d)
	}
	values, _, err := q.LabelValues(t.Context(), podLabel, &storage.LabelHints{Limit: 1})
	if d := cmp.Diff([]string{"a"}, values); err != nil || d != "" {
		t.Errorf("label values: %v (-want +got):\n%s", err, d)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// A selector with the names of its pods must not walk the other pods: an HPA's read would grow with the cluster.
func TestSelectByPodVisitsOnlyThese(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for i := range 1000 {
		mustAppend(t, s, 0, counterLabels(fmt.Sprint("p-", i)), 1, 1)
	}
	for _, m := range []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, podLabel, "p-1"),
		labels.MustNewMatcher(labels.MatchRegexp, podLabel, "p-1|p-2|p-3"),
		labels.MustNewMatcher(labels.MatchRegexp, podLabel, `p-1|p\.2`),
	} {
		visited := 0
		walkIndexLevel(s.index["http_requests_total"]["shop"], splitMatchersByLevel([]*labels.Matcher{m}).pod, func([]*storedSeries) { visited++ })
		if fixed, _ := splitMatchersByLevel([]*labels.Matcher{m}).pod.fixedMatcherValues(); len(fixed) == 0 || visited > len(fixed) {
			t.Errorf("%s: %d pods visited, keys %v", m, visited, fixed)
		}
	}
}

// Visit finds the same series and samples as a Select with a matcher of the pods' names.
func TestVisitIsSelect(t *testing.T) {
	t.Parallel()
	s := New(Options{Retention: time.Hour})
	for i := range 40 {
		l := labels.NewBuilder(counterLabels(fmt.Sprint("p-", i%20))).Set("route", fmt.Sprint(i/20)).Labels()
		for at := range int64(100) {
			mustAppend(t, s, 0, l, at*1000, math.Sqrt(float64(at)))
		}
	}
	for name, tc := range map[string]struct {
		mint, maxt int64
		label      string
		values     []string
		pattern    string
	}{
		"all":                    {0, 200_000, "", nil, ".+"},
		"by pod":                 {0, 200_000, podLabel, []string{"p-1", "p-3", "q-1"}, "p-1|p-3"},
		"of a time":              {20_500, 60_000, podLabel, []string{"p-1", "p-3"}, "p-1|p-3"},
		"before all":             {-5, -1, podLabel, []string{"p-1"}, "p-1"},
		"none":                   {0, 200_000, podLabel, []string{}, "none"},
		"by more than there are": {0, 200_000, podLabel, strings.Split("p-1 p-10 p-11 p-12 p-13 p-14 p-15 p-16 p-17 p-18 p-19 p-2 p-20 p-21 p-22 p-23 p-24 p-25", " "), "p-[12].?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, got := map[string][]float64{}, map[string][]float64{}
			set := newTestQuerier(t, s, tc.mint, tc.maxt).Select(t.Context(), false, nil, namedMatcher, labels.MustNewMatcher(labels.MatchRegexp, podLabel, tc.pattern))
			for set.Next() {
				key := set.At().Labels().String()
				want[key] = []float64{}
				for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
					at, v := it.At()
					want[key] = append(want[key], float64(at), v)
				}
			}
			s.Visit(tc.mint, tc.maxt, []*labels.Matcher{namedMatcher}, tc.label, tc.values, func(l labels.Labels, times []int64, values []float64) {
				key := l.String()
				if got[key] != nil {
					t.Errorf("%s was visited twice", key)
				}
				got[key] = []float64{}
				for i, at := range times {
					got[key] = append(got[key], float64(at), values[i])
				}
			})
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-select +visit):\n%s", d)
			}
		})
	}
}

// Visit brings the series of a metric name and a pod together, in any order of appends and for any matchers.
func TestVisitPodByPod(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	s := New(Options{})
	for _, i := range r.Perm(300) {
		l := labels.NewBuilder(counterLabels(fmt.Sprint("p-", i%30))).Set("namespace", fmt.Sprint("n-", i%2)).Set("route", fmt.Sprint(i)).Labels()
		mustAppend(t, s, 0, l, 1, 1)
	}
	name := labels.MustNewMatcher(labels.MatchEqual, nameLabel, "http_requests_total")
	for text, matchers := range map[string][]*labels.Matcher{
		"all":     {name},
		"some":    {name, labels.MustNewMatcher(labels.MatchRegexp, podLabel, "p-1.*")},
		"a route": {name, labels.MustNewMatcher(labels.MatchNotEqual, "route", "17")},
	} {
		done, last := map[[2]string]bool{}, [2]string{}
		s.Visit(0, 1, matchers, "", nil, func(l labels.Labels, _ []int64, _ []float64) {
			pod := [2]string{l.Get(namespaceLabel), l.Get(podLabel)}
			if pod != last && done[pod] {
				t.Errorf("%s: %v again", text, pod)
			}
			done[pod], last = true, pod
		})
		if len(done) < 10 {
			t.Errorf("%s: %d pods", text, len(done))
		}
	}
}
