package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeServer responds to every query from a script. It is an HTTP handler, and a transport for bubbles of fake time.
type fakeServer struct {
	mu         sync.Mutex
	forms      []url.Values
	requests   []*http.Request
	delay      time.Duration
	running    int
	maxRunning int  // at the same time
	down       bool // refuses connections, as a transport
	script     func(url.Values) fakeResponse
}

// fakeResponse is the reaction of a server to a query.
type fakeResponse struct {
	code   int // 0: 200
	header map[string]string
	body   string
}

func (s *fakeServer) updateState(change func(*fakeServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *fakeServer) setScript(script func(url.Values) fakeResponse) {
	s.updateState(func(s *fakeServer) { s.script = script })
}

func (s *fakeServer) alwaysRespond(r fakeResponse) {
	s.setScript(func(url.Values) fakeResponse { return r })
}

// receivedQueries returns the queries so far.
func (s *fakeServer) receivedQueries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, f := range s.forms {
		all = append(all, f.Get("query"))
	}
	return all
}

// countRunning returns the number of running queries, and its maximum so far.
func (s *fakeServer) countRunning() (now, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running, s.maxRunning
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	s.forms, s.requests = append(s.forms, r.Form), append(s.requests, r)
	script, delay := s.script, s.delay
	s.running++
	s.maxRunning = max(s.maxRunning, s.running)
	s.mu.Unlock()
	defer s.updateState(func(s *fakeServer) { s.running-- })
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return
	}
	a := script(r.Form)
	w.Header().Set("Content-Type", "application/json")
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.code != 0 {
		w.WriteHeader(a.code)
	}
	_, _ = io.WriteString(w, a.body)
}

// RoundTrip responds without a network.
func (s *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return nil, syscall.ECONNREFUSED
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// serversByHost is a transport to several servers by host.
type serversByHost map[string]*fakeServer

func (h serversByHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return h[r.URL.Host].RoundTrip(r)
}

// fakeSeries is a result in the text form of the tests: labels as NAME=VALUE,..., a number, and the time of its sample.
type fakeSeries struct {
	labels string
	value  float64
	at     time.Time // zero: the server has none
}

func (s fakeSeries) writeJSON(b *strings.Builder, extra, value string) {
	labels := map[string]string{}
	for l := range strings.SplitSeq(s.labels+extra, ",") {
		if name, value, ok := strings.Cut(l, "="); ok {
			labels[name] = value
		}
	}
	text, _ := json.Marshal(labels)
	if b.Len() > 0 {
		b.WriteString(",")
	}
	fmt.Fprintf(b, `{"metric":%s,"value":[1435781451.781,%q]}`, text, value)
}

// newVectorResponse returns a response with these results, and their times if the expression queries them.
func newVectorResponse(all ...fakeSeries) fakeResponse {
	var b strings.Builder
	for _, s := range all {
		s.writeJSON(&b, "", strconv.FormatFloat(s.value, 'g', -1, 64))
		if !s.at.IsZero() {
			s.writeJSON(&b, ",tachometer_sample_time=1", formatEpochSeconds(s.at))
		}
	}
	return fakeResponse{body: `{"status":"success","data":{"resultType":"vector","result":[` + b.String() + `]}}`}
}

var namespaceMatcher = regexp.MustCompile(`namespace=~?"([^"]*)"`)

// respondPerNamespace returns a pod of each queried namespace, with a sample of a second ago.
func respondPerNamespace(form url.Values) fakeResponse {
	at, _ := strconv.ParseFloat(form.Get("time"), 64)
	var all []fakeSeries
	for n := range strings.SplitSeq(namespaceMatcher.FindStringSubmatch(form.Get("query"))[1], "|") {
		all = append(all, fakeSeries{"namespace=" + n + ",pod=web-1", 1, time.UnixMilli(int64(at*1000) - 1000)})
	}
	return newVectorResponse(all...)
}

const sharedRules = `
- metric: requests
  backend: prometheus
  query: sum by (namespace, pod) (rate(http_requests_total[1m]))
`

// compileRules compiles rules on a backend with the configuration backend.
func compileRules(t testing.TB, backend, rules string) (config.Backend, *rule.Set) {
	t.Helper()
	cfg, set, err := rule.Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nbackends:\n- name: prometheus\n" +
		strings.TrimSuffix(backend, "\n") + "\nrules:" + rules))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Backends[0], set
}

// testBackend is a backend in front of a scripted server.
type testBackend struct {
	*Backend
	t      testing.TB
	server *fakeServer
	rules  *rule.Set
	log    io.Writer // of Run; nil: no log
}

func newTestBackend(t testing.TB, backend, rules string, opts Options) *testBackend {
	t.Helper()
	s := &fakeServer{script: respondPerNamespace}
	if !strings.Contains(backend, "url:") {
		backend += "  url: http://prometheus:9090\n"
		opts.Transport = s
	}
	if opts.Transport == nil && !strings.Contains(backend, "timeout:") {
		backend += "  timeout: 5m\n" // on the network a busy machine takes its time
	}
	cfg, set := compileRules(t, backend, rules)
	b, err := New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	return &testBackend{Backend: b, t: t, server: s, rules: set}
}

// newNetworkBackend returns a testBackend with its server on the network.
func newNetworkBackend(t testing.TB, backend, rules string) *testBackend {
	t.Helper()
	s := &fakeServer{script: respondPerNamespace}
	server := httptest.NewServer(s)
	w := newTestBackend(t, "  url: "+server.URL+"\n"+backend, rules, Options{})
	w.server = s
	t.Cleanup(func() {
		w.client.http.CloseIdleConnections()
		server.Close()
	})
	return w
}

// startBackend runs the backend for the rest of the test.
func (w *testBackend) startBackend() (stop func()) {
	log := klog.Logger{} // logs nothing
	if w.log != nil {
		log = textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(w.log)))
	}
	ctx, cancel := context.WithCancel(klog.NewContext(w.t.Context(), log))
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}
}

// runInBubble runs f in a bubble of fake time, beside a running backend.
func runInBubble(t *testing.T, backend, rules string, f func(*testBackend)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newTestBackend(t, backend, rules, Options{})
		defer w.startBackend()()
		f(w)
	})
}

// passTime advances the time and waits until all due work is done.
func passTime(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *testBackend) newRuleQuery(name, namespace string, objects ...string) rule.Query {
	w.t.Helper()
	r, err := w.rules.Lookup("pods", name)
	if err != nil {
		if r, err = w.rules.External(name); err != nil {
			w.t.Fatal(err)
		}
	}
	return rule.Query{Rule: r, Namespace: namespace, Objects: objects}
}

// evaluateRequests reads the metric requests of all pods of a namespace now.
func (w *testBackend) evaluateRequests(namespace string) ([]metric.Value, error) {
	w.t.Helper()
	return w.Evaluate(klog.NewContext(w.t.Context(), klog.Logger{}), w.newRuleQuery("requests", namespace), time.Now())
}

// formatValues formats values as objects or labels with their numbers, in their order, or the error.
func formatValues(values []metric.Value, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var parts []string
	for _, v := range values {
		name := v.Object.String()
		if v.Object.Name == "" {
			name = formatServerResultLabels(v.Labels)
		}
		parts = append(parts, fmt.Sprintf("%s=%g", name, v.Value))
	}
	return strings.Join(parts, " ")
}
