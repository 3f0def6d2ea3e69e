package scrape

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// scrapeOverTCP runs a manager over TCP until done reports true.
func scrapeOverTCP(t *testing.T, opts Options, targets []metric.Target, done func(*Manager, *recordingAppender) bool) (*Manager, *recordingAppender) {
	t.Helper()
	r := newRecordingAppender()
	m := New(r, opts)
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), klog.Logger{}))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	m.SetTargets(targets)
	for !done(m, r) { // the timeout of the whole run is its only bound
		<-time.After(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	return m, r
}

// schemes are the ways to a target: package http1 reads plain HTTP, net/http reads https.
var schemes = map[string]func(http.Handler) *httptest.Server{
	"http": httptest.NewServer, "https": httptest.NewTLSServer,
}

// serveScheme returns the address of a server. Its certificate, if any, is of no known authority.
func serveScheme(t *testing.T, scheme string, h http.HandlerFunc) string {
	t.Helper()
	s := schemes[scheme](h)
	t.Cleanup(s.Close)
	return s.URL + "/metrics"
}

func textHandler(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, body)
	}
}

// endlessHandler writes piece repeatedly until the client closes.
func endlessHandler(piece string, pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
			if pause > 0 {
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(pause):
				}
			}
		}
	}
}

func millionLabels() string {
	var b strings.Builder
	b.WriteString("a{")
	for i := range 1_000_000 {
		fmt.Fprintf(&b, "l%d=\"\",", i)
	}
	return b.String() + "} 1\n"
}

func serveGzip(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = io.WriteString(z, "a 1\n")
	_ = z.Close()
}

// serveUndelimited sends a body that ends with the connection.
func serveUndelimited(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "identity")
		_, _ = io.WriteString(w, body)
	}
}

// serveCutOff sends less than it announced.
func serveCutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, "a 1\n")
}

// TestBadTargets scrapes many targets of each bad kind beside good targets. Each kind has its own reason; no sample of a bad
// target is stored; the good targets are not disturbed; memory stays bounded.
func TestBadTargets(t *testing.T) {
	for scheme := range schemes {
		for kinds, timeout := range map[string]time.Duration{"late": lateTargetTimeout, "wrong": time.Hour} { // a busy machine takes its time
			t.Run(scheme+" "+kinds, func(t *testing.T) { testBadTargets(t, scheme, timeout) })
		}
	}
}

// lateTargetTimeout is the timeout of the targets whose kind is to exceed it.
const lateTargetTimeout = 2 * time.Second

