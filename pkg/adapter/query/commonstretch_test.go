// The total of a group is conserved while its load moves between pods.

package query

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// movingPod is a pod whose rate changes when the load of its group moves at time 0, in milliseconds.
type movingPod struct {
	before, after float64 // requests per second
	born, gone    int64   // it counts from born; scrapes fail from gone on
	counter       float64
	phase         int64
}

// count returns the requests until a time.
func (p *movingPod) count(at int64) float64 {
	at = min(at, p.gone)
	early := max(0, min(at, 0)-p.born)
	late := max(0, at-max(0, p.born))
	return p.counter + (p.before*float64(early)+p.after*float64(late))/1000
}

const (
	never  = int64(math.MaxInt64)
	always = int64(-1000_000)
)

// moveLoad returns pods over which a rate is spread evenly: before pods until time 0, after pods from then on. Joining
// pods are born 3 s earlier, leaving pods answer for 4 s more.
func moveLoad(rate float64, before, after int) []*movingPod {
	var pods []*movingPod
	for i := range max(before, after) {
		p := &movingPod{born: always, gone: never, counter: 12345}
		if i < before {
			p.before = rate / float64(before)
		} else {
			p.born, p.counter = -3000, 0
		}
		if i < after {
			p.after = rate / float64(after)
		} else {
			p.gone = 4000
		}
		pods = append(pods, p)
	}
	return pods
}

// rollPods returns pods of which each is replaced, all at time 0.
func rollPods(rate float64, n int) []*movingPod {
	pods := moveLoad(rate, n, n)
	for _, p := range pods {
		p.after, p.gone = 0, 4000
		pods = append(pods, &movingPod{born: -3000, gone: never, after: rate / float64(n)})
	}
	return pods
}

// scrapeMovingPods appends the samples of all pods from −100 s to 100 s to a store, in the order of time.
func scrapeMovingPods(t *testing.T, pods []*movingPod, r *rand.Rand) *store.Store {
	t.Helper()
	s := store.New(store.Options{Retention: 500 * time.Second})
	add := func(i int, at int64, v float64) {
		l := labels.FromStrings(model.MetricNameLabel, "x_total", "namespace", "shop", "pod", fmt.Sprint("web-", i))
		if _, err := s.Append(0, l, epoch+at, v); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range pods {
		p.phase = r.Int64N(2000)
		if p.born > always {
			add(i, p.born/1000*1000-r.Int64N(2)*1000, 0) // the second in which the pod started
		}
		for at := int64(-100_000) + p.phase; at < 100_000; at += 2000 {
			if at < p.born {
				continue
			}
			if at >= p.gone {
				add(i, at, math.Float64frombits(value.StaleNaN))
				break
			}
			add(i, at, p.count(at))
		}
	}
	return s
}

// sumRightValues adds up values.
func sumRightValues(values []metric.Value) (sum float64) {
	for _, v := range values {
		if v.Reason == "" {
			sum += v.Value
		}
	}
	return sum
}

// TestConservedTotal: the sum over a group under a constant load is right while the load moves, over pods and outside. A
// leaving pod is announced before the load moves, and has ended within two scrapes after its last answer.
func TestConservedTotal(t *testing.T) {
	t.Parallel()
	const rate = 500.0
	for name, pods := range map[string]func() []*movingPod{
		"2 to 10":  func() []*movingPod { return moveLoad(rate, 2, 10) },
		"10 to 2":  func() []*movingPod { return moveLoad(rate, 10, 2) },
		"4 to 8":   func() []*movingPod { return moveLoad(rate, 4, 8) },
		"8 to 4":   func() []*movingPod { return moveLoad(rate, 8, 4) },
		"20 to 19": func() []*movingPod { return moveLoad(rate, 20, 19) },
		"rollout":  func() []*movingPod { return rollPods(rate, 4) },
	} {
		for _, window := range []string{"auto", "10s", "30s", "60s"} {
			for _, lines := range [][]string{
				{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: " + window},
				{"external: true", "query: sum(rate(x_total[$window]))", "window: " + window},
			} {
				t.Run(fmt.Sprint(name, "/", window, "/", lines[0]), func(t *testing.T) {
					t.Parallel()
					r := compileRule(t, interval, lines...)
					early, late := [2]float64{9, 0}, [2]float64{9, 0}
					for seed := range uint64(4) {
						s := scrapeMovingPods(t, pods(), rand.New(rand.NewPCG(seed, 5)))
						e := New(s, unhurried)
						for at := int64(0); at < 90_000; at += 300 {
							values, err := e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop", Moved: time.UnixMilli(epoch + min(at, 0))}, time.UnixMilli(epoch+at))
							if err != nil {
								t.Fatal(err)
							}
							bounds := &late
							if at < 4000 {
								bounds = &early
							}
							share := sumRightValues(values) / rate
							bounds[0], bounds[1] = min(bounds[0], share), max(bounds[1], share)
						}
					}
					t.Logf("%.3f to %.3f in the first two scrapes, then %.3f to %.3f", early[0], early[1], late[0], late[1])
					if early[0] < 0.9 || early[1] > 1.1 || late[0] < 0.95 || late[1] > 1.05 {
						t.Errorf("want 0.9 to 1.1, then 0.95 to 1.05")
					}
				})
			}
		}
	}
}

// TestRestartInPlace: after a pause in which no pod answered, the stretch begins anew.
func TestRestartInPlace(t *testing.T) {
	t.Parallel()
	for _, window := range []string{"auto", "60s"} {
		r := compileRule(t, interval, "query: sum by (namespace, pod) (rate(x_total[$window]))", "window: "+window)
		for away := int64(10_000); away <= 40_000; away += 10_000 {
			s := store.New(store.Options{Retention: 500 * time.Second})
			l := labels.FromStrings(model.MetricNameLabel, "x_total", "namespace", "shop", "pod", "web-0")
			for at := int64(-100_000); at <= 60_000; at += 2000 {
				v := 12345 + float64(at+100_000)
				if at >= 0 && at < away {
					continue
				}
				if at >= away {
					v = float64(at - away + 700)
				}
				if _, err := s.Append(0, l, epoch+at, v); err != nil {
					t.Fatal(err)
				}
			}
			e := New(s, unhurried)
			for at := away + 2000; at <= 60_000; at += 500 {
				values, err := e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch+at))
				if err != nil {
					t.Fatal(err)
				}
				if len(values) != 1 || math.Abs(values[0].Value-1000) > 50 {
					t.Errorf("window %s, away for %d ms, %d ms after: %+v, want 1000", window, away, at-away, values)
				}
			}
		}
	}
}

