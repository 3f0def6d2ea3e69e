package scrape

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestAnotherURLIsAnotherTarget changes the URL of a pod, as a changed annotation does.
func TestAnotherURLIsAnotherTarget(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		n.addServer("cart-1:8080", &fakePage{body: "a_total 700\n"})
		n.addServer("cart-1:9090", &fakePage{body: "a_total 1000700\n"})
		tg := newTestTarget("cart-1", "a_total")
		m.SetTargets([]metric.Target{tg})
		passFakeTime(5 * time.Second)
		tg.URL = "http://cart-1:9090/metrics"
		m.SetTargets([]metric.Target{tg})
		passFakeTime(4 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, "a_total")); got != "700 700 700 | 1.0007e+06 1.0007e+06" {
			t.Errorf("samples %q: the second page must not go on with the first page's series", got)
		}
		before := len(r.pointsOfSeries(t, "a_total"))
		tg.URL = "http://cart-1:7070/metrics"
		m.SetTargets([]metric.Target{tg})
		if ps := r.pointsOfSeries(t, "a_total"); len(ps) != before {
			t.Errorf("samples %q: the series must go on until the first scrape of the new URL", formatPoints(ps))
		}
		passFakeTime(2 * time.Second)
		if ps := r.pointsOfSeries(t, "a_total"); !endsWithMarker(ps) {
			t.Errorf("samples %q: the new URL does not answer, so the series must end", formatPoints(ps))
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, "connection refused", "a_total")
	})
}

// TestEndingTarget scrapes a pod that is being deleted for as long as it answers.
func TestEndingTarget(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	runInFakeTime(t, Options{Interval: 2 * time.Second, Registerer: reg}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a 1\n"}
		n.addServer("cart-1:8080", p)
		tg := newTestTarget("cart-1", "a")
		m.SetTargets([]metric.Target{tg})
		passFakeTime(5 * time.Second)
		tg.Ending = true
		m.SetTargets([]metric.Target{tg})
		passFakeTime(4 * time.Second)
		p.setBody("<html>")
		passFakeTime(20 * time.Second)
		ps := r.pointsOfSeries(t, `"a"`)
		if got := formatPoints(ps); got != "1 1 1 1 1 1 1 |" {
			t.Fatalf("samples %q, want three, one each second from then on, and a marker", got)
		}
		if marker, last := ps[7].t, ps[6].t; marker != last+1 {
			t.Errorf("the series ends %d ms after its last sample, want 1", marker-last)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonTerminating, "", "a")
		if p.requests != 8 {
			t.Errorf("%d requests, want none after the first that failed", p.requests)
		}
		m.SetTargets([]metric.Target{tg, newTestTarget("cart-2", "a")})
		m.SetTargets(nil)
		tg.UID, tg.Ending = "another", false
		p.setBody("a 9\n")
		m.SetTargets([]metric.Target{tg})
		passFakeTime(time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `"a"`)); got != "1 1 1 1 1 1 1 | 9" {
			t.Errorf("samples %q with the next pod of the name", got)
		}
	})
	if n := counterValue(t, reg, "tachometer_scrape_requests_total", outcomePageRejected); n != 0 {
		t.Errorf("%v failed scrapes counted: the end of a pod is no failure", n)
	}
}

// TestSilentTargetEnds deletes a pod whose scrapes fail: its series end at once, and the marker tells until when its counts are
// unknown. The scrape under way does not delay it.
func TestSilentTargetEnds(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"answers badly": 0, "never answers": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				p := &fakePage{body: "a 1\n"}
				n.addServer("cart-1:8080", p)
				tg := newTestTarget("cart-1", "a")
				m.SetTargets([]metric.Target{tg})
				passFakeTime(5 * time.Second)
				p.setBody("<html>")
				p.mu.Lock()
				p.delay = delay
				p.mu.Unlock()
				passFakeTime(7 * time.Second)
				tg.Ending = true
				m.SetTargets([]metric.Target{tg})
				passFakeTime(time.Millisecond)
				ps := r.pointsOfSeries(t, `"a"`)
				if !endsWithMarker(ps) {
					t.Fatalf("samples %q: the series must end with the pod", formatPoints(ps))
				}
				if silent := ps[len(ps)-1].t - ps[len(ps)-2].t; silent < 6000 {
					t.Errorf("the series ends %d ms after its last sample, want the time of the deletion", silent)
				}
				requests := p.requests
				passFakeTime(time.Minute)
				if p.requests != requests {
					t.Errorf("%d requests after the end", p.requests-requests)
				}
			})
		})
	}
}

