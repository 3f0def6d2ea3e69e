package discovery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestReaders(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	r := newReaderDemands()
	rps := Demand{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parseSelector(t, "app=web,tier=front")}
	same := rps
	same.Selector = parseSelector(t, "tier=front,app=web")
	errs := Demand{Resource: "pods", Metric: "errors", Namespace: "shop"}
	for _, step := range []struct {
		demand Demand
		at     time.Duration
		fresh  bool
	}{{rps, 0, true}, {errs, 0, true}, {same, 9 * time.Minute, false}} {
		if fresh, err := r.rememberReaderDemand(step.demand.newDemandKey(), step.demand, start.Add(step.at)); fresh != step.fresh || err != nil {
			t.Errorf("remember(%v) = %v, %v; want %v, nil", step.demand, fresh, err, step.fresh)
		}
	}
	if r.expireReaderDemands(start.Add(readerDemandTTL - 1)) {
		t.Error("expire before the time")
	}
	if !r.expireReaderDemands(start.Add(readerDemandTTL)) {
		t.Error("no expiry at the time")
	}
	if got := r.listReaderDemands(); len(got) != 1 || got[0].Metric != "rps" {
		t.Errorf("list = %v, want what was read again", got)
	}
}

// TestReadersAreBounded: a namespace at its bound leaves room for others, and where all are at theirs, the namespace with the most
// gives way.
func TestReadersAreBounded(t *testing.T) {
	t.Parallel()
	r, now := newReaderDemands(), time.Unix(1000, 0)
	remember := func(namespace, metric string) (bool, error) {
		now = now.Add(time.Millisecond)
		d := Demand{Resource: "pods", Metric: metric, Namespace: namespace}
		return r.rememberReaderDemand(d.newDemandKey(), d, now)
	}
	for namespace := range 10 {
		for i := range maxNamespaceReaderDemands {
			if fresh, err := remember(fmt.Sprint("evil-", namespace), fmt.Sprint("m", i)); !fresh || err != nil {
				t.Fatalf("remember %d of evil-%d = %v, %v", i, namespace, fresh, err)
			}
		}
	}
	if fresh, err := remember("evil-0", "one more"); fresh || metric.KindOf(err) != metric.KindUnavailable || !strings.Contains(err.Error(), "evil-0") {
		t.Errorf("one too many of a namespace = %v, %v; want its bound", fresh, err)
	}
	if fresh, err := remember("evil-0", "m1"); fresh || err != nil {
		t.Errorf("a known one = %v, %v; want false, nil", fresh, err)
	}
	if fresh, err := remember("shop", "rps"); !fresh || err != nil {
		t.Errorf("a namespace with little = %v, %v; want true, nil", fresh, err)
	}
	if got := len(r.listReaderDemands()); got != maxReaderDemands {
		t.Errorf("%d demands, want %d", got, maxReaderDemands)
	}
}

// TestReadersAreBoundedInBytes has readers with large selectors and names.
func TestReadersAreBoundedInBytes(t *testing.T) { //nolint:paralleltest // measures the heap
	r, now := newReaderDemands(), time.Unix(1000, 0)
	before := measureHeap()
	for i := range 2000 {
		d := Demand{Resource: "pods", Metric: fmt.Sprint("m", i, strings.Repeat("x", 200)), Namespace: fmt.Sprint("evil-", i%100), Selector: largeSelector(t, i)}
		_, _ = r.rememberReaderDemand(d.newDemandKey(), d, now)
	}
	got := (float64(measureHeap()) - float64(before)) / (1 << 20)
	if r.total.demands < 100 || got > 3*maxReaderDemandBytes>>20 {
		t.Errorf("%d demands take %.1f MiB, want at least 100 and at most %d MiB", r.total.demands, got, 3*maxReaderDemandBytes>>20)
	}
	if !r.expireReaderDemands(now.Add(readerDemandTTL)) || r.total != (demandUsage{}) || len(r.byNamespace) != 0 {
		t.Errorf("after the time: %v, %d namespaces", r.total, len(r.byNamespace))
	}
}

// largeSelector is a selector of some 10 KB.
func largeSelector(t *testing.T, i int) labels.Selector {
	t.Helper()
	values := make([]string, 500)
	for v := range values {
		values[v] = fmt.Sprintf("value-%04d-%06d", i, v)
	}
	r, err := labels.NewRequirement("app", selection.NotIn, values)
	if err != nil {
		t.Fatal(err)
	}
	return labels.NewSelector().Add(*r)
}

func TestSelectorText(t *testing.T) {
	t.Parallel()
	for want, selectors := range map[string][]labels.Selector{
		"":        {nil, labels.Everything(), parseSelector(t, "")},
		"!":       {labels.Nothing()},
		"a=1,b=2": {parseSelector(t, "b=2,a=1"), labels.SelectorFromSet(labels.Set{"a": "1", "b": "2"})},
	} {
		for _, s := range selectors {
			if got := canonicalDemandSelector(s); got != want {
				t.Errorf("selectorText(%v) = %q, want %q", s, got, want)
			}
		}
	}
}
