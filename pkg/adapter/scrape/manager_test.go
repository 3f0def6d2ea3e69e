package scrape

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const onePage = "# TYPE http_requests_total counter\nhttp_requests_total 1\n"

func TestScrapesAreEvenlySpaced(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		start := time.Now()
		p := &fakePage{body: onePage, delay: 300 * time.Millisecond}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "http_requests_total")})
		passFakeTime(100 * time.Second)
		ps := r.pointsOfSeries(t, `pod="cart-1"`)
		if len(ps) < 49 || len(ps) > 51 {
			t.Fatalf("%d samples in 50 intervals", len(ps))
		}
		if first := ps[0].t - start.UnixMilli(); first > 550 { // within an eighth of the interval, at the end of the scrape
			t.Errorf("first sample after %d ms, want at once", first)
		}
		for i := 1; i < len(ps); i++ {
			if gap := ps[i].t - ps[i-1].t; gap < 1937 || gap > 2063 || i > 20 && gap != 2000 {
				t.Errorf("gap %d is %d ms, want 2000 but for the slew at first", i, gap)
			}
		}
		if n.dials != 1 {
			t.Errorf("%d connections, want one kept", n.dials)
		}
	})
}

func TestSeriesGetTheTargetsLabels(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		n.addServer("cart-1:8080", &fakePage{body: "http_requests_total{pod=\"x\"} 5\n"})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "http_requests_total")})
		passFakeTime(time.Second)
		want := `{__name__="http_requests_total", exported_pod="x", namespace="shop", node="n1", pod="cart-1"}`
		if got := formatPoints(r.pointsOfSeries(t, want)); got != "5" {
			t.Errorf("samples of %s: %q, want 5; all: %v", want, got, r.series)
		}
	})
}

// TestSilentTargets scrapes many targets that never answer: they must not hold up the others, neither while they outnumber
// the places, nor in the moment when they fall silent.
func TestSilentTargets(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		places, silent int
		settle         time.Duration
	}{
		"from the start":        {64, 200, 2 * time.Second},
		"far more than places":  {8, 400, 60 * time.Second},
		"a node dies":           {64, 110, -1},
		"a node dies, 8 places": {8, 30, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second, MaxConcurrent: tc.places}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				var targets []metric.Target
				for i := range tc.silent {
					pod := fmt.Sprintf("silent-%d", i)
					targets = append(targets, newTestTarget(pod, "a"))
					n.addServer(pod+":8080", nil)
					if tc.settle < 0 {
						n.addServer(pod+":8080", &dyingTarget{after: time.Now().Add(10 * time.Second)})
					}
				}
				for i := range 10 {
					pod := fmt.Sprintf("good-%d", i)
					n.addServer(pod+":8080", &fakePage{body: "a 1\n", delay: 10 * time.Millisecond})
					targets = append(targets, newTestTarget(pod, "a"))
				}
				m.SetTargets(targets)
				passFakeTime(max(0, tc.settle))
				start := time.Now()
				for range 300 {
					passFakeTime(100 * time.Millisecond)
					m.mu.Lock()
					if m.running[fastLane] > tc.places || m.running[slowLane] > 4*tc.places {
						t.Errorf("%d scrapes at work and %d waiting with %d places", m.running[fastLane], m.running[slowLane], tc.places)
					}
					m.mu.Unlock()
				}
				for i := range 10 {
					last := start.UnixMilli()
					for _, p := range r.pointsOfSeries(t, fmt.Sprintf(`pod="good-%d"`, i)) {
						if p.t > last && p.t-last > 3000 {
							t.Errorf("good-%d not scraped for %d ms", i, p.t-last)
						}
						last = max(last, p.t)
					}
					if time.Now().UnixMilli()-last > 3000 {
						t.Errorf("good-%d not scraped at the end", i)
					}
				}
				if d := m.Diagnose("shop", "silent-7", []string{"a"}); d.Detail != "timeout after 2s" {
					t.Errorf("a silent target: %+v", d)
				}
			})
		})
	}
}

