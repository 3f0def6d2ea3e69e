package scrape

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// checkDiagnosis compares the reason why a pod has no value of a metric of families.
func checkDiagnosis(t *testing.T, m *Manager, pod string, reason metric.Reason, detail string, families ...string) {
	t.Helper()
	got := m.Diagnose("shop", pod, families)
	want := metric.Omission{Object: metric.Object{Namespace: "shop", Name: pod}, Reason: reason, Detail: detail}
	if got != want {
		t.Errorf("Diagnose(%s, %v) = %+v, want %+v", pod, families, got, want)
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a 1\n"}
		n.addServer("cart-1:8080", p)
		n.addServer("silent:8080", nil)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b"), newTestTarget("rejects", "a"), newTestTarget("silent", "a")})
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "not scraped yet", "a")
		passFakeTime(time.Second)
		checkDiagnosis(t, m, "nobody", metric.ReasonNotScraped, "", "a")
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for a moment only", "a")
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no b on its page", "b")
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for a moment only; no b on its page", "a", "b")
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "c not scraped yet", "c")
		checkDiagnosis(t, m, "rejects", metric.ReasonScrapeFailed, "connection refused", "a")
		passFakeTime(10 * time.Second)
		checkDiagnosis(t, m, "silent", metric.ReasonScrapeFailed, "timeout after 2s", "a")
		for pod, want := range map[string]time.Duration{"silent": 2 * time.Second, "cart-1": 0, "nobody": 0} {
			if got := m.ScrapeDuration("shop", pod); got != want {
				t.Errorf("the last scrape of %s took %s, want %s", pod, got, want)
			}
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for 11s only", "a")
		n.addServer("rejects:8080", p)
		n.removeServer("cart-1:8080")
		r.mu.Lock()
		r.reject = errors.New("too many series")
		r.mu.Unlock()
		passFakeTime(3 * time.Second)
		checkDiagnosis(t, m, "rejects", metric.ReasonScrapeFailed, "too many series", "a")
	})
}

// TestRejectedSince: a family that the appender has no room for has ended, one that the page rejects has not. Its reason comes before
// that of a family that may have a value soon.
func TestRejectedSince(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a 1\nb 1\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b")})
		check := func(family string, rejected, wantEnded bool) {
			t.Helper()
			if since, ended := m.RejectedSince("shop", "cart-1", []string{family, "c"}); !since.IsZero() != rejected || ended != wantEnded {
				t.Errorf("%s: rejected since %v, ended %v; want %v, %v", family, since, ended, rejected, wantEnded)
			}
		}
		passFakeTime(3 * time.Second)
		check("a", false, false)
		r.mu.Lock()
		r.limit = 2
		r.mu.Unlock()
		p.setBody("a 1\nb 1\nb{x=\"1\"} 1\nb{x=\"2\"} 1\n")
		passFakeTime(2 * time.Second)
		check("a", false, false)
		check("b", true, true)
		first, _ := m.RejectedSince("shop", "cart-1", []string{"b"})
		passFakeTime(4 * time.Second)
		if since, _ := m.RejectedSince("shop", "cart-1", []string{"b"}); !since.Equal(first) {
			t.Errorf("rejected since %v, and since %v two pages before", since, first)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, "too many series", "a", "b")
		p.setBody("a 1\nb 1\n")
		passFakeTime(2 * time.Second)
		check("b", false, false)
		if since, ended := m.RejectedSince("shop", "nobody", []string{"b"}); !since.IsZero() || ended {
			t.Error("a pod that is no target has a rejected family")
		}
	})
}