// TestRefusedTarget: the series of a target that refuses connections end. A counter that comes back smaller began at zero
// since the last refusal, and another goes on.
func TestRefusedTarget(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		back [2]int // what the counter has when it comes back
		want string
	}{
		{[2]int{30, 60}, "460 480 500 | 0 30 60"},
		{[2]int{600, 640}, "460 480 500 | 600 640"},
	} {
		runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
			p := &fakePage{}
			n.addServer("cart-1:8080", p)
			for i, v := range []int{460, 480, 500} {
				p.setBody(fmt.Sprintf("a_total %d\n", v))
				if i == 0 {
					m.SetTargets([]metric.Target{newTestTarget("cart-1", "a_total")})
					passFakeTime(time.Second) // all changes are between scrapes, whatever the target's offset
				} else {
					passFakeTime(2 * time.Second)
				}
			}
			n.removeServer("cart-1:8080")
			n.closeServers()
			passFakeTime(10 * time.Second)
			n.addServer("cart-1:8080", p)
			for _, v := range tc.back {
				p.setBody(fmt.Sprintf("a_total %d\n", v))
				passFakeTime(2 * time.Second)
			}
			ps := r.pointsOfSeries(t, "a_total")
			if got := formatPoints(ps); got != tc.want {
				t.Errorf("samples %q, want %q", got, tc.want)
			}
			if len(ps) == 7 && ps[5].t-ps[4].t > 2200 {
				t.Errorf("the counter began %d ms before its first page, want an interval: it refused until then", ps[5].t-ps[4].t)
			}
		})
	}
}

// TestFailedTargetEndsWithItsProcess fails the scrapes of a ready pod, which may serve requests all the same: its series go on until
// the pod is not ready or its process ends, so that the marker tells until when its counts are unknown.
func TestFailedTargetEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	unready := func(tg *metric.Target) { tg.Ready = false }
	restart := func(tg *metric.Target) { unready(tg); tg.Started = time.Time{} }
	for name, tc := range map[string]struct {
		refuses bool
		change  func(*metric.Target)
		ends    bool
	}{
		"refuses, then is not ready":        {true, unready, true},
		"refuses, then restarts":            {true, restart, true},
		"answers badly, then is not ready":  {false, unready, true},
		"answers badly, then restarts":      {false, restart, true},
		"refuses, and becomes another's":    {true, func(tg *metric.Target) { tg.Started = tg.Started.Add(time.Minute) }, true},
		"refuses, and goes on to be ready":  {true, func(*metric.Target) {}, false},
		"answers badly, and is still ready": {false, func(*metric.Target) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				p := &fakePage{body: "a 1\n"}
				tg := failReadyTarget(m, n, p, "a", tc.refuses)
				passFakeTime(7 * time.Second)
				if ps := r.pointsOfSeries(t, `"a"`); endsWithMarker(ps) {
					t.Fatalf("samples %q: the series must go on while the pod is ready", formatPoints(ps))
				}
				tc.change(&tg)
				m.SetTargets([]metric.Target{tg})
				passFakeTime(5 * time.Second)
				ps := r.pointsOfSeries(t, `"a"`)
				if endsWithMarker(ps) != tc.ends {
					t.Fatalf("samples %q, want an end: %v", formatPoints(ps), tc.ends)
				}
				if silent := ps[len(ps)-1].t - ps[len(ps)-2].t; tc.ends && silent < 6000 {
					t.Errorf("the series ends %d ms after its last sample, want the time at which the process was known to be away", silent)
				}
			})
		})
	}
}

// failReadyTarget scrapes the page of a ready pod for 5 s, and has the page then refuse connections or answer badly.
func failReadyTarget(m *Manager, n *fakeNetwork, p *fakePage, family string, refuses bool) metric.Target {
	n.addServer("cart-1:8080", p)
	tg := newTestTarget("cart-1", family)
	tg.Ready, tg.Started = true, time.Now().Add(-time.Hour)
	m.SetTargets([]metric.Target{tg})
	passFakeTime(5 * time.Second)
	if p.setBody("<html>"); refuses {
		n.removeServer("cart-1:8080")
		n.closeServers()
	}
	return tg
}

