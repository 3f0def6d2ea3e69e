package discovery

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

func TestReaders(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	r := newDiscoveryDemandMemory()
	rps := Demand{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parseSelector(t, "app=web,tier=front")}
	same := rps
	same.Selector = parseSelector(t, "tier=front,app=web")
	errs := Demand{Resource: "pods", Metric: "errors", Namespace: "shop"}
	for _, step := range []struct {
		demand Demand
		at     time.Duration
		fresh  bool
	}{{rps, 0, true}, {errs, 0, true}, {same, 9 * time.Minute, false}} {
		if fresh, full := r.rememberDiscoveryReaderDemand(step.demand, start.Add(step.at)); fresh != step.fresh || full {
			t.Errorf("note(%v) = %v, %v; want %v, false", step.demand, fresh, full, step.fresh)
		}
	}
	if r.expireDiscoveryReaderDemands(start.Add(readerDemandTTL - 1)) {
		t.Error("expire before the time")
	}
	if !r.expireDiscoveryReaderDemands(start.Add(readerDemandTTL)) {
		t.Error("no expiry at the time")
	}
	if got := r.listDiscoveryReaderDemands(); len(got) != 1 || got[0].Metric != "rps" {
		t.Errorf("list = %v, want what was read again", got)
	}
}

func TestReadersAreBounded(t *testing.T) {
	t.Parallel()
	r, now := newDiscoveryDemandMemory(), time.Unix(1000, 0)
	for i := range maxReaderDemands {
		r.rememberDiscoveryReaderDemand(Demand{Resource: "pods", Metric: fmt.Sprint("m", i)}, now)
	}
	if fresh, full := r.rememberDiscoveryReaderDemand(Demand{Resource: "pods", Metric: "one more"}, now); fresh || !full {
		t.Errorf("note one too many = %v, %v; want false, true", fresh, full)
	}
	if fresh, full := r.rememberDiscoveryReaderDemand(Demand{Resource: "pods", Metric: "m1"}, now); fresh || full {
		t.Errorf("note a known one = %v, %v; want false, false", fresh, full)
	}
}

func TestSelectorText(t *testing.T) {
	t.Parallel()
	for want, selectors := range map[string][]labels.Selector{
		"":        {nil, labels.Everything(), parseSelector(t, "")},
		"!":       {labels.Nothing()},
		"a=1,b=2": {parseSelector(t, "b=2,a=1"), labels.SelectorFromSet(labels.Set{"a": "1", "b": "2"})},
	} {
		for _, s := range selectors {
			if got := canonicalDiscoveryDemandSelector(s); got != want {
				t.Errorf("selectorText(%v) = %q, want %q", s, got, want)
			}
		}
	}
}
