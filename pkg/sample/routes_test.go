package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestService returns a service that is ready, with its handler, configured by default but for change.
func newTestService(t *testing.T, change func(*Config)) (*Service, http.Handler) {
	t.Helper()
	cfg, err := LoadConfig(lookupEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg, Options{})
	s.ready.enterServicePhase(phaseServing)
	return s, s.newServiceHandler(s.registry)
}

func recordResponse(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func newTestRequest(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
}

// memoryStore is an orderStore in a map.
type memoryStore struct {
	mu   sync.Mutex
	docs map[string][]byte
}

func (m *memoryStore) saveOrder(_ context.Context, id string, doc []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.docs[id] = append([]byte(nil), doc...)
	return nil
}

func (m *memoryStore) getOrder(_ context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if doc, ok := m.docs[id]; ok {
		return doc, nil
	}
	return nil, errOrderNotFound
}

// brokenStore is an orderStore that fails.
type brokenStore struct{ err error }

func (b brokenStore) saveOrder(context.Context, string, []byte) error  { return b.err }
func (b brokenStore) getOrder(context.Context, string) ([]byte, error) { return nil, b.err }

func TestAnswers(t *testing.T) {
	t.Parallel()
	some := "/orders/" + strings.Repeat("A", 26)
	for _, tc := range []struct {
		name, method, target, body string
		store                      orderStore
		code                       int
		want                       string // part of the body
	}{
		{"index", "GET", "/", "", nil, 200, `"service":"sample"`},
		{"healthz", "GET", "/healthz", "", nil, 200, `{"status":"ok"}` + "\n"},
		{"readyz", "GET", "/readyz", "", nil, 200, `{"status":"ok","checks":{"phase":"ok"}}` + "\n"},
		{"work", "GET", "/work?ms=1", "", nil, 200, `{"cpu_ms":1}`},
		{"work of nothing", "GET", "/work?ms=0", "", nil, 200, `{"cpu_ms":0}`},
		{"work without ms", "GET", "/work", "", nil, 400, "ms must be a whole number from 0 to 1000"},
		{"work above the bound", "GET", "/work?ms=1001", "", nil, 400, "from 0 to 1000"},
		{"work below zero", "GET", "/work?ms=-1", "", nil, 400, "ms must be"},
		{"work beyond int64", "GET", "/work?ms=99999999999999999999", "", nil, 400, "ms must be"},
		{"unknown path", "GET", "/nowhere/at/all", "", nil, 404, "not found"},
		{"wrong method", "DELETE", "/orders", "", nil, 405, "Not Allowed"},
		{"orders without Redis", "POST", "/orders", `{"item":"a","quantity":1}`, nil, 503, "REDIS_ADDR is not set"},
		{"order without Redis", "GET", some, "", nil, 503, "REDIS_ADDR is not set"},
		{"order", "POST", "/orders", `{"item":"tachometer","quantity":2}`, &memoryStore{docs: map[string][]byte{}}, 201, `"item":"tachometer","quantity":2`},
		{"order that is not JSON", "POST", "/orders", `item=a`, &memoryStore{}, 400, "an order is a JSON object"},
		{"order with more fields", "POST", "/orders", `{"item":"a","quantity":1,"id":"x"}`, &memoryStore{}, 400, "unknown field"},
		{"two orders", "POST", "/orders", `{"item":"a","quantity":1}{}`, &memoryStore{}, 400, "one JSON object"},
		{"order of nothing", "POST", "/orders", `{"item":"a","quantity":0}`, &memoryStore{}, 400, "quantity must be from 1 to 1000"},
		{"order with control characters", "POST", "/orders", `{"item":"a\n","quantity":1}`, &memoryStore{}, 400, "printable"},
		{"large order", "POST", "/orders", `{"item":"` + strings.Repeat("a", 5000), &memoryStore{}, 413, "at most 4096 bytes"},
		{"no such order", "GET", some, "", &memoryStore{}, 404, "no such order"},
		{"no order's ID", "GET", "/orders/1", "", brokenStore{errors.New("not asked")}, 404, "no such order"},
		{"Redis down, write", "POST", "/orders", `{"item":"a","quantity":1}`, brokenStore{errors.New("refused")}, 503, "orders are unavailable"},
		{"Redis down, read", "GET", some, "", brokenStore{errors.New("refused")}, 503, "orders are unavailable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, h := newTestService(t, nil)
			s.orders = tc.store
			got := recordResponse(h, newTestRequest(t, tc.method, tc.target, tc.body))
			if got.Code != tc.code || !strings.Contains(got.Body.String(), tc.want) {
				t.Errorf("%d %s, want %d with %q", got.Code, got.Body, tc.code, tc.want)
			}
			if strings.Contains(got.Body.String(), "refused") {
				t.Error("the cause of a failure is shown to the client")
			}
		})
	}
}