// TestSilentCounterGoesOn fails the pages of a pod that is not ready, and shows them again: the counter of the same process goes on from its
// last value, also while nothing listened, and that of another process begins anew.
func TestSilentCounterGoesOn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		refuses, restarts bool
		want              string
	}{
		"answers badly":               {false, false, "500 500 500 | 500 600 600"},
		"refuses":                     {true, false, "500 500 500 | 500 600 600"},
		"answers badly, and restarts": {false, true, "500 500 500 | 600 600"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				p := &fakePage{body: "a_total 500\n"}
				tg := failReadyTarget(m, n, p, "a_total", tc.refuses)
				passFakeTime(2 * time.Second)
				if tg.Ready = false; tc.restarts {
					tg.Started = time.Now()
				}
				m.SetTargets([]metric.Target{tg})
				passFakeTime(4 * time.Second)
				if p.setBody("a_total 600\n"); tc.refuses {
					n.addServer("cart-1:8080", p)
				}
				passFakeTime(4 * time.Second)
				ps := r.pointsOfSeries(t, "a_total")
				if got := formatPoints(ps); got != tc.want {
					t.Fatalf("samples %q, want %q", got, tc.want)
				}
				if !tc.restarts && ps[4].t != ps[3].t+1 {
					t.Errorf("the counter goes on %d ms behind its marker, want 1", ps[4].t-ps[3].t)
				}
			})
		})
	}
}

// TestRefusalShortlyBeforeTheEnd refuses the scrapes of a pod that crashed: the series end with the refusal, and not when the pod is
// known not to be ready; or when its process ended, if the cluster tells.
func TestRefusalShortlyBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, isEndKnown := range []bool{false, true} {
		runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
			n.addServer("cart-1:8080", &fakePage{body: "a 1\n"})
			tg := newTestTarget("cart-1", "a")
			tg.Ready = true
			m.SetTargets([]metric.Target{tg})
			passFakeTime(5 * time.Second)
			n.removeServer("cart-1:8080")
			n.closeServers()
			passFakeTime(3 * time.Second)
			tg.Ready = false
			if isEndKnown {
				tg.Finished = time.Now().Add(-100 * time.Millisecond)
			}
			m.SetTargets([]metric.Target{tg})
			passFakeTime(time.Millisecond)
			ps := r.pointsOfSeries(t, `"a"`)
			if !endsWithMarker(ps) || ps[len(ps)-1].t-ps[len(ps)-2].t > 2200 != isEndKnown || isEndKnown && ps[len(ps)-1].t != tg.Finished.UnixMilli() {
				t.Errorf("samples %q, the process ended at %d (0: unknown): the series must end then, or with the refused scrape", formatPoints(ps), max(0, tg.Finished.UnixMilli()))
			}
		})
	}
}

// TestReadyBeforeTheEnd: the series of a pod that became ready before its last page end once. Later scrapes that fail do not move the end.
func TestReadyBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, ends := range []int{1, 2} {
		runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
			tg := newTestTarget("cart-1", "a_total")
			tg.Started = time.Now().Add(-time.Hour)
			setReady := func(ready bool) {
				tg.Ready = ready
				m.SetTargets([]metric.Target{tg})
			}
			p := &fakePage{body: "a_total 500\n"}
			setReady(false)
			for range ends {
				n.addServer("cart-1:8080", p)
				passFakeTime(3 * time.Second)
				setReady(true)
				passFakeTime(3 * time.Second)
				n.removeServer("cart-1:8080")
				n.closeServers()
				passFakeTime(3 * time.Second)
				setReady(false)
				passFakeTime(7 * time.Second)
			}
			if got := formatPoints(r.pointsOfSeries(t, "a_total")); strings.Count(got, "|") != ends {
				t.Errorf("samples %q, want %d ends", got, ends)
			}
		})
	}
}

