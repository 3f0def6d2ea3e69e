package explain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// exposingShop has pods with pages of their own. Reads of a slow pod last as long as they may.
type exposingShop struct {
	knownShop
	pods    []discovery.MetricsPage
	pages   map[string]string // by pod
	slow    map[string]bool
	demands []discovery.Demand

	mu               sync.Mutex // guards the rest
	reads            []string
	running, highest int
}

func (s *exposingShop) addPods(workload, page string, names ...string) {
	for _, name := range names {
		p := discovery.MetricsPage{URL: "http://" + name}
		p.Namespace, p.Name, p.Owner, p.Ready = "shop", name, workload, true
		s.pods, s.pages[name] = append(s.pods, p), page
	}
}

// panickingPage is a page over which a read panics.
const panickingPage = "panic"

func newExposingShop() *exposingShop {
	return &exposingShop{pages: map[string]string{}, slow: map[string]bool{}}
}

func (s *exposingShop) MetricsPages(string, labels.Selector) []discovery.MetricsPage { return s.pods }
func (s *exposingShop) Demanded() []discovery.Demand                                 { return s.demands }

func (s *exposingShop) Diagnose(_, pod string, _ []string) metric.Omission {
	if s.slow[pod] {
		return metric.Omission{Reason: metric.ReasonScrapeFailed}
	}
	return metric.Omission{}
}

func (s *exposingShop) ReadFamilies(ctx context.Context, target metric.Object, _ string, limits exposition.FamilyPageLimits) (exposition.FamilyPage, error) {
	s.mu.Lock()
	s.reads = append(s.reads, target.Name)
	s.running++
	s.highest = max(s.highest, s.running)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
	}()
	if s.pages[target.Name] == panickingPage {
		panic("a bug over a page")
	}
	if s.slow[target.Name] {
		select {
		case <-ctx.Done():
		case <-time.After(limits.Timeout):
		}
		return exposition.FamilyPage{}, errors.New("timeout after " + limits.Timeout.String())
	}
	l := exposition.NewPageFamilyLister(exposition.Text, limits.PageBytes, limits.ListBytes)
	n, err := l.Write([]byte(s.pages[target.Name]))
	if err != nil {
		return exposition.FamilyPage{Bytes: int64(n)}, err
	}
	families, truncated, err := l.List()
	return exposition.FamilyPage{Families: families, Truncated: truncated, Bytes: int64(n)}, err
}

// newExposingAPI returns an API over the shop's pods with the built-in rules.
func newExposingAPI(t *testing.T, s *exposingShop) *API {
	t.Helper()
	set := newBuiltinRules(t)
	return New(Deps{
		Records: s, Peers: s, Discovery: s, Scrapes: s, Replica: "adapter-1", Now: time.Now, MetricsOf: set.MetricsOf,
		Families: func(resource, name string, external bool) []string {
			r, err := set.Lookup(resource, name)
			if err != nil || external {
				return nil
			}
			return r.Families()
		},
	})
}

// listExposed lists the metrics of the shop: items as lines, or the error.
func listExposed(t *testing.T, a *API) (*explainapi.MetricList, []string) {
	t.Helper()
	object, err := a.listExposedFamilies(t.Context(), "shop", labels.Everything())
	if err != nil {
		return nil, []string{err.Error()}
	}
	list, ok := object.(*explainapi.MetricList)
	if !ok {
		t.Fatalf("a list of %T", object)
	}
	var lines []string
	for i := range list.Items {
		m := &list.Items[i]
		lines = append(lines, fmt.Sprintf("%s %s %d %s %s: %s", m.Name, m.Type, m.Targets, m.DescribeMetrics(), m.DescribeDemands(), m.Help))
	}
	return list, lines
}

