package provider

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

const pathRules = `
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- metric: request_per_second
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
  window: 10s
- metric: traffic
  resource: namespaces
  query: sum by (namespace) (rate(http_requests_total[$window]))
  window: 10s
- metric: all_traffic
  external: true
  query: sum(rate(http_requests_total[$window]))
  window: 10s
- metric: zero_if_missing
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
  window: 10s
  onMissing: zero
`

// service is one pod of known, steady rate, over two routes.
type service struct {
	labelledPod
	rate        float64
	start, stop time.Duration // since noon; it terminates at stop
	offset      time.Duration // of its scrapes in the interval
	scraped     int           // by the present adapter
	// departs is set if the cluster tells that the pod departs at stop, and the scraper ends its series. From surge on it
	// serves more requests a second.
	departs bool
	born    bool // the scraper knows when the container started
	surge   time.Duration
	more    float64
	newest  time.Duration // of its samples
	ended   bool
}

// count is what a route has counted.
func (s *service) count(now time.Duration) float64 {
	n := s.rate * (now - s.start).Seconds()
	if s.surge > 0 && now > s.surge {
		n += s.more * (now - s.surge).Seconds()
	}
	return math.Floor(n / 2)
}

// rateAt is the rate of all routes.
func (s *service) rateAt(now time.Duration) float64 {
	if s.surge > 0 && now > s.surge {
		return s.rate + s.more
	}
	return s.rate
}

// chain is the way of the data from samples to answers, with real rules, store and engine; a scrape is an append.
type chain struct {
	t        *testing.T
	services []*service
	store    *store.Store
	provider *Provider
	now      time.Duration // since noon
}

const interval = 2 * time.Second

// restart is a new adapter: the store is empty.
func (c *chain) restart() {
	set := compileRules(c.t, pathRules)
	c.store = store.New(store.Options{})
	everything := k8slabels.Everything()
	demands := &demandLog{hpas: []discovery.Demand{
		newObjectDemand("namespaces", "traffic", "", "shop", nil), {Metric: "all_traffic", Namespace: "shop", External: true},
		newObjectDemand("deployments.apps", "request_per_second", "shop", "web", nil),
		newObjectDemand("pods", "request_per_second", "shop", "", everything), newObjectDemand("pods", "zero_if_missing", "shop", "", everything),
	}}
	for _, s := range c.services {
		s.scraped = 0
	}
	c.provider = New(Deps{
		Rules:   func() Rules { return set },
		Backend: byName(map[string]Backend{"scrape": query.New(c.store, query.Options{Settings: query.Settings{Interval: interval}, Timeout: time.Hour})}),
		Pods:    c, Targets: c, Scrapes: c, Demands: demands, Mapper: newMapper(),
		Now: func() time.Time { return noon.Add(c.now) },
	}, Options{})
}

// The chain is the cluster, too.
var (
	_ Pods    = (*chain)(nil)
	_ Targets = (*chain)(nil)
	_ Scrapes = (*chain)(nil)
)

// Pods, Pod and PodsOf are those of the pods that there are by now.
func (c *chain) Pods(namespace string, s k8slabels.Selector) []discovery.Pod {
	return c.list().Pods(namespace, s)
}

func (c *chain) Pod(namespace, name string) (discovery.Pod, bool) {
	return c.list().Pod(namespace, name)
}

func (c *chain) PodsOf(ctx context.Context, r schema.GroupResource, o metric.Object) ([]discovery.Pod, error) {
	return c.list().PodsOf(ctx, r, o)
}

func (c *chain) list() podList {
	var out podList
	for _, s := range c.services {
		p := s.labelledPod
		if c.now >= s.stop {
			p.Live, p.Departed, p.Omission = false, s.departs, metric.Omission{Object: p.Object(), Reason: metric.ReasonTerminating}
		}
		if c.now >= s.start {
			out = append(out, p)
		}
	}
	return out
}

// advance scrapes what is due at the next step of 100 ms.
func (c *chain) advance() {
	c.now += 100 * time.Millisecond
	for _, s := range c.services {
		switch {
		case s.departs && !s.ended && c.now >= s.stop:
			c.append(s, s.newest+time.Millisecond, math.Float64frombits(value.StaleNaN))
			s.ended = true
		case c.now >= s.start && c.now < s.stop && c.now%interval == s.offset:
			if s.scraped == 0 && s.born {
				c.append(s, s.start, 0)
			}
			c.append(s, c.now, s.count(c.now))
			s.scraped++
			s.newest = c.now
		}
	}
}

// append adds a sample of each route.
func (c *chain) append(s *service, at time.Duration, count float64) {
	for _, route := range []string{"/a", "/b"} {
		l := labels.FromStrings("__name__", "http_requests_total", "namespace", s.Namespace, "pod", s.Name, "route", route)
		if _, err := c.store.Append(0, l, noon.Add(at).UnixMilli(), count); err != nil {
			c.t.Fatal(err)
		}
	}
}

// truth is the rate of all live services together, and of each.
func (c *chain) truth() (float64, map[string]float64) {
	sum, each := 0.0, map[string]float64{}
	for _, s := range c.services {
		if c.now >= s.start && c.now < s.stop {
			sum += s.rateAt(c.now)
			each[s.Name] = s.rateAt(c.now)
		}
	}
	return sum, each
}