// TestTimestampOfNoTime: a page that has a family with the zero time of a program, or the epoch, does not prove that the family is absent.
func TestTimestampOfNoTime(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second, Retention: 20 * time.Second}, func(m *Manager, n *fakeNetwork, _ *recordingAppender) {
		for pod, body := range map[string]string{"zero": "a 5 -62135596800000\n", "epoch": "a 5 0\n", "none": "b 1\n"} {
			n.addServer(pod+":8080", &fakePage{body: body})
		}
		m.SetTargets([]metric.Target{newTestTarget("zero", "a"), newTestTarget("epoch", "a"), newTestTarget("none", "a")})
		for range 2 {
			passFakeTime(15 * time.Second)
			for pod, want := range map[string]metric.Reason{"zero": metric.ReasonStale, "epoch": metric.ReasonStale, "none": metric.ReasonAbsent} {
				if got := m.Diagnose("shop", pod, []string{"a"}); got.Reason != want {
					t.Errorf("%s: %+v, want %s", pod, got, want)
				}
			}
		}
	})
}

// TestFamilyThatLeaves: a family that was on the page of the process is absent from the third page without it on. A page that has it
// every other time gives no proof.
func TestFamilyThatLeaves(t *testing.T) {
	t.Parallel()
	const with, without, left = "a 1\nb 1\n", "b 1\n", "a was on its page just now, and may come back"
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: without}
		n.addServer("cart-1:8080", p)
		target := newTestTarget("cart-1", "a", "b")
		target.Started = time.Now().Add(-time.Hour)
		m.SetTargets([]metric.Target{target})
		passFakeTime(time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no a on its page", "a")
		for range 3 {
			p.setBody(with)
			passFakeTime(2 * time.Second)
			p.setBody(without)
			passFakeTime(2 * time.Second)
			checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, left, "a")
		}
		passFakeTime(2 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, left, "a")
		passFakeTime(2 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no a on its page", "a")
		p.setBody(with)
		passFakeTime(2 * time.Second)
		p.setBody(without)
		target.Started = time.Now()
		m.SetTargets([]metric.Target{target})
		passFakeTime(2 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no a on its page", "a")
	})
}

// TestAbsentNeedsProof checks when a selector that matches no series of a family on the page is the reason of a missing value:
// once the page had the family, without a break, for as long as samples are kept.
func TestAbsentNeedsProof(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second, Retention: 70 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a 1\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b")})
		passFakeTime(72 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no series of it matches", "a")
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no b on its page", "a", "b")
		p.setBody("a 1\na 2\n") // one failed scrape
		passFakeTime(2 * time.Second)
		p.setBody("a 1\n")
		passFakeTime(6 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for 5s only", "a")
		n.addServer("cart-1:8080", nil)
		m.Reconfigure(Options{Interval: 2 * time.Second, Timeout: 10 * time.Second})
		passFakeTime(8 * time.Second) // the next scrape does not end
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no b on its page", "b")
	})
}

// TestOldPageProvesNothing checks a target with a scrape under way for longer than an interval.
func TestOldPageProvesNothing(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second, Timeout: 10 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "a 1\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b")})
		passFakeTime(5 * time.Second)
		p.setDelay(9 * time.Second)
		passFakeTime(3 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonAbsent, "no b on its page", "b")
		passFakeTime(3 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonStale, "newest page 7s old", "b")
	})
}

// TestOldTimestampIsTheReason scrapes pages with timestamps of their own.
func TestOldTimestampIsTheReason(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: fmt.Sprintf("a 1 %d\n", time.Now().Add(-90*time.Second).UnixMilli())}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonStale, "newest sample 1m31s old (the page's own timestamp)", "a")
		p.setBody(fmt.Sprintf("a 1 %d\n", time.Now().UnixMilli()))
		passFakeTime(9 * time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonStale, "newest sample 9s old (the page's own timestamp)", "a")
		own := time.Now().Unix()
		p.setBody(fmt.Sprintf("a 1 %d\n", own))
		passFakeTime(2 * time.Second)
		age := time.Since(time.UnixMilli(own)).Round(time.Second)
		checkDiagnosis(t, m, "cart-1", metric.ReasonStale, fmt.Sprintf("newest sample %v old (the page's own timestamp, which is in seconds; the text format has milliseconds)", age), "a")
	})
}

