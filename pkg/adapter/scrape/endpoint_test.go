package scrape

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// requestLog records the paths and queries of requests before it serves them.
type requestLog struct {
	http.Handler
	mu   sync.Mutex
	urls []string
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.urls = append(l.urls, r.URL.String())
	l.mu.Unlock()
	l.Handler.ServeHTTP(w, r)
}

// requests counts the requests since the last call of takeURLs.
func (l *requestLog) requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.urls)
}

// takeURLs returns the URLs of the requests since the last call.
func (l *requestLog) takeURLs() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := strings.Join(l.urls, " ")
	l.urls = nil
	return got
}

// TestRedirect scrapes targets that redirect: a page beside the URL is fetched, and fetched directly from then on.
func TestRedirect(t *testing.T) {
	t.Parallel()
	const query = "?name%5B%5D=a_total&name%5B%5D=a_created"
	for name, tc := range map[string]struct {
		location     string // of /metrics; %s: the query
		first, later string // the requests of the first scrape, and of the second
		cause        string
		port         string // of the target; empty: 8080
	}{
		"the scheme's own port left out": {location: "http://CART-1/metrics/", first: "/metrics" + query + " /metrics/" + query, later: "/metrics/" + query, port: "80"},
		"the port left out":              {location: "http://cart-1/metrics/", first: "/metrics" + query, later: "/metrics" + query, cause: "redirected to http://cart-1/metrics/, not followed"},
		"with a slash":                   {"/metrics/%s", "/metrics" + query + " /metrics/" + query, "/metrics/" + query, "", ""},
		"without query":                  {"/metrics/", "/metrics" + query + " /metrics/" + query, "/metrics/" + query, "", ""},
		"relative":                       {"metrics/?x=y", "/metrics" + query + " /metrics/?x=y&" + query[1:], "/metrics/?x=y&" + query[1:], "", ""},
		"the whole URL":                  {"http://cart-1:8080/metrics/%s", "/metrics" + query + " /metrics/" + query, "/metrics/" + query, "", ""},
		"another host":                   {"http://evil:8080/metrics/", "/metrics" + query, "/metrics" + query, "redirected to http://evil:8080/metrics/, not followed", ""},
		"another port":                   {"http://cart-1:9090/metrics/", "/metrics" + query, "/metrics" + query, "redirected to http://cart-1:9090/metrics/, not followed", ""},
		"another scheme":                 {"https://cart-1:8080/metrics/", "/metrics" + query, "/metrics" + query, "redirected to https://cart-1:8080/metrics/, not followed", ""},
		"to itself":                      {"/metrics", strings.TrimSpace(strings.Repeat("/metrics"+query+" ", 4)), strings.TrimSpace(strings.Repeat("/metrics"+query+" ", 4)), "redirected to /metrics, not followed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				log := &requestLog{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/metrics" {
						w.Header().Set("Location", strings.ReplaceAll(tc.location, "%s", "?"+r.URL.RawQuery))
						w.WriteHeader(http.StatusTemporaryRedirect)
						return
					}
					_, _ = fmt.Fprintln(w, "a_total 1")
				})}
				port, target := cmp.Or(tc.port, "8080"), newTestTarget("cart-1", "a_total")
				target.URL = strings.Replace(target.URL, ":8080", ":"+port, 1)
				n.addServer("cart-1:"+port, log)
				m.SetTargets([]metric.Target{target})
				passFakeTime(time.Second)
				if got := log.takeURLs(); got != tc.first {
					t.Errorf("first scrape requests %q, want %q", got, tc.first)
				}
				passFakeTime(2 * time.Second)
				if got := log.takeURLs(); got != tc.later {
					t.Errorf("second scrape requests %q, want %q", got, tc.later)
				}
				if tc.cause != "" {
					checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, tc.cause, "a_total")
				} else if got := formatPoints(r.pointsOfSeries(t, "a_total")); got != "1 1" {
					t.Errorf("samples %q", got)
				}
			})
		})
	}
}

// TestRedirectThatEnds scrapes a target with a redirect that leads to an error later on: the scraper returns to the URL.
func TestRedirectThatEnds(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		var back atomic.Bool
		n.addServer("cart-1:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch moved := !back.Load(); {
			case moved && r.URL.Path == "/metrics":
				http.Redirect(w, r, "/new", http.StatusFound)
			case moved == (r.URL.Path == "/new"):
				_, _ = fmt.Fprintln(w, "a_total 1")
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		m.SetTargets([]metric.Target{newTestTarget("cart-1", "a_total")})
		passFakeTime(3 * time.Second)
		back.Store(true)
		passFakeTime(4 * time.Second)
		if got := formatPoints(r.pointsOfSeries(t, "a_total")); got != "1 1 1" {
			t.Errorf("samples %q, want two, a failed scrape, and one more", got)
		}
	})
}