// TestDrills: a bad release is bad for users alone; its probes say that it is fine.
func TestDrills(t *testing.T) {
	t.Parallel()
	for fault, want := range map[Fault]struct {
		code  int
		least time.Duration
	}{FaultSlow: {200, faultDelay}, FaultError: {500, 0}} {
		synctest.Test(t, func(t *testing.T) {
			_, h := newTestService(t, func(c *Config) { c.Fault = fault })
			began := time.Now()
			if got := recordResponse(h, newTestRequest(t, "GET", "/work?ms=0", "")); got.Code != want.code || time.Since(began) < want.least {
				t.Errorf("%s: %d after %v", fault, got.Code, time.Since(began))
			}
			if got := recordResponse(h, newTestRequest(t, "GET", "/readyz", "")); got.Code != 200 {
				t.Errorf("%s: readyz %d", fault, got.Code)
			}
		})
	}
}

func TestOrderCanBeReadBack(t *testing.T) {
	t.Parallel()
	s, h := newTestService(t, nil)
	s.orders = &memoryStore{docs: map[string][]byte{}}
	created := recordResponse(h, newTestRequest(t, http.MethodPost, "/orders", `{"item":"é","quantity":1000}`))
	read := recordResponse(h, newTestRequest(t, http.MethodGet, created.Header().Get("Location"), ""))
	if read.Code != http.StatusOK || read.Body.String() != created.Body.String() {
		t.Errorf("created %q, read %d %q", created.Body, read.Code, read.Body)
	}
	var o order
	if err := json.Unmarshal(read.Body.Bytes(), &o); err != nil || o.Item != "é" || o.Quantity != 1000 || o.Created.IsZero() {
		t.Errorf("order %+v, %v", o, err)
	}
}

func TestRequestsAreCountedByRoute(t *testing.T) {
	t.Parallel()
	_, h := newTestService(t, func(c *Config) { c.RateLimit = 0 })
	for _, r := range []struct{ method, target string }{
		{"GET", "/"}, {"GET", "/"}, {"HEAD", "/"}, {"GET", "/work?ms=0"}, {"GET", "/work?ms=x"},
		{"GET", "/orders/1"}, {"GET", "/a"}, {"GET", "/b"}, {"BREW", "/"}, {"DELETE", "/orders"},
		{"GET", "/healthz"}, {"GET", "/readyz"}, {"GET", "/metrics"},
	} {
		recordResponse(h, newTestRequest(t, r.method, r.target, ""))
	}
	got := recordResponse(h, newTestRequest(t, http.MethodGet, "/metrics?name[]=http_requests_total", "")).Body.String()
	want := `# HELP http_requests_total User requests answered, by method, route template and status code; probes and scrapes are not counted.
# TYPE http_requests_total counter
http_requests_total{code="200",method="GET",route="/"} 2
http_requests_total{code="200",method="GET",route="/orders/{id}"} 0
http_requests_total{code="200",method="GET",route="/work"} 1
http_requests_total{code="200",method="HEAD",route="/"} 1
http_requests_total{code="201",method="POST",route="/orders"} 0
http_requests_total{code="400",method="GET",route="/work"} 1
http_requests_total{code="400",method="POST",route="/orders"} 0
http_requests_total{code="404",method="GET",route="/orders/{id}"} 0
http_requests_total{code="404",method="GET",route="unmatched"} 2
http_requests_total{code="405",method="DELETE",route="unmatched"} 1
http_requests_total{code="405",method="other",route="unmatched"} 1
http_requests_total{code="429",method="GET",route="/"} 0
http_requests_total{code="429",method="GET",route="/orders/{id}"} 0
http_requests_total{code="429",method="GET",route="/work"} 0
http_requests_total{code="429",method="POST",route="/orders"} 0
http_requests_total{code="503",method="GET",route="/"} 0
http_requests_total{code="503",method="GET",route="/orders/{id}"} 1
http_requests_total{code="503",method="GET",route="/work"} 0
http_requests_total{code="503",method="POST",route="/orders"} 0
`
	if got != want {
		t.Errorf("http_requests_total is\n%swant\n%s", got, want)
	}
}