func testBadTargets(t *testing.T, scheme string, timeout time.Duration) {
	million := millionLabels()
	bad := map[string]struct {
		h     http.HandlerFunc
		cause string
		kind  exposition.ErrorKind
	}{
		"html":          {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\n</html>\n") }, "Content-Type is text/html", exposition.KindNotMetrics},
		"html as text":  {textHandler("<!DOCTYPE html>\n<a>\n"), "HTML, not metrics", exposition.KindNotMetrics},
		"truncated":     {serveUndelimited("a 1\nb 2"), "truncated page", exposition.KindTruncated},
		"cut off":       {serveCutOff, "truncated page", exposition.KindTruncated},
		"gzip":          {serveGzip, "gzip, though not asked for", exposition.KindEncoding},
		"200 MB":        {textHandler("# " + strings.Repeat("x", 200<<20) + "\n"), "page over 1 MiB", exposition.KindTooLarge},
		"200 MB, lines": {endlessHandler(strings.Repeat("b{i=\"1\"} 1\n", 1000), 0), "page over 1 MiB", exposition.KindTooLarge},
		"endless, slow": {endlessHandler("b 1\n", 50*time.Millisecond), "timeout after 2s", ""},
		"never ends":    {endlessHandler("b", 50*time.Millisecond), "timeout after 2s", ""},
		"duplicate":     {textHandler("a 1\na 2\n"), `duplicate series a{namespace="shop",node="n1",pod="duplicate"} with different values`, exposition.KindDuplicate},
		"many labels":   {textHandler(million[:1<<19] + "} 1\n"), "line 1 longer than 16384 bytes", exposition.KindTooLong},
		"65 labels":     {textHandler("a{" + strings.Repeat("l=\"\",", 65) + "} 1\n"), "series with more than 64 labels at line 1", exposition.KindTooManyLabels},
		"not UTF-8":     {textHandler("a{b=\"\xc3\x28\"} 1\n"), "not UTF-8 at line 1", exposition.KindNotUTF8},
		"samples":       {textHandler(manySamples(101)), "more than 100 samples", exposition.KindTooManySamples},
		"status":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "HTTP 500", ""},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://u:p@evil:1/x?token=s", http.StatusFound)
		}, "redirected to http://evil:1/x, not followed", ""},
	}
	for name, b := range bad {
		if strings.HasPrefix(b.cause, "timeout after") != (timeout == lateTargetTimeout) {
			delete(bad, name)
		}
	}
	var targets []metric.Target
	for name, b := range bad {
		url := serveScheme(t, scheme, b.h)
		for i := range 4 {
			tg := newTestTarget(name, "a")
			tg.URL = url
			if i > 0 {
				tg.Pod = fmt.Sprintf("%s-%d", name, i)
			}
			targets = append(targets, tg)
		}
	}
	nan := newTestTarget("nan", "a")
	nan.URL = serveScheme(t, scheme, textHandler("a NaN\n"))
	for i := range 5 {
		tg := newTestTarget(fmt.Sprintf("good-%d", i), "a")
		tg.URL = serveScheme(t, scheme, textHandler("a 7\n"))
		targets = append(targets, tg)
	}
	targets = append(targets, nan)

	reg := prometheus.NewRegistry()
	opts := Options{
		Interval: 2 * time.Second, Timeout: timeout, MaxPageBytes: 1 << 20, MaxSamples: 100, Registerer: reg, MaxConcurrent: 16,
	}
	told := map[string]bool{}
	before := livingHeapBytes()
	var peak uint64
	m, r := scrapeOverTCP(t, opts, targets, func(m *Manager, r *recordingAppender) bool {
		peak = max(peak, livingHeapBytes())
		for name, b := range bad { // on a busy machine a target may run into its timeout now and then
			got := m.Diagnose("shop", name, []string{"a"})
			told[name] = told[name] || got.Detail == b.cause && got.Reason == metric.ReasonScrapeFailed
		}
		for i := range 5 {
			if len(r.pointsOfSeries(t, fmt.Sprintf(`pod="good-%d"`, i))) < 3 {
				return false
			}
		}
		if len(r.pointsOfSeries(t, `pod="nan"`)) < 2 {
			return false
		}
		return len(told) == len(bad) && !slices.Contains(slices.Collect(maps.Values(told)), false)
	})
	for name, b := range bad {
		if !told[name] {
			t.Errorf("%s: never said to be %q; in the end %+v", name, b.cause, m.Diagnose("shop", name, []string{"a"}))
		}
		if b.kind != "" && counterValue(t, reg, "tachometer_scrape_pages_rejected_total", string(b.kind)) == 0 {
			t.Errorf("%s: kind %s not counted", name, b.kind)
		}
		if ps := r.pointsOfSeries(t, fmt.Sprintf(`pod="%s"`, name)); len(ps) > 0 {
			t.Errorf("%s: %d samples taken", name, len(ps))
		}
	}
	if got := formatPoints(r.pointsOfSeries(t, `pod="nan"`)); !strings.HasPrefix(got, "NaN NaN") {
		t.Errorf("NaN is a sample like any other; got %q", got)
	}
	for i := range 5 {
		pod := fmt.Sprintf("good-%d", i)
		if got := formatPoints(r.pointsOfSeries(t, fmt.Sprintf("pod=%q", pod))); strings.Trim(got, "7 ") != "" {
			t.Errorf("%s has samples %q", pod, got)
		}
	}
	// The servers of this test share the heap: before includes the 200 MB of a server.
	if grown := int64(peak) - int64(before); grown > 64<<20 {
		t.Errorf("heap grew by %d MiB at 64 bad targets", grown>>20)
	}
}

