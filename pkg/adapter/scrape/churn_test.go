package scrape

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// churningPage shows the family a with n series that no page before had, and a steady family b.
type churningPage struct {
	n     int
	pages atomic.Int64
}

func (c *churningPage) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	page := c.pages.Add(1)
	for i := range c.n {
		_, _ = fmt.Fprintf(w, "a{i=\"%d-%d\"} 1\n", page, i)
	}
	_, _ = fmt.Fprint(w, "b 1\n")
}

// TestChurnIsBounded has a pod rename its series on each scrape: it gets twice as many new series within the retention as a page may
// have samples, its steady family keeps its samples, and what its parser holds is bounded.
func TestChurnIsBounded(t *testing.T) {
	t.Parallel()
	const maxSamples = 60
	opts := Options{Interval: 2 * time.Second, Retention: 20 * time.Second, MaxSamples: maxSamples}
	runInFakeTime(t, opts, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		n.addServer("cart-1:8080", &churningPage{n: maxSamples - 1})
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b")})
		passFakeTime(19 * time.Second)
		firstRetention := countSeries(r, "i=")
		if firstRetention == 0 || firstRetention > 2*maxSamples {
			t.Errorf("%d series of a in a retention, want at most %d", firstRetention, 2*maxSamples)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, "more than 120 new series within 20s: the labels change from scrape to scrape", "a")
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for 19s only", "b")
		passFakeTime(181 * time.Second)
		if got := countSeries(r, "i="); got > 11*2*maxSamples {
			t.Errorf("%d series of a in 10 retentions, want at most %d", got, 11*2*maxSamples)
		}
		if got := len(r.pointsOfSeries(t, `"b"`)); got < 99 {
			t.Errorf("the steady family has %d samples of 100 scrapes", got)
		}
		const perSeries = 600 // labels and overhead of the test's series, with room
		if got := r.reserved.Load(); got <= 0 || got > 4*maxSamples*perSeries {
			t.Errorf("the parser holds %d bytes, want at most %d", got, 4*maxSamples*perSeries)
		}
		m.SetTargets(nil)
		passFakeTime(time.Second)
		if got := r.reserved.Load(); got != 0 {
			t.Errorf("%d bytes stay reserved after the target", got)
		}
	})
}

func countSeries(r *recordingAppender, part string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.series {
		if strings.Contains(name, part) {
			n++
		}
	}
	return n
}

// TestRestartIsNoChurn has a pod begin anew with other labels, once per retention: all its samples are kept.
func TestRestartIsNoChurn(t *testing.T) {
	t.Parallel()
	opts := Options{Interval: 2 * time.Second, Retention: 20 * time.Second, MaxSamples: 60}
	runInFakeTime(t, opts, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		p := &fakePage{}
		n.addServer("cart-1:8080", p)
		for generation := range 5 {
			var b strings.Builder
			for i := range 60 {
				fmt.Fprintf(&b, "a{generation=\"%d\",i=\"%d\"} 1\n", generation, i)
			}
			p.setBody(b.String())
			m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
			passFakeTime(20 * time.Second)
			if got := len(r.pointsOfSeries(t, fmt.Sprintf(`generation="%d"`, generation), `i="59"`)); got < 9 {
				t.Errorf("generation %d has %d samples of 20 s, want 10", generation, got)
			}
		}
		m.SetTargets(nil)
	})
}

// TestOldDemandsGetRoomFirst has a page show two families at once with room for one: the older demand gets it, though its name comes
// last.
func TestOldDemandsGetRoomFirst(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		r.limit = 3
		p := &fakePage{body: "other 1\n"}
		n.addServer("cart-1:8080", p)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "b")})
		passFakeTime(4 * time.Second)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a", "b")})
		p.setBody("a{i=\"1\"} 1\na{i=\"2\"} 1\nb{i=\"1\"} 1\nb{i=\"2\"} 1\n")
		passFakeTime(4 * time.Second)
		if a, b := countSeries(r, `"a"`), countSeries(r, `"b"`); a != 0 || b != 2 {
			t.Errorf("%d series of a, %d of b; want 0 and 2", a, b)
		}
		m.SetTargets(nil)
	})
}
