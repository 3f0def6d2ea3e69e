package promadapter

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// seriesList is a server with these series, written {a="b"} or name{a="b"}. It records its list calls.
type seriesList struct {
	mu        sync.Mutex // guards the rest
	series    []labels.Labels
	listCalls []string
	failures  map[string]error // by selector
}

func newSeriesList(t testing.TB, texts ...string) *seriesList {
	t.Helper()
	s := &seriesList{}
	s.setSeries(t, texts...)
	return s
}

func (s *seriesList) setSeries(t testing.TB, texts ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.series = nil
	for _, text := range texts {
		parsed, err := parseSeriesQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		b := labels.NewBuilder(labels.EmptyLabels())
		for _, m := range parsed.matchers {
			b.Set(m.Name, m.Value)
		}
		s.series = append(s.series, b.Labels())
	}
}

// setListError makes listings of the selector fail; * stands for all.
func (s *seriesList) setListError(selector string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = map[string]error{selector: err}
}

// takeListCalls returns the list calls since the last takeListCalls, sorted.
func (s *seriesList) takeListCalls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.listCalls
	s.listCalls = nil
	slices.Sort(calls)
	return calls
}

func (s *seriesList) forEachSelected(call string, sel SeriesSelection, do func(labels.Labels)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listCalls = append(s.listCalls, call+" "+strings.Join(sel.Match, " "))
	if len(sel.Match) == 0 || sel.Limit == 0 || !sel.Start.Before(sel.End) {
		return errors.New("a list call without bounds")
	}
	for _, match := range sel.Match {
		if err := errors.Join(s.failures[match], s.failures["*"]); err != nil {
			return err
		}
		selector, err := parseSeriesQuery(match)
		if err != nil {
			return err
		}
		for _, l := range s.series {
			if !slices.ContainsFunc(selector.matchers, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) }) {
				do(l)
			}
		}
	}
	return nil
}

func (s *seriesList) LabelValues(ctx context.Context, label string, sel SeriesSelection, each func(string) error) error {
	seen := map[string]bool{}
	if err := s.forEachSelected("values", sel, func(l labels.Labels) {
		if v := l.Get(label); v != "" {
			seen[v] = true
		}
	}); err != nil {
		return err
	}
	return yieldValues(ctx, seen, each)
}

func (s *seriesList) LabelNames(ctx context.Context, sel SeriesSelection, each func(string) error) error {
	seen := map[string]bool{}
	if err := s.forEachSelected("names", sel, func(l labels.Labels) { l.Range(func(l labels.Label) { seen[l.Name] = true }) }); err != nil {
		return err
	}
	return yieldValues(ctx, seen, each)
}

func yieldValues(ctx context.Context, seen map[string]bool, each func(string) error) error {
	for _, v := range slices.Sorted(maps.Keys(seen)) {
		if err := errors.Join(ctx.Err(), each(v)); err != nil {
			return err
		}
	}
	return nil
}

// fakeCluster has usualResources and extra.
type fakeCluster struct {
	mu    sync.Mutex // guards the rest
	extra []Resource
	down  error
}

var usualResources = []Resource{
	{"pods", "pod", "", true}, {"namespaces", "namespace", "", false}, {"nodes", "node", "", false},
	{"services", "service", "", true}, {"persistentvolumes", "persistentvolume", "", false},
	{"deployments.apps", "deployment", "apps", true}, {"jobs.batch", "job", "batch", true},
	{"ingresses.networking.k8s.io", "ingress", "networking.k8s.io", true},
}

func (c *fakeCluster) setResources(down error, extra ...Resource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down, c.extra = down, extra
}

func (c *fakeCluster) LookupResource(name string) (Resource, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return Resource{}, c.down
	}
	resource, group, _ := strings.Cut(name, ".")
	for _, r := range append(usualResources[:len(usualResources):len(usualResources)], c.extra...) {
		plural, _, _ := strings.Cut(r.Name, ".")
		if (resource == plural || resource == r.Singular) && (group == "" || group == r.Group) {
			return r, nil
		}
	}
	return Resource{}, metric.Errorf(metric.KindNotFound, "the cluster has no resource %q", name)
}

func loadConfig(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
