// A steady load under all faults of scraping gives right values.

package query

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// newSimPods returns six pods with an uneven share of the load, scraped at different phases of the interval.
func newSimPods(change func(i int, p *simPod)) []*simPod {
	var pods []*simPod
	for i := range 6 {
		p := &simPod{
			name: fmt.Sprint("web-", i), rate: 40 + 20*float64(i),
			started: epoch - 1000_000, watched: epoch + int64(i)*317,
		}
		change(i, p)
		pods = append(pods, p)
	}
	return pods
}

func keepSimPod(int, *simPod) {}

// steadyLoadScenarios are the faults of scraping. In all of them the load is steady.
func steadyLoadScenarios(interval int64) map[string][]*simPod {
	return map[string][]*simPod{
		"the adapter starts": newSimPods(keepSimPod),
		"the pods start too, from zero": newSimPods(func(_ int, p *simPod) {
			p.started = p.watched
		}),
		"the pods start between two scrapes": newSimPods(func(i int, p *simPod) {
			p.started = p.watched - int64(i)*interval/7
		}),
		"a young pod among old ones": newSimPods(func(i int, p *simPod) {
			if i == 3 {
				p.watched = epoch + 30_123
				p.started = p.watched - 500
			}
		}),
		"jitter": newSimPods(func(_ int, p *simPod) { p.jitter = interval / 5 }),
		"slow answers": newSimPods(func(i int, p *simPod) {
			p.latency = int64(i) * interval / 6
		}),
		"slow answers and jitter": newSimPods(func(i int, p *simPod) {
			p.latency, p.jitter = int64(i)*interval/6, interval/4
		}),
		"every fifth scrape fails": newSimPods(func(i int, p *simPod) {
			p.missed = func(n int64) bool { return (n+int64(i))%5 == 3 }
		}),
		"two scrapes in a row fail, now and then": newSimPods(func(i int, p *simPod) {
			p.missed = func(n int64) bool { return (n+int64(i))%9 >= 7 }
		}),
		"scrapes fail as they like": newSimPods(func(i int, p *simPod) {
			p.jitter = interval / 10
			p.missed = func(n int64) bool { return (n*n*31+n*int64(i)*17)%11 < 3 }
		}),
		"all scrapes fail for a while": newSimPods(func(_ int, p *simPod) {
			p.missed = func(n int64) bool { return n >= 20 && n < 24 }
		}),
		"a target fails for good": newSimPods(func(i int, p *simPod) {
			if i == 2 {
				p.missed = func(n int64) bool { return n >= 15 }
			}
		}),
		"a pod comes again under its name": newSimPods(func(i int, p *simPod) {
			if i == 1 {
				p.started, p.watched = epoch+41_000, epoch+42_345
			}
		}),
	}
}

// formerSimPods are earlier pods with the names of some pods of a scenario.
func formerSimPods(name string) []*simPod {
	if name != "a pod comes again under its name" {
		return nil
	}
	return []*simPod{{name: "web-1", rate: 500, started: epoch - 1000_000, watched: epoch, gone: epoch + 41_500}}
}

// The promise: at a steady load every served value is right, from the first on, whatever happens to scrapes and
// whenever the read is. A pod with two samples has a value, three if it starts during the test.
func TestValuesAreRightFromTheFirstOn(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{2 * time.Second, 15 * time.Second} {
		for _, window := range []string{"10s", "30s", "60s", "auto"} {
			if d, err := time.ParseDuration(window); err == nil && d < 2*interval {
				continue // a rule with that window does not load
			}
			r := compileRule(t, interval, perPodQuery, "window: "+window)
			for name, pods := range steadyLoadScenarios(interval.Milliseconds()) {
				t.Run(fmt.Sprintf("%s/interval %s, window %s", name, interval, window), func(t *testing.T) {
					t.Parallel()
					w := newSimCluster(t, interval, append(formerSimPods(name), pods...)...)
					checkScenarioValues(t, w, r, name)
				})
			}
		}
	}
}

// checkScenarioValues lets time pass, at a step that meets every phase of the interval.
func checkScenarioValues(t *testing.T, w *simCluster, r *rule.Rule, situation string) {
	t.Helper()
	truth := map[string]float64{}
	var names []string
	for _, p := range w.pods {
		truth[p.name] = p.rate
		names = append(names, p.name)
	}
	former := map[string]*simPod{}
	for _, p := range formerSimPods(situation) {
		former[p.name] = p
	}
	q := rule.Query{Rule: r, Namespace: "shop", Objects: names}
	served := 0
	step := w.interval/5 + 1
	for now := epoch; now < epoch+35*w.interval+20_000 && !t.Failed(); now += step {
		w.advanceTo(now)
		values, err := w.engine.Evaluate(t.Context(), q, time.UnixMilli(now))
		if err != nil {
			t.Fatalf("after %d ms: %v", now-epoch, err)
		}
		has := map[string]bool{}
		for _, v := range values {
			if v.Reason != "" || v.Ended {
				continue
			}
			has[v.Object.Name] = true
			want := truth[v.Object.Name]
			if f := former[v.Object.Name]; f != nil {
				if now >= f.gone {
					continue // the counts of both pods are within the window: TestConservedTotal
				}
				want = f.rate
			}
			served++
			if p := w.podNamed(v.Object.Name); p.started >= v.Time.Add(-v.Window).UnixMilli()-w.interval {
				continue // its value is its share of the total: TestConservedTotal
			}
			checkScenarioValue(t, w, v, now, want)
		}
		for _, p := range w.pods {
			late := now - w.newest[p.name]
			if w.sampleCount[p.name] >= neededSamples(p) && !has[p.name] && late <= 5*w.interval {
				t.Errorf("after %d ms: %s has no value, with %d samples, the newest %d ms old",
					now-epoch, p.name, w.sampleCount[p.name], late)
			}
		}
	}
	if served == 0 {
		t.Error("no value was served: the test shows nothing")
	}
}

// neededSamples is the number of samples for a value: two, not counting a first 0, which may stand for the second in which
// the pod started.
func neededSamples(p *simPod) int {
	if p.started >= epoch {
		return 3
	}
	return 2
}

func checkScenarioValue(t *testing.T, w *simCluster, v metric.Value, now int64, want float64) {
	t.Helper()
	if math.Abs(v.Value-want) > 0.05*want {
		t.Errorf("after %d ms: %s is %.2f over %s, want %.2f", now-epoch, v.Object, v.Value, v.Window, want)
	}
	if newest := w.newest[v.Object.Name]; v.NewestSample().UnixMilli() != newest {
		t.Errorf("after %d ms: the newest sample of %s is of %s, want %d", now-epoch, v.Object, v.NewestSample(), newest)
	}
	if oldest := min(w.newest[v.Object.Name], now-int64(maxLateIntervals*float64(w.interval))); v.Time.UnixMilli() < oldest {
		t.Errorf("after %d ms: the window of %s ends at %s, before %d", now-epoch, v.Object, v.Time, oldest)
	}
	if v.Window <= 0 {
		t.Errorf("after %d ms: %s has window %s", now-epoch, v.Object, v.Window)
	}
}