func manySamples(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a{i=\"%d\"} 1\n", i)
	}
	return b.String()
}

// livingHeapBytes returns the bytes of the heap without garbage.
func livingHeapBytes() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestAgainstClientGolang scrapes pages of the library that services use: counter, gauge, histogram and summary by family,
// and the count of a histogram alone.
func TestAgainstClientGolang(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total"}, []string{"code"})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{Name: "http_requests_in_flight"})
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "http_request_duration_seconds", Buckets: []float64{1}})
	age := prometheus.NewSummary(prometheus.SummaryOpts{Name: "queue_age", Objectives: map[float64]float64{.5: .1}})
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "other_total"})
	dotted := prometheus.NewGauge(prometheus.GaugeOpts{Name: "with.dots"})
	reg.MustRegister(requests, inFlight, duration, age, other, dotted)
	requests.WithLabelValues("200").Inc()
	requests.WithLabelValues("500").Inc()
	duration.Observe(.5)
	age.Observe(2)
	for name, format := range map[string]bool{"text": false, "openmetrics": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var size atomic.Int64
			h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: format})
			url := serveScheme(t, "http", func(w http.ResponseWriter, r *http.Request) {
				if format { // a server that has OpenMetrics only
					r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8")
				}
				c := &countingWriter{ResponseWriter: w}
				h.ServeHTTP(c, r)
				size.Store(c.n)
			})
			for _, tc := range []struct {
				families []string
				series   int
				lacks    string // the request must not ask for this family
			}{
				{[]string{"http_requests_total"}, 2, "other_total"},
				{[]string{"http_requests_in_flight"}, 1, ""},
				{[]string{"http_request_duration_seconds"}, 4, ""},
				{[]string{"http_request_duration_seconds_count"}, 1, ""},
				{[]string{"http_request_duration_seconds_sum", "queue_age_count"}, 2, ""},
				{[]string{"queue_age"}, 3, ""},
				{[]string{"with.dots"}, 1, ""},
				{[]string{"nothing"}, 0, ""},
			} {
				tg := newTestTarget("cart-1", tc.families...)
				tg.URL = url
				m, r := scrapeOverTCP(t, Options{Timeout: time.Hour}, []metric.Target{tg}, func(m *Manager, _ *recordingAppender) bool { return m.FirstRoundDone() })
				if d := m.Diagnose("shop", "cart-1", tc.families); d.Reason == metric.ReasonScrapeFailed {
					t.Errorf("%v: %s", tc.families, d.Detail)
				}
				if len(r.points) != tc.series {
					t.Errorf("%v: series %v, want %d", tc.families, r.series, tc.series)
				}
				if size.Load() > 600 {
					t.Errorf("%v: page of %d bytes: more was sent than asked for", tc.families, size.Load())
				}
			}
		})
	}
}

type countingWriter struct {
	http.ResponseWriter
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.ResponseWriter.Write(b)
}

// namelessServer serves a page only for requests without family names.
type namelessServer struct {
	mu           sync.Mutex
	named, whole int
	rejecting    bool // rejects every request
}

func (h *namelessServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.URL.Query().Has("name[]") {
		h.named++
	} else {
		h.whole++
	}
	if h.rejecting || r.URL.Query().Has("name[]") {
		http.Error(w, "unknown parameter", http.StatusBadRequest)
		return
	}
	if r.URL.Query().Get("keep") != "this" {
		http.Error(w, "the URL's own query is lost", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, onePage)
}

func (h *namelessServer) requestCounts() (named, whole int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.named, h.whole
}

func (h *namelessServer) rejectAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rejecting = true
}