// TestExposedMetrics: each family of any workload is listed with its pods, its metrics and what asks for them, also a demanded metric that no
// family serves.
func TestExposedMetrics(t *testing.T) {
	t.Parallel()
	shop := newExposingShop()
	shop.addPods("ReplicaSet/web", "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\nhttp_requests_total 1\n"+
		"# TYPE depth gauge\ndepth 3\n# TYPE took summary\ntook{quantile=\"0.5\"} 1\ntook_sum 1\ntook_count 1\n", "web-1", "web-2", "web-3")
	shop.addPods("StatefulSet/db", "depth 2\n", "db-0")
	shop.addPods("", "<html>", "alone")
	shop.addPods("ReplicaSet/half\x1b", "depth 1\n", "half-1", "half-2", "half-3")
	shop.slow["half-1"], shop.pods[len(shop.pods)-2].Ready = true, false
	for _, name := range []string{"request_per_second", "depth", "lost_per_second"} {
		shop.demands = append(shop.demands, discovery.Demand{Resource: "pods", Metric: name, Namespace: "shop", Standing: name != "depth"})
	}
	shop.demands = append(shop.demands, discovery.Demand{Metric: reviewedDemandPrefix + "x", Namespace: "shop"}, discovery.Demand{Resource: "pods", Metric: "depth", Namespace: "bank"})
	list, lines := listExposed(t, newExposingAPI(t, shop))
	want := []string{
		"depth gauge 7 depth reader: ", "http_requests_total counter 3 request_per_second,http_requests_per_second autoscaler: Requests.",
		"took summary 3 took_sum_per_second,took_count_per_second <none>: ", "lost_per_second  0 <none> autoscaler: ",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantPages := []explainapi.MetricPage{
		{Workload: "Pod/alone", Pod: "alone", Targets: 1, Error: "HTML, not metrics"},
		{Workload: `ReplicaSet/half\x1b`, Pod: "half-3", Targets: 3, Families: 1},
		{Workload: "ReplicaSet/web", Pod: "web-1", Targets: 3, Families: 3}, {Workload: "StatefulSet/db", Pod: "db-0", Targets: 1, Families: 1},
	}
	if diff := cmp.Diff(wantPages, list.Pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if len(shop.reads) != 4 {
		t.Errorf("reads %v, want one pod of each workload", shop.reads)
	}
}

// TestExposedPagesAreRemembered: further lists within seconds read no page, also not one that failed; later ones do, and a namespace that
// always asks for new ones gets 429.
func TestExposedPagesAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := newExposingShop()
		shop.addPods("ReplicaSet/web", "depth 1\n", "web-1")
		shop.addPods("ReplicaSet/bad", "<html>", "bad-1")
		a := newExposingAPI(t, shop)
		for range 20 {
			if list, lines := listExposed(t, a); list == nil || len(lines) != 1 {
				t.Fatal(lines)
			}
		}
		if len(shop.reads) != 2 {
			t.Errorf("%d reads, want 2", len(shop.reads))
		}
		time.Sleep(exposedAge) //nolint:forbidigo // in a synctest bubble
		if listExposed(t, a); len(shop.reads) != 4 {
			t.Errorf("%d reads after %s, want 4", len(shop.reads), exposedAge)
		}
		var err error
		for i := range 2 * exposedBurst {
			shop.pods[0].Owner = fmt.Sprint("ReplicaSet/other-", i)
			if _, err = a.listExposedFamilies(t.Context(), "shop", nil); err != nil {
				break
			}
		}
		if !apierrors.IsTooManyRequests(err) {
			t.Errorf("ever new workloads: error %v", err)
		}
	})
}

// TestExposedListsTakeNoLonger: a thousand workloads, most of them slow, take two seconds, two pages at a time; quick ones come first.
func TestExposedListsTakeNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := newExposingShop()
		for i := range 1000 {
			name := fmt.Sprintf("web-%03d", i)
			shop.addPods("ReplicaSet/"+name, "depth 1\n", name)
			shop.slow[name] = i < 990
		}
		begin := time.Now()
		list, lines := listExposed(t, newExposingAPI(t, shop))
		if took := time.Since(begin); took != exposedTimeout || list == nil || shop.highest > exposedReaders {
			t.Fatalf("took %s with %d pages at a time: %v", took, shop.highest, lines)
		}
		if len(list.Pages) != maxExposedWorkloads || list.UnreadWorkloads != 1000-maxExposedWorkloads || list.Items[0].Targets != 10 {
			t.Errorf("%d pages, %d workloads unread, items %v", len(list.Pages), list.UnreadWorkloads, lines)
		}
		last := list.Pages[9].Error + list.Pages[5].Error
		if !strings.Contains(last, "not read: other pages took the 2s of a list") {
			t.Errorf("pages that were not read say %q", last)
		}
	})
}