func TestMetricsPage(t *testing.T) {
	t.Parallel()
	s, h := newTestService(t, nil)
	page := recordResponse(h, newTestRequest(t, http.MethodGet, "/metrics", "")).Body.String()
	for _, family := range []string{
		"http_requests_total", "http_request_duration_seconds_bucket", "http_requests_in_flight",
		"go_goroutines", "process_cpu_seconds_total", "sample_build_info",
	} {
		if !strings.Contains(page, "\n"+family) {
			t.Errorf("/metrics has no %s", family)
		}
	}
	if problems, err := testutil.GatherAndLint(s.registry); err != nil || len(problems) > 0 {
		t.Errorf("names: %v, %v", problems, err)
	}
}

func TestRateLimitIsPerClient(t *testing.T) {
	t.Parallel()
	_, h := newTestService(t, func(c *Config) { c.RateLimit = 0.1 })
	ask := func(target, remote, forwarded string) *httptest.ResponseRecorder {
		r := newTestRequest(t, http.MethodGet, target, "")
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", forwarded)
		return recordResponse(h, r)
	}
	for _, tc := range []struct {
		name, target, remote, forwarded string
		code                            int
	}{
		{"first", "/", "192.0.2.1:1000", "", 200},
		{"second", "/", "192.0.2.1:1001", "", 429},
		{"another path", "/work?ms=0", "192.0.2.1:1002", "", 429},
		{"a header anybody can write", "/", "192.0.2.1:1003", "198.51.100.1", 429},
		{"another client", "/", "192.0.2.2:1000", "", 200},
		{"probe", "/readyz", "192.0.2.1:1004", "", 200},
		{"scrape", "/metrics", "192.0.2.1:1005", "", 200},
		{"IPv6", "/", "[2001:db8::1]:1000", "", 200},
		{"the same /64", "/", "[2001:db8::2]:1000", "", 429},
	} {
		got := ask(tc.target, tc.remote, tc.forwarded)
		if got.Code != tc.code {
			t.Errorf("%s: %d, want %d", tc.name, got.Code, tc.code)
		}
		if after := got.Header().Get("Retry-After"); got.Code == 429 && after != "10" {
			t.Errorf("%s: Retry-After %q, want 10 at 0.1 requests per second", tc.name, after)
		}
	}
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	s, h := newTestService(t, func(c *Config) { c.MaxInFlight = 1 })
	if !s.slots.acquireRequestSlot() {
		t.Fatal("no slot")
	}
	if got := recordResponse(h, newTestRequest(t, http.MethodGet, "/", "")); got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("second request at once: %d, Retry-After %q", got.Code, got.Header().Get("Retry-After"))
	}
	s.slots.releaseRequestSlot()
	if got := recordResponse(h, newTestRequest(t, http.MethodGet, "/", "")); got.Code != 200 {
		t.Errorf("request after it: %d", got.Code)
	}
}