// TestDecreases scrapes a pod whose counter goes back on every fourth page.
func TestDecreases(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{}
		n.addServer("cart-1:8080", p)
		target := newTestTarget("cart-1", "a_total", "b_total")
		target.Started = time.Now().Add(-time.Hour)
		m.SetTargets([]metric.Target{target})
		for page := range 13 {
			p.setBody(fmt.Sprintf("a_total %d\nb_total %d\n", 1000*(page%4), page))
			passFakeTime(2 * time.Second)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonDecreasing, "a counter decreases again and again: several processes behind one port?", "a_total")
		for family, want := range map[string]bool{"a_total": true, "b_total": false, "c_total": false} {
			if got := m.Decreases("shop", "cart-1", []string{"x", family}); got != want {
				t.Errorf("Decreases(%s) = %v, want %v", family, got, want)
			}
		}
		if m.Decreases("shop", "nobody", []string{"a_total"}) {
			t.Error("a pod that is no target decreases")
		}
	})
}

func TestFamilyType(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{body: "# TYPE gateway_requests counter\ngateway_requests 1\nbare 2\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "bare", "gateway_requests", "gone")})
		passFakeTime(time.Second)
		for _, tc := range []struct {
			pod, family string
			want        model.MetricType
			known       bool
		}{
			{"cart-1", "gateway_requests", model.MetricTypeCounter, true},
			{"cart-1", "bare", model.MetricTypeUnknown, true},
			{"cart-1", "gone", "", false},
			{"cart-1", "never_demanded", "", false},
			{"nobody", "bare", "", false},
		} {
			if got, known := m.FamilyType("shop", tc.pod, tc.family); got != tc.want || known != tc.known {
				t.Errorf("FamilyType(%s, %s) = %q, %v, want %q, %v", tc.pod, tc.family, got, known, tc.want, tc.known)
			}
		}
		p.setBody("# TYPE gateway_requests gauge\ngateway_requests 1\n")
		passFakeTime(2 * time.Second)
		if got, _ := m.FamilyType("shop", "cart-1", "gateway_requests"); got != model.MetricTypeGauge {
			t.Errorf("the newest page says %q, want gauge", got)
		}
		p.setBody("gateway_requests 1\n")
		passFakeTime(2 * time.Second)
		if got, known := m.FamilyType("shop", "cart-1", "gateway_requests"); got != model.MetricTypeGauge || !known {
			t.Errorf("after a page without types %q, %v, want gauge", got, known)
		}
	})
}

// TestFaultOfOneFamily scrapes a page with a fault in one of its families.
func TestFaultOfOneFamily(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second, MaxSamples: 10}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		page := &fakePage{body: "a 1\n" + manySamples(7) + bigFamily(5)}
		n.addServer("cart-1:8080", page)
		n.addServer("cart-2:8080", page)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
		passFakeTime(5 * time.Second)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "big")}) // a reader's demand
		passFakeTime(6 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `"a", namespace`, "cart-1")); got != "1 1 1 1 1 1" {
			t.Errorf("samples of the family demanded first: %q", got)
		}
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "big"), newTestTarget("cart-2", "a", "big")})
		passFakeTime(time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `"a", namespace`, "cart-2")); got != "1" {
			t.Errorf("samples of the family demanded first, of a pod that came later: %q", got)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, "more than 10 samples", "big")
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for 12s only", "a")
	})
}

func bigFamily(n int) string {
	b := ""
	for i := range n {
		b += fmt.Sprintf("big{j=\"%d\"} 1\n", i)
	}
	return b
}

// TestOldDemandsComeFirst demands more families than a target may have.
func TestOldDemandsComeFirst(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		n.addServer("cart-1:8080", &fakePage{body: "z 1\na0001 1\n"})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "z")})
		var families []string
		for i := range maxFamilies {
			families = append(families, fmt.Sprintf("a%04d", i))
		}
		m.SetTargets([]metric.Target{newTestTarget("cart-1", append(families, "z")...)})
		passFakeTime(time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `"z"`)); got != "1" {
			t.Errorf("samples of the family demanded first: %q", got)
		}
		if got := formatPoints(r.pointsOfSeries(t, `"a0001"`)); got != "1" {
			t.Errorf("samples of a family demanded later: %q", got)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, families[maxFamilies-1]+" not scraped yet", families[maxFamilies-1])
	})
}