// TestDottedNames scrapes a Go service with dots in its names, by the names that curl shows.
func TestDottedNames(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		families []string
		want     map[string]string // samples by series, after five scrapes
		requests int
	}{
		"underscores": {
			[]string{"http_server_active_requests", "plain_total", "shop_orders_total"},
			map[string]string{"http_server_active_requests": "4 4 4 4 4", "shop_orders_total": "7 7 7 7 7", "plain_total": "9 9 9 9 9"}, 9,
		},
		"dots":         {[]string{"http.server.active_requests", "plain_total"}, map[string]string{"http.server.active_requests": "4 4 4 4 4", "plain_total": "9 9 9 9 9"}, 5},
		"both":         {[]string{"http.server.active_requests", "shop_orders_total"}, map[string]string{"http.server.active_requests": "4 4 4 4 4"}, 8},
		"not there":    {[]string{"plain_total", "absent_total"}, map[string]string{"plain_total": "9 9 9 9 9"}, 8},
		"not possible": {[]string{"plain_total", "absent"}, map[string]string{"plain_total": "9 9 9 9 9"}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewRegistry()
			active := prometheus.NewGauge(prometheus.GaugeOpts{Name: "http.server.active_requests"})
			orders := prometheus.NewCounter(prometheus.CounterOpts{Name: "shop.orders_total"})
			plain := prometheus.NewCounter(prometheus.CounterOpts{Name: "plain_total"})
			reg.MustRegister(active, orders, plain)
			active.Set(4)
			orders.Add(7)
			plain.Add(9)
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				log := &requestLog{Handler: promhttp.HandlerFor(reg, promhttp.HandlerOpts{})}
				n.addServer("cart-1:8080", log)
				m.SetTargets([]metric.Target{newTestTarget("cart-1", tc.families...)})
				passFakeTime(9 * time.Second)
				for name, want := range tc.want {
					if got := formatPoints(r.pointsOfSeries(t, `"`+name+`"`)); got != want {
						t.Errorf("samples of %s: %q, want %q", name, got, want)
					}
				}
				if len(r.points) != len(tc.want) {
					t.Errorf("series %v, want %d", r.series, len(tc.want))
				}
				if got := len(strings.Fields(log.takeURLs())); got != tc.requests {
					t.Errorf("%d requests, want %d", got, tc.requests)
				}
			})
		})
	}
}

// TestManyFamiliesNeedNoLongURL demands more families than a request line has room for.
func TestManyFamiliesNeedNoLongURL(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		log := &requestLog{Handler: &fakePage{body: "family0007 1\n"}}
		n.addServer("cart-1:8080", log)
		var families []string
		for i := range 2000 {
			families = append(families, fmt.Sprintf("family%04d", i))
		}
		m.SetTargets([]metric.Target{newTestTarget("cart-1", families...)})
		passFakeTime(time.Second)
		if got := log.takeURLs(); got != "/metrics" {
			t.Errorf("requests %q, want the whole page", got)
		}
		if got := formatPoints(r.pointsOfSeries(t, "family0007")); got != "1" {
			t.Errorf("samples %q, want 1", got)
		}
	})
}

// TestPageWithoutLastLineBreak scrapes a body with a known end.
func TestPageWithoutLastLineBreak(t *testing.T) {
	t.Parallel()
	for name, flush := range map[string]bool{"length": false, "chunks": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				n.addServer("cart-1:8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = fmt.Fprint(w, "a 1\na{b=\"1\"} 27")
					if flush {
						w.(http.Flusher).Flush()
					}
				}))
				m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
				passFakeTime(time.Second)
				if got := formatPoints(r.pointsOfSeries(t, `b="1"`)); got != "27" {
					t.Errorf("samples %q, want 27", got)
				}
			})
		})
	}
}

// TestBadPagesAreRejectedEarly serves the beginnings of pages that never end: the scraper must not wait for more.
func TestBadPagesAreRejectedEarly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ page, want string }{
		"endless line":     {"a{" + strings.Repeat("name=\"value\",", 2000), "line 1 longer than 16384 bytes"},
		"too many samples": {manySamples(20_000), "more than 10000 samples"},
		"html":             {"<html>\n", "HTML, not metrics"},
		"duplicate":        {"a 1\na 2\n" + strings.Repeat("a{b=\"1\"} 1\n", 10_000), `duplicate series a{namespace="shop",node="n1",pod="cart-1"} with different values`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
				n.addServer("cart-1:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/plain")
					_, _ = io.WriteString(w, tc.page)
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				}))
				m.SetTargets([]metric.Target{newTestTarget("cart-1", "a")})
				passFakeTime(time.Second)
				checkDiagnosis(t, m, "cart-1", metric.ReasonScrapeFailed, tc.want, "a")
			})
		})
	}
}