// TestSamplesKeepTheirDistance scrapes after the wall clock was set back by 59 minutes: the samples have the time of the manager's
// clock, which goes on.
func TestSamplesKeepTheirDistance(t *testing.T) {
	t.Parallel()
	var clock *SampleClock
	start := time.Time{}
	runInFakeTimeOf(t, func() Options {
		start = time.Now()
		step := 59 * time.Minute
		clock = newSampleClockWithWall(func() time.Time { return time.Now().Round(0).Add(step) })
		step = 0
		return Options{Interval: 2 * time.Second, Clock: clock}
	}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		n.addServer("cart-1:8080", &fakePage{body: "a 1\n"})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(10 * time.Second)
		ps := r.pointsOfSeries(t, `"a"`)
		if ahead := time.UnixMilli(ps[0].t).Sub(start); ahead < 59*time.Minute || ahead > time.Hour {
			t.Errorf("the first sample is %v after the start of the wall clock, want 59m", ahead)
		}
		for i := 1; i < len(ps); i++ {
			if gap := ps[i].t - ps[i-1].t; gap < 1927 || gap > 2073 {
				t.Errorf("gap %d is %d ms", i, gap)
			}
		}
		m.SetTargets(nil)
		if ps = r.pointsOfSeries(t, `"a"`); !endsWithMarker(ps) || time.UnixMilli(ps[len(ps)-1].t).After(clock.Now()) {
			t.Errorf("last point %v, want a marker of now", ps[len(ps)-1])
		}
	})
}

// TestSampleTime checks that samples have the time of the first byte of the response.
func TestSampleTime(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		begin := time.Now()
		n.dialDelay = 300 * time.Millisecond
		n.addServer("cart-1:8080", &fakePage{body: "a 1\n", delay: 400 * time.Millisecond})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		m.mu.Lock()
		due := m.loops[metric.Object{Namespace: "shop", Name: "cart-1"}].due.Sub(begin)
		m.mu.Unlock()
		passFakeTime(1500 * time.Millisecond)
		got := time.UnixMilli(r.pointsOfSeries(t, `"a"`)[0].t).Sub(begin)
		if want := due + 700*time.Millisecond; got < want-time.Millisecond || got > want {
			t.Errorf("sample of %v, want %v", got, want)
		}
	})
}

// TestCountersBeginAtZero scrapes a container that has just started, then a series that appears.
func TestCountersBeginAtZero(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		age   time.Duration // of the container; 0: unknown
		zeros string        // series of code 200
	}{
		"young":   {5 * time.Second, "0 3 3 3"},
		"old":     {2 * time.Minute, "3 3 3"},
		"unknown": {0, "3 3 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second, Retention: 70 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				p := &fakePage{body: "a_total{code=\"200\"} 3\n"}
				n.addServer("cart-1:8080", p)
				tg := newTestTarget("cart-1", "a_total")
				if tc.age > 0 {
					tg.Started = time.Now().Add(-tc.age)
				}
				m.SetTargets([]metric.Target{tg})
				passFakeTime(3 * time.Second)
				p.setBody("a_total{code=\"200\"} 3\na_total{code=\"500\"} 7\n")
				passFakeTime(2 * time.Second)
				ok, failed := r.pointsOfSeries(t, `code="200"`), r.pointsOfSeries(t, `code="500"`)
				if got := formatPoints(ok); got != tc.zeros {
					t.Errorf("samples %q, want %q", got, tc.zeros)
				}
				if tc.age == 5*time.Second && ok[0].t != tg.Started.UnixMilli() {
					t.Errorf("zero at %d, want the start, %d", ok[0].t, tg.Started.UnixMilli())
				}
				if got := formatPoints(failed); got != "0 7" || failed[0].t != ok[len(ok)-2].t {
					t.Errorf("samples of the new series %q at %v, want a zero at the page before", got, failed)
				}
			})
		})
	}
}

// TestFullStoreRejectsFamiliesWhole scrapes a page for which the store has room in part.
func TestFullStoreRejectsFamiliesWhole(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		r.limit = 5
		p := &fakePage{body: manySamples(3) + "b 1\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b")})
		passFakeTime(time.Second)
		p.setBody(manySamples(6) + "b 2\n")
		passFakeTime(4 * time.Second)
		for i := range 3 {
			if got := formatPoints(r.pointsOfSeries(t, fmt.Sprintf(`i="%d"`, i))); got != "1 |" {
				t.Errorf("series %d of the family without room: %q, want an end, once", i, got)
			}
		}
		if ps := r.pointsOfSeries(t, `i="4"`); len(ps) > 0 {
			t.Errorf("a part of the family was stored: %v", ps)
		}
		if got := formatPoints(r.pointsOfSeries(t, `"b"`)); got != "1 2 2" {
			t.Errorf("the other family: %q, want 1 2 2", got)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, "too many series", "a")
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for 5s only", "b")
		r.mu.Lock()
		r.limit = 100
		r.mu.Unlock()
		passFakeTime(2 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `i="1"`)); got != "1 | 1" {
			t.Errorf("with room again: %q", got)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for a moment only", "a")
		m.SetTargets(nil)
	})
}