func TestTargetThatRejectsNames(t *testing.T) {
	t.Parallel()
	runInFakeTime(t, Options{Interval: 2 * time.Second}, func(m *Manager, n *fakeNetwork, r *recordingAppender) {
		h := &namelessServer{}
		n.addServer("cart-1:8080", h)
		tg := newTestTarget("cart-1", "http_requests_total")
		tg.URL += "?keep=this"
		m.SetTargets([]metric.Target{tg})
		passFakeTime(time.Second)
		if got := formatPoints(r.pointsOfSeries(t, `pod="cart-1"`)); got != "1" {
			t.Errorf("samples after the first scrape %q, want 1: the whole page is asked for at once", got)
		}
		passFakeTime(8 * time.Minute)
		if named, whole := h.requestCounts(); named != 1 || whole < 200 {
			t.Errorf("%d requests by family, %d for the page; want the first only", named, whole)
		}
		tg.Families = []string{"http_requests_total", "other"}
		m.SetTargets([]metric.Target{tg})
		passFakeTime(5 * time.Minute)
		if named, _ := h.requestCounts(); named != 2 {
			t.Errorf("%d requests by family after 13 minutes, want one more", named)
		}
		h.rejectAll()
		named, whole := h.requestCounts()
		before := named + whole
		passFakeTime(10 * time.Minute)
		named, whole = h.requestCounts()
		if asked := named + whole - before; asked > 330 { // 300 scrapes
			t.Errorf("an ill target is asked %d times in 300 intervals", asked)
		}
		if d := m.Diagnose("shop", "cart-1", nil); d.Detail != "HTTP 400" {
			t.Errorf("an ill target: %+v", d)
		}
	})
}

// TestCauses checks that a cause is short, for people, and holds no secret of a URL.
func TestCauses(t *testing.T) {
	t.Parallel()
	demanding := httptest.NewUnstartedServer(textHandler("a 1\n"))
	demanding.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	demanding.StartTLS()
	t.Cleanup(demanding.Close)
	plain := httptest.NewServer(textHandler("a 1\n"))
	t.Cleanup(plain.Close)
	hangUp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = c.Close()
		}
	}))
	t.Cleanup(hangUp.Close)
	const secret = "/metrics?token=secret"
	for name, tc := range map[string]struct{ url, want string }{
		"tls, client certificate": {demanding.URL + secret, "TLS: handshake refused: certificate required"},
		"tls, plain server":       {strings.Replace(plain.URL, "http:", "https:", 1) + secret, "TLS: the target speaks plain HTTP"},
		"refused":                 {"http://127.0.0.1:1" + secret, "connection refused"},
		"hangs up":                {hangUp.URL + secret, "connection closed"},
		"no URL":                  {"http://[::1" + secret, "invalid URL"},
		"no scheme":               {"cart-1:8080" + secret, "invalid URL"},
		"file":                    {"file:///etc/passwd", "invalid URL"},
		"good":                    {plain.URL + secret, "scraped for a moment only"},
		"good, https":             {serveScheme(t, "https", textHandler("a 1\n")) + "?token=secret", "scraped for a moment only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg := newTestTarget("cart-1", "a")
			tg.URL = tc.url
			m, _ := scrapeOverTCP(t, Options{Timeout: time.Hour}, []metric.Target{tg}, func(m *Manager, _ *recordingAppender) bool { return m.FirstRoundDone() })
			if d := m.Diagnose("shop", "cart-1", []string{"a"}); d.Detail != tc.want {
				t.Errorf("detail %q, want %q", d.Detail, tc.want)
			}
			if e := newScrapedEndpoint(tc.url, exposition.NewFamilies(nil)); strings.Contains(e.loggedURL, "secret") {
				t.Errorf("the log would show %q", e.loggedURL)
			}
		})
	}
	long := classifyFetchError(errors.New(strings.Repeat("é", 1000)), time.Second)
	if len(long.text) > 110 || long.outcome != outcomeOther {
		t.Errorf("a long error becomes %d bytes, %s", len(long.text), long.outcome)
	}
}