// TestDecreasingCounter: a counter that goes back at every other scrape is omitted, over pods and outside; a restart is not.
func TestDecreasingCounter(t *testing.T) {
	t.Parallel()
	s := store.New(store.Options{Retention: 500 * time.Second})
	var workers, restarted []float64
	for i := range 60 {
		workers = append(workers, float64(1000*(1+i%2)+5*i))
		restarted = append(restarted, float64(40*(i%45)))
	}
	appendSeries(t, s, `x_total{namespace="shop",pod="workers"}`, workers...)
	appendSeries(t, s, `x_total{namespace="mail",pod="restarted"}`, restarted...)
	e := New(s, unhurried)
	for namespace, want := range map[string]string{"shop": "decreasing", "mail": ""} {
		r := compileRule(t, interval, "query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s")
		values, err := e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: namespace}, time.UnixMilli(epoch))
		if err != nil || len(values) != 1 || string(values[0].Reason) != want {
			t.Errorf("%s: %+v, %v, want reason %q", namespace, values, err, want)
		}
		r = compileRule(t, interval, "external: true", "query: sum(rate(x_total[$window]))", "window: 60s")
		_, err = e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: namespace}, time.UnixMilli(epoch))
		var missing *metric.MissingError
		if errors.As(err, &missing) != (want != "") || missing != nil && (missing.Omissions[0].Reason != metric.ReasonDecreasing || missing.Omissions[0].Object.Name != "workers") {
			t.Errorf("%s, external: %v, want reason %q", namespace, err, want)
		}
	}
}

// TestDecreasesOfRestarts: two decreases in few samples are several processes, unless a container has started since the first sample.
func TestDecreasesOfRestarts(t *testing.T) {
	t.Parallel()
	s := store.New(store.Options{Retention: 500 * time.Second})
	appendSeries(t, s, `x_total{namespace="shop",pod="a"}`, 9000, 40, 80, 30, 70, 110)
	r := compileRule(t, interval, "query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s")
	now := time.UnixMilli(epoch)
	for began, want := range map[time.Time]metric.Reason{
		{}:                          metric.ReasonDecreasing,
		now.Add(-time.Hour):         metric.ReasonDecreasing,
		now.Add(-3 * interval / 2):  metric.ReasonWarmingUp,
		now.Add(-5 * interval / 2):  "", // the newest decrease
		now.Add(-11 * interval / 2): metric.ReasonDecreasing,
	} {
		values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop", Began: began}, now)
		if err != nil || len(values) != 1 || values[0].Reason != want {
			t.Errorf("began %v: %+v, %v, want reason %q", began, values, err, want)
		}
	}
}