func TestWorkThatCannotFinish(t *testing.T) {
	t.Parallel()
	t.Run("no CPU comes free", func(t *testing.T) {
		t.Parallel()
		s, h := newTestService(t, func(c *Config) { c.RequestTimeout = 10 * time.Millisecond })
		for range cap(s.cpus) {
			s.cpus <- struct{}{}
		}
		if got := recordResponse(h, newTestRequest(t, http.MethodGet, "/work?ms=1", "")); got.Code != 503 {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		t.Parallel()
		_, h := newTestService(t, func(c *Config) { c.RequestTimeout = 10 * time.Millisecond })
		if got := recordResponse(h, newTestRequest(t, http.MethodGet, "/work?ms=1000", "")); got.Code != 503 {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
	t.Run("client gone", func(t *testing.T) {
		t.Parallel()
		_, h := newTestService(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := recordResponse(h, newTestRequest(t, http.MethodGet, "/work?ms=1000", "").WithContext(ctx)); got.Code != statusClientGone {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
}

func TestBurnUsesCPUTime(t *testing.T) {
	t.Parallel()
	clock, release := workRequestThreadClock()
	defer release()
	before := clock()
	if err := burnWorkCPU(t.Context(), 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if used := clock() - before; used < 20*time.Millisecond || used > 40*time.Millisecond {
		t.Errorf("used %v of CPU time, want 20 ms", used)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	s, _ := newTestService(t, nil)
	chain := func(h http.HandlerFunc) http.Handler {
		return s.observeHTTPRequests(s.recoverHandlerPanic(h))
	}

	got := recordResponse(chain(func(http.ResponseWriter, *http.Request) { panic("oops") }), newTestRequest(t, http.MethodGet, "/", ""))
	if got.Code != 500 || strings.Contains(got.Body.String(), "oops") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	func() {
		defer func() {
			if cause, _ := recover().(error); !errors.Is(cause, http.ErrAbortHandler) {
				t.Errorf("an answer half sent ends with %v, want a cut connection", cause)
			}
		}()
		recordResponse(chain(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "half")
			panic("oops")
		}), newTestRequest(t, http.MethodGet, "/", ""))
	}()
	if n := testutil.ToFloat64(s.metrics.panics); n != 2 {
		t.Errorf("%v panics counted", n)
	}
	if n := testutil.ToFloat64(s.metrics.inFlight); n != 0 {
		t.Errorf("%v requests in flight after the last", n)
	}
}

func TestLogNamesTheTrace(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	cfg, err := LoadConfig(lookupEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	s := New(cfg, Options{Log: zap.New(core)})
	r := newTestRequest(t, http.MethodGet, "/orders/x", "")
	r.Header.Set("Traceparent", parent)
	got := recordResponse(s.newServiceHandler(s.registry), r)
	if got.Header().Get(traceHeader) != trace || !strings.Contains(got.Body.String(), trace) {
		t.Errorf("answer %v %s does not name trace %s", got.Header(), got.Body, trace)
	}
	lines := logs.FilterMessage("Request").All()
	if len(lines) != 1 || lines[0].Level != zap.ErrorLevel {
		t.Fatalf("log of a 503: %v", lines)
	}
	fields := lines[0].ContextMap()
	if fields["trace_id"] != trace || fields["route"] != "/orders/{id}" || fields["code"] != int64(503) {
		t.Errorf("log %v", fields)
	}
}

func TestLogLineIsJSON(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log := NewLogger(&out, zap.InfoLevel)
	log.Debug("hidden")
	log.Info("shown", zap.String("trace_id", trace))
	for range 1000 {
		log.Warn("flood")
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["ts"])); err != nil {
		t.Errorf("ts: %v", err)
	}
	if line["msg"] != "shown" || line["level"] != "info" || line["service"] != "sample" || line["trace_id"] != trace {
		t.Errorf("line %s", lines[0])
	}
	if len(lines) > 150 {
		t.Errorf("%d lines of a flood of 1000", len(lines))
	}
}

func TestReadinessAsksADependencyOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked int
		answer := errors.New("connection refused")
		c := &dependencyCheck{name: "redis", timeout: 100 * time.Millisecond, ping: func(context.Context) error { asked++; return answer }}
		r := &readinessHandler{checks: []*dependencyCheck{c}}

		if _, err := r.reportReadiness(t.Context(), time.Now()); err == nil || asked != 0 {
			t.Errorf("while starting: %v, asked %d times", err, asked)
		}
		r.enterServicePhase(phaseServing)
		for range 10 {
			if _, err := r.reportReadiness(t.Context(), time.Now()); !errors.Is(err, answer) {
				t.Errorf("Redis down: %v", err)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times within a second", asked)
		}
		answer = nil
		time.Sleep(dependencyCheckTTL) //nolint:forbidigo // the bubble's clock: no time passes
		if _, err := r.reportReadiness(t.Context(), time.Now()); err != nil || asked != 2 {
			t.Errorf("Redis back: %v, asked %d times", err, asked)
		}
		r.enterServicePhase(phaseDraining)
		if _, err := r.reportReadiness(t.Context(), time.Now()); err == nil {
			t.Error("ready while draining")
		}
	})
}

func TestReadinessDoesNotWaitForADeadDependency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		r := &readinessHandler{checks: []*dependencyCheck{{name: "redis", timeout: 100 * time.Millisecond, ping: hang}}}
		r.enterServicePhase(phaseServing)
		start := time.Now()
		w := recordResponse(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
		if took := time.Since(start); w.Code != 503 || took != 100*time.Millisecond {
			t.Errorf("%d after %v", w.Code, took)
		}
		want := `{"status":"unavailable","failed":"redis","checks":{"phase":"ok","redis":"context deadline exceeded"}}` + "\n"
		if body := w.Body.String(); body != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s, body %q; want %q", w.Header().Get("Content-Type"), body, want)
		}
	})
}

func FuzzDecodeOrder(f *testing.F) {
	for _, seed := range []string{`{"item":"a","quantity":1}`, `{"item":"é","quantity":1000}`, `{}`, `[]`, `{"item":"a","quantity":1e3}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		o, err := decodeOrder(doc)
		if err != nil {
			return
		}
		again, err := json.Marshal(struct {
			Item     string `json:"item"`
			Quantity int    `json:"quantity"`
		}{o.Item, o.Quantity})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeOrder(again); err != nil || back != o {
			t.Errorf("order %+v of %q is not the same after a round trip: %+v, %v", o, doc, back, err)
		}
	})
}