func TestNoScrapeBeforeTheLastEnded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	runInFakeTime(t, Options{Interval: time.Second, Timeout: 10 * time.Second, Registerer: reg}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: onePage, delay: 3500 * time.Millisecond}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "http_requests_total")})
		passFakeTime(40 * time.Second)
		if p.overlaps > 0 || p.requests < 9 || p.requests > 11 {
			t.Errorf("%d requests, %d overlapping; want one every 4s", p.requests, p.overlaps)
		}
	})
	if n, err := testutil.GatherAndCount(reg, "tachometer_scrape_missed_total"); err != nil || n != 1 {
		t.Errorf("missed scrapes not counted: %d, %v", n, err)
	}
}

func TestTargetThatGoes(t *testing.T) {
	t.Parallel()
	const two = "http_requests_total{code=\"200\"} 1\nhttp_requests_total{code=\"500\"} 2\n"
	for name, tc := range map[string]struct {
		delay time.Duration
		next  func() []metric.Target
		want  string // of code 200, after three intervals with the first target and three with the next
	}{
		"removed":              {0, func() []metric.Target { return nil }, "1 1 1 |"},
		"removed in a scrape":  {500 * time.Millisecond, func() []metric.Target { return nil }, "1 1 1 |"},
		"another pod, by UID":  {0, otherPod, "1 1 1 | 1 1 1"},
		"another in a scrape":  {500 * time.Millisecond, otherPod, "1 1 1 | 1 1 1"},
		"the same":             {0, func() []metric.Target { return []metric.Target{newTestTarget("cart-0", "http_requests_total")} }, "1 1 1 1 1 1"},
		"no demand":            {0, func() []metric.Target { return []metric.Target{newTestTarget("cart-0")} }, "1 1 1 |"},
		"demand for something": {0, func() []metric.Target { return []metric.Target{newTestTarget("cart-0", "else")} }, "1 1 1 |"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				n.addServer("cart-0:8080", &fakePage{body: two, delay: tc.delay})
				m.SetTargets([]metric.Target{newTestTarget("cart-0", "http_requests_total")})
				// Stop in the middle of the fourth scrape, or just before it where scrapes take no time.
				for startedScrapes(m, "cart-0") < 4 || tc.delay == 0 {
					passFakeTime(10 * time.Millisecond)
					if tc.delay == 0 && len(r.pointsOfSeries(t, `code="200"`)) == 3 {
						passFakeTime(time.Second)
						break
					}
				}
				m.SetTargets(tc.next())
				for range 80 { // at most until three more scrapes
					passFakeTime(100 * time.Millisecond)
					if ps := r.pointsOfSeries(t, `code="200"`); len(ps) >= len(strings.Fields(tc.want)) {
						break
					}
				}
				for _, code := range []string{"200", "500"} {
					got := formatPoints(r.pointsOfSeries(t, `code="`+code+`"`))
					want := tc.want
					if code == "500" {
						want = strings.ReplaceAll(want, "1", "2")
					}
					if got != want {
						t.Errorf("code %s: samples %q, want %q", code, got, want)
					}
				}
			})
		})
	}
}

func otherPod() []metric.Target {
	t := newTestTarget("cart-0", "http_requests_total")
	t.UID = "another"
	return []metric.Target{t}
}

// startedScrapes counts the finished scrapes of a target, and the scrape under way.
func startedScrapes(m *Manager, pod string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[metric.Object{Namespace: "shop", Name: pod}]
	family, _ := l.status.lookupFamilyStatus("http_requests_total")
	n := int(family.inRow)
	if l.scraping {
		n++
	}
	return n
}

func TestSeriesThatVanishes(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a{i=\"1\"} 1\na{i=\"2\"} 1\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(time.Second)
		p.setBody("a{i=\"1\"} 2\na{i=") // truncated: says nothing about the series on the page
		passFakeTime(2 * time.Second)
		p.setBody("a{i=\"1\"} 2\n")
		p.setCutOff(true) // whole lines, but not all of them
		passFakeTime(2 * time.Second)
		p.setBody("a{i=\"1\"} 3\n")
		p.setCutOff(false)
		passFakeTime(4 * time.Second)
		p.setBody("a{i=\"1\"} 5\na{i=\"2\"} 5\n")
		passFakeTime(2 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `i="1"`)); got != "1 3 3 5" {
			t.Errorf("samples %q, want 1 3 3 5", got)
		}
		if got := formatPoints(r.pointsOfSeries(t, `i="2"`)); got != "1 | 5" {
			t.Errorf("samples of the series that vanished %q, want 1 | 5", got)
		}
	})
}

