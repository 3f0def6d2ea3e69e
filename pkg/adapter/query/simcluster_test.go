// A simulated cluster: pods with steady counters, their scrapes, a store and an engine.

package query

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// epoch is the time at which tests begin, in milliseconds.
const epoch = int64(1_700_000_000_000)

// simPod is a pod with a counter of a known, steady rate, and its scrapes.
type simPod struct {
	name      string
	rate      float64
	started   int64 // time of its first request
	watched   int64 // time of its first scrape
	changes   int64 // time at which its rate changes; 0: never
	then      float64
	gone      int64 // time at which its target ends and its series get a staleness marker; 0: never
	restarts  int64 // time at which its container restarts and the counter begins again; 0: never
	latency   int64 // delay of a sample's arrival after its time
	jitter    int64 // greatest delay of a scrape
	missed    func(scrape int64) bool
	nextAfter int64 // number of the next scrape
	refs      map[string]uint64
}

// counterAt returns the counter at a time, in whole requests. A pod that started before the test has had one more: round numbers alone
// look like batches.
func (p *simPod) counterAt(at int64) float64 {
	since, before := p.started, 0.0
	if p.started < epoch && (p.restarts == 0 || at < p.restarts) {
		before = 1
	}
	if p.restarts > 0 && at >= p.restarts {
		since = p.restarts
	}
	if p.changes > 0 && at >= p.changes {
		return before + math.Floor((p.rate*float64(p.changes-since)+p.then*float64(at-p.changes))/1000)
	}
	return before + math.Floor(p.rate*float64(at-since)/1000)
}

// simCluster is a few pods, a store filled by scraping them, and an engine.
type simCluster struct {
	t           testing.TB
	interval    int64
	pods        []*simPod
	store       *store.Store
	engine      *Engine
	rand        *rand.Rand
	newest      map[string]int64 // by pod: the newest sample that arrived
	sampleCount map[string]int   // by pod: the number of its samples
}

func newSimCluster(t testing.TB, interval time.Duration, pods ...*simPod) *simCluster {
	w := &simCluster{
		t: t, interval: interval.Milliseconds(), pods: pods, rand: rand.New(rand.NewPCG(1, 2)),
		newest: map[string]int64{}, sampleCount: map[string]int{},
	}
	maxWindow := max(time.Minute, 5*interval)
	w.store = store.New(store.Options{Retention: Retention(maxWindow, interval)})
	w.engine = New(w.store, Options{Settings: Settings{Interval: interval, MaxWindow: maxWindow}, Timeout: unhurried.Timeout})
	for _, p := range pods {
		p.refs = map[string]uint64{}
	}
	return w
}

// advanceTo makes the scrapes whose samples arrive by now.
func (w *simCluster) advanceTo(now int64) {
	for _, p := range w.pods {
		for {
			at := p.watched + p.nextAfter*w.interval
			if p.jitter > 0 {
				// Drawn from the scrape, so that it does not depend on the steps of time.
				at += rand.New(rand.NewPCG(uint64(p.watched), uint64(p.nextAfter))).Int64N(p.jitter + 1)
			}
			if at+p.latency > now || p.gone > 0 && at >= p.gone {
				break
			}
			if p.missed == nil || !p.missed(p.nextAfter) {
				w.scrapePod(p, at)
			}
			p.nextAfter++
		}
		if p.gone > 0 && p.gone <= now && len(p.refs) > 0 {
			for route := range p.refs {
				w.appendSample(p, route, p.gone, math.Float64frombits(value.StaleNaN))
			}
			p.refs = nil
			w.sampleCount[p.name] = 0
		}
	}
}

func (w *simCluster) scrapePod(p *simPod, at int64) {
	w.appendSample(p, "/", at, p.counterAt(at))
	w.appendSample(p, "/idle", at, 7)
	w.newest[p.name] = at
	w.sampleCount[p.name]++
}

func (w *simCluster) appendSample(p *simPod, route string, at int64, v float64) {
	l := labels.FromStrings(model.MetricNameLabel, "http_requests_total", "namespace", "shop", "pod", p.name, "route", route)
	ref, err := w.store.Append(p.refs[route], l, at, v)
	if err != nil && !errors.Is(err, store.ErrOutOfOrder) {
		w.t.Fatal(err)
	}
	p.refs[route] = ref
}

// compileRule compiles a rule on pods, or an external rule, given as lines of YAML.
func compileRule(t testing.TB, interval time.Duration, lines ...string) *rule.Rule {
	t.Helper()
	return compileResourceRule(t, interval, "pods", lines...)
}

func compileResourceRule(t testing.TB, interval time.Duration, resource string, lines ...string) *rule.Rule {
	t.Helper()
	text := fmt.Sprintf("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nscrape:\n  interval: %s\nrules:\n- metric: m\n", interval)
	external := false
	for _, l := range lines {
		text += "  " + l + "\n"
		external = external || l == "external: true"
	}
	if resource == "pods" && !external {
		text += "  aggregate: max\n" // of objects, which no test asks for
	}
	_, set, err := rule.Load([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var r *rule.Rule
	if external {
		r, err = set.External("m")
	} else {
		r, err = set.Lookup(resource, "m")
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const perPodQuery = "query: sum by (namespace, pod) (rate(http_requests_total[$window]))"

// podNamed returns the newest pod of the name.
func (w *simCluster) podNamed(name string) *simPod {
	for i := len(w.pods) - 1; ; i-- {
		if w.pods[i].name == name {
			return w.pods[i]
		}
	}
}

// simStep is the step of subqueries without one.
func simStep() time.Duration { return 2 * time.Second }