// TestOldSampleIsStale: a pod with a single sample, as of a page with a constant timestamp of its own, is stale once the sample is older than
// maxAge. It warms up before that.
func TestOldSampleIsStale(t *testing.T) {
	t.Parallel()
	s := store.New(store.Options{Retention: 500 * time.Second})
	appendSeries(t, s, `x_total{namespace="shop",pod="a"}`, 7)
	r := compileRule(t, interval, "query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s", "maxAge: 10s")
	for age, want := range map[time.Duration]metric.Reason{2 * time.Second: metric.ReasonWarmingUp, 30 * time.Second: metric.ReasonStale} {
		values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch).Add(age))
		if err != nil || len(values) != 1 || values[0].Reason != want {
			t.Errorf("after %v: %+v, %v, want reason %q", age, values, err, want)
		}
	}
}

// TestSumWithoutAPod: a sum outside a list of pods is an error while a pod's series goes on without a fresh sample, and is
// that of the others once the series ended.
func TestSumWithoutAPod(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"sum(orders_waiting)", "sum(rate(orders_total[$window]))"} {
		s := store.New(store.Options{Retention: 500 * time.Second})
		for _, pod := range []string{"web-0", "web-1"} {
			n := 60
			if pod == "web-1" {
				n = 48 // its scrapes fail since 24 s
			}
			for i := range n {
				for name, v := range map[string]float64{"orders_waiting": 100, "orders_total": float64(20 * i)} {
					l := labels.FromStrings(model.MetricNameLabel, name, "namespace", "shop", "pod", pod)
					if _, err := s.Append(0, l, epoch-int64(59-i)*2000, v); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		r := compileRule(t, interval, "external: true", "query: "+query, "maxAge: 10s")
		e := New(s, unhurried)
		_, err := e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
		var missing *metric.MissingError
		if !errors.As(err, &missing) || metric.KindOf(err) != metric.KindUnavailable || len(missing.Omissions) != 1 ||
			missing.Omissions[0].Object != (metric.Object{Namespace: "shop", Name: "web-1"}) || missing.Omissions[0].Reason != metric.ReasonStale {
			t.Errorf("%s: %v, want an error that names web-1 as stale", query, err)
		}
		for _, name := range []string{"orders_waiting", "orders_total"} {
			l := labels.FromStrings(model.MetricNameLabel, name, "namespace", "shop", "pod", "web-1")
			if _, err := s.Append(0, l, epoch-1, math.Float64frombits(value.StaleNaN)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 4 { // the counts of web-1 until its end are unknown: the window begins behind it
			l := labels.FromStrings(model.MetricNameLabel, "orders_total", "namespace", "shop", "pod", "web-0")
			if _, err := s.Append(0, l, epoch+int64(i+1)*2000, float64(20*(60+i))); err != nil {
				t.Fatal(err)
			}
		}
		values, err := e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch+8000))
		if err != nil || len(values) != 1 {
			t.Errorf("%s, 8 s after the end of web-1: %v, %v, want one value", query, values, err)
		} else if v := values[0]; query == "sum(rate(orders_total[$window]))" && (v.Window > 8*time.Second || math.Abs(v.Value-10) > 0.1) {
			t.Errorf("8 s after the end of web-1: %v over %v, want 10 over less than 8s", v.Value, v.Window)
		}
	}
}

// TestFewEvents: a quiet service has no rate over a part of the longest window with auto, and a right one over the whole.
func TestFewEvents(t *testing.T) {
	t.Parallel()
	r := compileRule(t, interval, "query: sum by (namespace, pod) (rate(x_total[$window]))", "window: auto")
	for scrapes, want := range map[int]string{4: "warming_up", 20: "warming_up", 45: ""} {
		s := store.New(store.Options{Retention: 500 * time.Second})
		var values []float64
		for i := range scrapes {
			values = append(values, 700+math.Floor(float64(i)/5)) // 0.1 requests/s
		}
		appendSeries(t, s, `x_total{namespace="shop",pod="a"}`, values...)
		got, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
		if err != nil || len(got) != 1 || string(got[0].Reason) != want || want == "" && math.Abs(got[0].Value-0.1) > 0.02 {
			t.Errorf("after %d scrapes: %+v, %v, want reason %q", scrapes, got, err, want)
		}
	}
}

// TestSubqueryWithoutStep: a subquery without a step has the scrape interval.
func TestSubqueryWithoutStep(t *testing.T) {
	t.Parallel()
	s := store.New(store.Options{Retention: 500 * time.Second})
	appendSeries(t, s, `x_total{namespace="shop",pod="a"}`, growingValues(60, 1000, 80)...)
	r := compileRule(t, interval, "query: max_over_time(sum by (namespace, pod) (rate(x_total[10s]))[30s:])")
	values, err := New(s, unhurried).Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop"}, time.UnixMilli(epoch))
	if err != nil || len(values) != 1 || math.Abs(values[0].Value-40) > 1 {
		t.Errorf("%v, %v, want 40", values, err)
	}
}

// TestFixedWindowBesideAPause evaluates a window that begins in a pause of a pod's pages: it reaches back to the last page before, and
// not over the few pages behind the pause, in which batches are too many or missing.
func TestFixedWindowBesideAPause(t *testing.T) {
	t.Parallel()
	r := compileRule(t, 2*time.Second, perPodQuery, "window: 15s")
	for back := range int64(6) {
		data := store.New(store.Options{Retention: 80 * time.Second})
		e := New(data, unhurried)
		series := labels.FromStrings(model.MetricNameLabel, "http_requests_total", namespaceLabel, "shop", podLabel, "web-0", "node", "n")
		var ref uint64
		newest := 70_000 + 2000*back
		for at := int64(0); at <= newest; at += 2000 {
			if at > 46_000 && at < 68_000 {
				continue // the pages fail
			}
			var err error
			if ref, err = data.Append(ref, series, epoch+at, float64(50*(at/5000))); err != nil {
				t.Fatal(err)
			}
		}
		values, err := e.Evaluate(t.Context(), rule.Query{Rule: r, Namespace: "shop", Objects: []string{"web-0"}}, time.UnixMilli(epoch+newest+500))
		if err != nil || len(values) != 1 || values[0].Reason != "" {
			t.Fatalf("%d pages behind the pause: %v, %v", back+2, values, err)
		}
		if v := values[0]; math.Abs(v.Value-10) > 50/v.Window.Seconds() || v.Window < 15*time.Second {
			t.Errorf("%d pages behind the pause: %.1f over %v, want 10/s within a batch", back+2, v.Value, v.Window)
		}
	}
}

// TestNeverUsedService: a counter at 0 has counted nothing since its process started, which is known for less than the longest window, too.
func TestNeverUsedService(t *testing.T) {
	t.Parallel()
	r := compileRule(t, 2*time.Second, perPodQuery)
	now := epoch + 8500
	for name, tc := range map[string]struct {
		counts [5]float64
		began  time.Duration // ago; 0: unknown
		want   string
	}{
		"at 0, of an old process":      {[5]float64{}, time.Hour, "0"},
		"at 0, of a young process":     {[5]float64{}, 30 * time.Second, "fewer than 10 events in"},
		"at 0, of an unknown process":  {[5]float64{}, 0, "fewer than 10 events in"},
		"idle for all that is known":   {[5]float64{7, 7, 7, 7, 7}, time.Hour, "fewer than 10 events in"},
		"with its first event":         {[5]float64{0, 0, 0, 0, 1}, time.Hour, "fewer than 10 events in"},
		"restarted since, at 0 before": {[5]float64{3, 0, 0, 0, 0}, time.Hour, "fewer than 10 events in"},
	} {
		data := store.New(store.Options{Retention: 80 * time.Second})
		series := labels.FromStrings(model.MetricNameLabel, "http_requests_total", namespaceLabel, "shop", podLabel, "web-0", "node", "n")
		for i, n := range tc.counts {
			if _, err := data.Append(0, series, epoch+2000*int64(i), n); err != nil {
				t.Fatal(err)
			}
		}
		q := rule.Query{Rule: r, Namespace: "shop", Objects: []string{"web-0"}}
		if tc.began > 0 {
			q.Began = time.UnixMilli(now).Add(-tc.began)
		}
		values, err := New(data, unhurried).Evaluate(t.Context(), q, time.UnixMilli(now))
		if err != nil || len(values) != 1 {
			t.Fatalf("%s: %v, %v", name, values, err)
		}
		got := values[0].Detail
		if values[0].Reason == "" {
			got = fmt.Sprint(values[0].Value)
		}
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