// TestExposedListsAreBounded: pages with 100,000 families each, with names of their own and helps that a terminal obeys, make one list of
// bounded size, and of the pages of a list together so many bytes are read.
func TestExposedListsAreBounded(t *testing.T) {
	t.Parallel()
	shop := newExposingShop()
	for i := range maxExposedWorkloads {
		var page strings.Builder
		for n := range 100_000 / maxExposedWorkloads {
			fmt.Fprintf(&page, "# HELP f%d_%d \x1b[2J%s\nf%d_%d 1\n", i, n, strings.Repeat("\u202e", 100), i, n)
		}
		shop.addPods(fmt.Sprint("ReplicaSet/w", i), page.String(), fmt.Sprint("w", i))
	}
	a := newExposingAPI(t, shop)
	list, _ := listExposed(t, a)
	bytes := 0
	for _, m := range list.Items {
		bytes += len(m.Name) + len(m.Help)
		if strings.ContainsAny(m.Help, "\x1b\u202e") {
			t.Fatalf("help %q", m.Help)
		}
	}
	if !list.Truncated || !list.Pages[0].Truncated || bytes > memorybounds.FamilyList || len(list.Items) < 100 {
		t.Errorf("%d items of %d bytes, truncated %v, %+v", len(list.Items), bytes, list.Truncated, list.Pages[0])
	}
	if _, held := a.exposed.read.Usage(); held > memorybounds.RememberedFamilies {
		t.Errorf("%d bytes are remembered", held)
	}
	budget := &exposedBudget{left: maxExposedBytes}
	for range 3 {
		budget.returnExposedBytes(budget.takeExposedBytes() - maxExposedPageBytes - 1)
	}
	if left := budget.takeExposedBytes(); left != 0 {
		t.Errorf("%d bytes are left after pages of more than all", left)
	}
}

// TestExposedListPlaces: a namespace has one list at a time.
func TestExposedListPlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shop := newExposingShop()
		shop.addPods("ReplicaSet/web", "", "web-1")
		shop.slow["web-1"] = true
		a := newExposingAPI(t, shop)
		go func() { _, _ = a.listExposedFamilies(t.Context(), "shop", nil) }()
		synctest.Wait()
		if _, err := a.listExposedFamilies(t.Context(), "shop", nil); !apierrors.IsTooManyRequests(err) {
			t.Errorf("a second list of the namespace: error %v", err)
		}
		if _, err := a.listExposedFamilies(t.Context(), "bank", nil); err != nil {
			t.Errorf("another namespace: %v", err)
		}
		time.Sleep(exposedTimeout) //nolint:forbidigo // in a synctest bubble
		if _, err := a.listExposedFamilies(t.Context(), "shop", nil); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// TestPanicEndsOnePage: a panic over a page is the error of this page, and is counted.
func TestPanicEndsOnePage(t *testing.T) {
	t.Parallel()
	shop := newExposingShop()
	shop.addPods("ReplicaSet/bad", panickingPage, "bad-1")
	shop.addPods("ReplicaSet/web", "depth 1\n", "web-1")
	a := newExposingAPI(t, shop)
	list, lines := listExposed(t, a)
	if list == nil || len(list.Pages) != 2 {
		t.Fatal(lines)
	}
	if !strings.Contains(list.Pages[0].Error, "panic") || list.Pages[1].Error != "" || testutil.ToFloat64(a.panics.Counter()) != 1 {
		t.Errorf("pages %+v, %v panics counted", list.Pages, testutil.ToFloat64(a.panics.Counter()))
	}
}