// TestLargePageIsNotRead checks that the scraper rejects a page with too large a Content-Length at its first byte.
func TestLargePageIsNotRead(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{}, func(m *Manager, n *fakeNetwork, _ *recordingAppender) {
		var sent atomic.Int64
		n.addServer("cart-1:8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(200<<20))
			for {
				n, err := io.WriteString(w, strings.Repeat("x", 1000)+"\n")
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}))
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(time.Second)
		if d := m.Diagnose("shop", "cart-1", []string{"a"}); d.Detail != "page over 16 MiB" {
			t.Errorf("a page of 200 MB: %+v", d)
		}
		if n := sent.Load(); n > 64<<10 {
			t.Errorf("%d bytes of it were read", n)
		}
	})
}

// TestFailedScrapeAddsNothing checks that a failing target adds no marker: the age of its samples shows the failure.
func TestFailedScrapeAddsNothing(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a 1\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(time.Second)
		p.setBody("a 2\na 3\n")
		passFakeTime(20 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `"a"`)); got != "1" {
			t.Errorf("samples %q, want 1", got)
		}
		p.setBody("a 4\n")
		passFakeTime(2 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `"a"`)); got != "1 4" {
			t.Errorf("samples %q, want 1 4", got)
		}
	})
}

func TestDemandChangeKeepsTheLoop(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a 1\nb 2\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(5 * time.Second)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b")})
		if d := m.Diagnose("shop", "cart-1", []string{"b"}); d.Reason != metric.ReasonWarmingUp {
			t.Errorf("a family just demanded: %+v", d)
		}
		passFakeTime(4 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `"b"`)); got != "2 2" {
			t.Errorf("samples of the new family two intervals later: %q, want 2 2", got)
		}
		ps := r.pointsOfSeries(t, `"a"`)
		for i := 1; i < len(ps); i++ {
			if gap := ps[i].t - ps[i-1].t; gap < 1937 || gap > 2063 {
				t.Errorf("gap %d of the old family is %d ms: its rate would be wrong", i, gap)
			}
		}
		if want := "name%5B%5D=a&"; !strings.HasPrefix(p.query, want) || !strings.Contains(p.query, "name%5B%5D=b&") {
			t.Errorf("query %q", p.query)
		}
	})
}

func TestFirstRoundAndLive(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, _ *recordingAppender) {
		if !m.FirstRoundDone() {
			t.Error("first round not done before there are targets")
		}
		n.addServer("quick:8080", &fakePage{body: onePage})
		n.addServer("silent:8080", nil)
		n.addServer("leaves:8080", nil)
		all := []metric.Target{newTestTarget("quick", "a"), newTestTarget("silent", "a"), newTestTarget("refuses", "a"), newTestTarget("leaves", "a")}
		m.SetTargets(all)
		passFakeTime(time.Second)
		if m.FirstRoundDone() {
			t.Error("first round done before silent targets ran into their timeout")
		}
		m.SetTargets(all[:3])
		passFakeTime(1500 * time.Millisecond)
		if !m.FirstRoundDone() {
			t.Error("first round not done after every target was tried or left")
		}
		m.SetTargets(append(all[:3], newTestTarget("later", "a")))
		if !m.FirstRoundDone() {
			t.Error("a later target opened the first round again")
		}
		passFakeTime(time.Minute)
		if err := m.CheckLive(time.Now()); err != nil {
			t.Errorf("Live: %v", err)
		}
		if err := m.CheckLive(time.Now().Add(time.Minute)); err == nil {
			t.Error("Live after a minute without a tick: no error")
		}
	})
	if err := New(newRecordingAppender(), Options{}).CheckLive(time.Now()); err == nil {
		t.Error("Live before Run: no error")
	}
}

