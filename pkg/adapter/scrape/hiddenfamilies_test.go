package scrape

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// namesPage shows a request by name only the families that its registry has by name, and any other request all families.
type namesPage struct {
	byName []string
	body   func() string
}

func (p namesPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()["name[]"]
	for line := range strings.Lines(p.body()) {
		name, _, _ := strings.Cut(line, " ")
		if len(asked) == 0 || slices.Contains(asked, name) && slices.Contains(p.byName, name) {
			_, _ = fmt.Fprint(w, line)
		}
	}
}

// TestFamiliesHiddenByName scrapes targets that answer 200 to a request by family, but without families that they have: the multiprocess
// mode of Python's client shows none, its collectors that find their families late show some.
func TestFamiliesHiddenByName(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		byName []string
		later  string // the first samples of a family that appears later
	}{
		"all of them": {nil, "5000 5010"},
		"all but one": {[]string{"python_info"}, "5020 5030"},
		"none":        {[]string{"python_info", "a_total"}, "5000 5010"},
	} {
		for since, appears := range map[string]int{"from the start": 0, "later": 3} {
			t.Run(name+", "+since, func(t *testing.T) {
				t.Parallel()
				runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
					begin := time.Now()
					log := &requestLog{Handler: namesPage{tc.byName, func() string {
						scrape := int(time.Since(begin) / (2 * time.Second))
						if scrape < appears {
							return "python_info 1\n"
						}
						return fmt.Sprintf("python_info 1\na_total %d\n", 5000+10*(scrape-appears))
					}}}
					n.addServer("cart-1:8080", log)
					m.SetTargets([]metric.Target{newTestTarget("cart-1", "a_total")})
					passFakeTime(19 * time.Second)
					want := tc.later
					if appears == 0 {
						want = "5000 5010"
					}
					if got := formatPoints(r.pointsOfSeries(t, "a_total")); !strings.HasPrefix(got, want) {
						t.Errorf("samples %q, want them to begin with %q", got, want)
					}
				})
			})
		}
	}
}

// TestFamiliesChangeInScrape: a scrape that finds out how its target answers, while the target's families change, leaves that to the next scrape.
func TestFamiliesChangeInScrape(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, _ *recordingAppender) {
		page := namesPage{nil, func() string { return "a_total 1\nb_total 1\n" }}
		log := &requestLog{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // fake time
			page.ServeHTTP(w, r)
		})}
		n.addServer("cart-1:8080", log)
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a_total")})
		for log.requests() < 2 {
			passFakeTime(10 * time.Millisecond)
		}
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a_total", "b_total")})
		passFakeTime(time.Second)
		log.takeURLs()
		passFakeTime(2 * time.Second)
		if got := log.takeURLs(); got != "/metrics" {
			t.Errorf("the next scrape asks for %s, want the whole page alone", got)
		}
		checkDiagnosis(t, m, "cart-1", metric.ReasonWarmingUp, "scraped for a moment only", "b_total")
	})
}