func (c *chain) FamilyType(_, pod, _ string) (model.MetricType, bool) {
	for _, s := range c.services {
		if s.Name == pod {
			return model.MetricTypeCounter, s.scraped > 0
		}
	}
	return "", false
}

func (*chain) CountsUnseen(string, string) bool              { return false }
func (*chain) UnseenPods() map[metric.Object]metric.TimeSpan { return nil }
func (*chain) SilentSince(string, string) (time.Time, bool)  { return time.Time{}, false }

func (*chain) HeldCounts(string, string, []string) float64 { return 0 }

func (*chain) Decreases(string, string, []string) bool                  { return false }
func (*chain) RejectedSince(string, string, []string) (time.Time, bool) { return time.Time{}, false }

func (c *chain) Explain(string, string) metric.Omission { return metric.Omission{} }

func (c *chain) Diagnose(_, pod string, _ []string) metric.Omission {
	for _, s := range c.services {
		if s.Name == pod && s.scraped < 3 {
			return metric.Omission{Object: s.Object(), Reason: metric.ReasonWarmingUp}
		}
	}
	return metric.Omission{Reason: metric.ReasonAbsent}
}

// TestWholePath reads through real rules, store and engine while pods come and go and the adapter restarts: every answer is
// the truth or an error, whatever is asked, and errors last no longer than a few scrapes.
func TestWholePath(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	c := &chain{t: t, services: []*service{
		{labelledPod: livePod("a"), rate: 40, stop: never, offset: 300 * time.Millisecond},
		{labelledPod: livePod("b"), rate: 100, stop: 45 * time.Second, offset: 1100 * time.Millisecond},
		{labelledPod: livePod("c"), rate: 60, start: 20 * time.Second, stop: never, offset: 1900 * time.Millisecond},
	}}
	c.restart()
	served, rejected := map[string]int{}, map[string]int{}
	var sums []float64 // the truth every 100 ms
	for c.now < 100*time.Second {
		c.advance()
		if c.now == 60*time.Second {
			c.restart()
		}
		sum, each := c.truth()
		sums = append(sums, sum)
		if c.now%(500*time.Millisecond) != 0 {
			continue
		}
		for name, read := range c.reads() {
			got, err := read()
			if err != nil {
				rejected[name]++
				continue
			}
			served[name]++
			for pod, v := range got {
				low, high := each[pod], each[pod]
				switch {
				case pod == "" && name == "deployment":
					low, high = sum, sum
				case pod == "":
					// An expression over all pods averages the total over its window: between the totals of that time.
					recent := sums[max(0, len(sums)-120):]
					low, high = slices.Min(recent), slices.Max(recent)
				}
				if v < 0.95*low || v > 1.05*high {
					t.Errorf("%s after %v: value %q is %v, the truth is %v to %v", name, c.now, pod, v, low, high)
				}
			}
		}
	}
	// Rejected are about three scrapes after each of two starts, and where a new pod counts, three more.
	for name, most := range map[string]int{"pods": 20, "zero": 20, "deployment": 40, "namespace": 45, "external": 45} {
		if rejected[name] > most || served[name] < 200-most {
			t.Errorf("%s: served %d, rejected %d times; at most %d", name, served[name], rejected[name], most)
		}
	}
}

// reads are the ways to ask for the rate; the values are by pod, or of all under the empty name.
func (c *chain) reads() map[string]func() (map[string]float64, error) {
	list := func(name string) func() (map[string]float64, error) {
		return func() (map[string]float64, error) {
			got, err := c.provider.GetMetricBySelector(c.t.Context(), "shop", k8slabels.Everything(), pods(name), nil)
			if err != nil {
				return nil, err
			}
			out := map[string]float64{}
			for _, i := range got.Items {
				out[i.DescribedObject.Name] = i.Value.AsApproximateFloat64()
			}
			return out, nil
		}
	}
	one := func(resource, namespace, object, name string) func() (map[string]float64, error) {
		return func() (map[string]float64, error) {
			got, err := c.provider.GetMetricByName(c.t.Context(), newNamespacedName(namespace, object), newResourceMetricInfo(resource, name), nil)
			if err != nil {
				return nil, err
			}
			return map[string]float64{"": got.Value.AsApproximateFloat64()}, nil
		}
	}
	return map[string]func() (map[string]float64, error){
		"pods": list("request_per_second"), "zero": list("zero_if_missing"),
		"deployment": one("deployments.apps", "shop", "web", "request_per_second"),
		"namespace":  one("namespaces", "", "shop", "traffic"),
		"external": func() (map[string]float64, error) {
			got, err := c.provider.GetExternalMetric(c.t.Context(), "shop", nil, metricsprovider.ExternalMetricInfo{Metric: "all_traffic"})
			if err != nil {
				return nil, err
			}
			if len(got.Items) != 1 {
				return nil, fmt.Errorf("%d items", len(got.Items))
			}
			return map[string]float64{"": got.Items[0].Value.AsApproximateFloat64()}, nil
		},
	}
}