func TestReconfigure(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: time.Minute}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		n.addServer("cart-1:8080", &fakePage{body: "a 1\n", delay: 50 * time.Millisecond})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(10 * time.Second)
		m.Reconfigure(Options{Interval: time.Second})
		passFakeTime(10 * time.Second)
		if got := len(r.pointsOfSeries(t, `"a"`)); got < 10 || got > 12 {
			t.Errorf("%d samples after ten of the new intervals", got)
		}
		m.Reconfigure(Options{Interval: time.Second, Timeout: 20 * time.Millisecond})
		passFakeTime(3 * time.Second)
		if d := m.Diagnose("shop", "cart-1", []string{"a"}); d.Detail != "timeout after 20ms" {
			t.Errorf("with the new timeout: %+v", d)
		}
	})
}

// TestReconfigureKeepsPhases: new options with the interval of the old ones move no scrape.
func TestReconfigureKeepsPhases(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 5 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		n.addServer("cart-1:8080", &fakePage{body: "a 1\n"})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		for range 10 {
			passFakeTime(7 * time.Second)
			m.Reconfigure(Options{Interval: 5 * time.Second, Timeout: time.Second})
		}
		points := r.pointsOfSeries(t, `"a"`)
		for i := 1; i < len(points); i++ {
			if apart := points[i].t - points[i-1].t; apart < 4800 || apart > 5200 { // the scheduler moves a phase by a 32nd at a time
				t.Errorf("samples %d and %d are %d ms apart, want 5000", i-1, i, apart)
			}
		}
	})
}

// TestRunWaitsForItsScrapes ends Run while targets are silent and slow.
func TestRunWaitsForItsScrapes(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	runInFakeTime(t, Options{Interval: time.Minute, Registerer: reg}, func(m *Manager, n *fakeNetwork, _ *recordingAppender) {
		n.addServer("silent:8080", nil)
		n.addServer("slow:8080", &fakePage{delay: time.Second})
		m.SetTargets([]metric.Target{newTestTarget("silent", "a"), newTestTarget("slow", "a")})
		passFakeTime(8 * time.Second)
		n.addServer("slow:8080", nil)
	}) // the bubble and goleak notice goroutines left behind
	for _, o := range listScrapeOutcomes() {
		if v := counterValue(t, reg, "tachometer_scrape_requests_total", o); v != 0 && o != outcomeSuccess {
			t.Errorf("a cancelled scrape counts as %s", o)
		}
	}
}

func TestSelfMetricsAreWellNamed(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	New(newRecordingAppender(), Options{Registerer: reg})
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	New(newRecordingAppender(), Options{}) // two managers in one process
}

func counterValue(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no %s of %s", name, label)
	return 0
}

// TestChurn lets many targets come and go at once, again and again, while their scrapes run.
func TestChurn(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 200 * time.Millisecond, MaxConcurrent: 4}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		for i := range 20 {
			n.addServer(fmt.Sprintf("cart-%d:8080", i), &fakePage{body: "a 1\n", delay: time.Duration(i) * 7 * time.Millisecond})
		}
		for round := range 60 {
			var targets []metric.Target
			for i := range 20 {
				if (round>>(i%4))&1 == 0 {
					tg := newTestTarget(fmt.Sprintf("cart-%d", i), "a")
					tg.UID = fmt.Sprint(round / (1 + i%5))
					targets = append(targets, tg)
				}
			}
			m.SetTargets(targets)
			passFakeTime(time.Duration(round%9) * 13 * time.Millisecond)
		}
		m.SetTargets(nil)
		passFakeTime(time.Second)
		m.mu.Lock()
		if len(m.retiring)+len(m.loops)+m.running[fastLane]+m.running[slowLane] != 0 {
			t.Errorf("left behind: %d leaving, %d loops, %v running", len(m.retiring), len(m.loops), m.running)
		}
		if len(m.idleWorkers) > 4 {
			t.Errorf("%d workers wait, of 4 that may be at work", len(m.idleWorkers))
		}
		m.mu.Unlock()
		for i := range 20 {
			if ps := r.pointsOfSeries(t, fmt.Sprintf(`pod="cart-%d"`, i)); len(ps) > 0 && !endsWithMarker(ps) {
				t.Errorf("series of cart-%d ends with %v, want a marker", i, ps[len(ps)-1])
			}
		}
		synctest.Wait()
	})
}
