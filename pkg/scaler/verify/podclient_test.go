package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/fieldlimit"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/protocolswitch/switchtest"
)

func answerFine(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "fine") }

// exceptHealthz answers the readiness address with 200, and passes other requests to a handler.
func exceptHealthz(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			answerFine(w, r)
			return
		}
		h(w, r)
	}
}

func TestEveryRequestReachesItsPod(t *testing.T) {
	t.Parallel()
	var asked [3]atomic.Int64
	var pods []corev1.Pod
	for i := range asked {
		pods = append(pods, servePod(t, fmt.Sprint("web-", i), fmt.Sprintf("127.1.0.%d", i+1), exceptHealthz(func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != "/work?ms=1" {
				t.Errorf("asked for %s", r.RequestURI)
			}
			asked[i].Add(1)
			answerFine(w, r)
		})))
	}
	r := mustVerify(t, Spec{URL: "/work?ms=1", Requests: 20, Concurrency: 3, Success: 1}, pods, nil)
	if !r.Passed || r.New.Requests != 60 || r.New.Failed != 0 || r.New.Success != 1 {
		t.Errorf("report %+v", r)
	}
	for i := range asked {
		if asked[i].Load() != 20 || r.Pods[i].Requests != 20 || r.Pods[i].Readiness != "ok" {
			t.Errorf("pod %d was asked %d times; report %+v", i, asked[i].Load(), r.Pods[i])
		}
	}
	if s := r.New; s.P50.Duration <= 0 || s.P50.Duration > s.P95.Duration || s.P95.Duration > s.P99.Duration || s.P99.Duration > s.Max.Duration {
		t.Errorf("percentiles out of order: %+v", s)
	}
}

func TestFailuresByCause(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	unavailable := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	long := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", strings.Repeat("x", 20<<10)) }
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "short")
	}
	upgrade := switchtest.NewHandler(t)
	for i, c := range []struct {
		name    string
		handler http.HandlerFunc
		cause   string
	}{
		{"goes over to another protocol", upgrade, "status 101"},
		{"status", unavailable, "status 503"},
		{"missing", http.NotFound, "status 404"},
		{"hangs", hang, "timeout"},
		{"drops the connection", abort, "connection closed"},
		{"drops it in the middle of the body", cut, "connection closed"},
		{"sends 20 KiB of headers", long, fieldlimit.LongHeadersCause},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := servePod(t, "web-0", fmt.Sprintf("127.2.0.%d", i+1), exceptHealthz(c.handler))
			timeout := time.Minute // a busy machine must not make other causes look like a timeout
			if c.cause == timeoutCause {
				timeout = time.Second
			}
			r := mustVerify(t, Spec{URL: "/work", Requests: 4, Concurrency: 4, Timeout: specDuration(timeout)}, []corev1.Pod{p}, nil)
			if r.Passed || r.New.Failed != 4 {
				t.Errorf("report %+v", r)
			}
			if diff := cmp.Diff(map[string]int{c.cause: 4}, r.New.Causes); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCausesOfRequestsAreHarmless: a cause goes to webhooks, logs and Events, and an error may repeat a response.
func TestCausesOfRequestsAreHarmless(t *testing.T) {
	t.Parallel()
	broken := failingTransport{errors.New("malformed: \x1b[2J\u009b31m\u202e\u2028WARNING\x07" + strings.Repeat("\x00", 100))}
	r, err := New(Options{Transport: broken}).Run(t.Context(), Spec{URL: "/work", Requests: 2}, []corev1.Pod{newProbedPod("web-0", "127.2.1.1", 80)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := r.Pods[0].Readiness + "\n" + r.SummaryLine()
	if !strings.Contains(text, `malformed: \x1b[2J\u009b31m\u202e WARNING\a`) || plaintext.CleanLines(text) != text {
		t.Errorf("causes %+q", text)
	}
}

// failingTransport fails each request.
type failingTransport struct{ err error }

func (f failingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestReadinessFailsFirst(t *testing.T) {
	t.Parallel()
	var loaded atomic.Int64
	good := servePod(t, "good", "127.3.0.1", exceptHealthz(func(http.ResponseWriter, *http.Request) { loaded.Add(1) }))
	gone := servePod(t, "gone", "127.3.0.2", answerFine)
	refusing := newProbedPod("refusing", "127.3.0.3", 1)
	sick := servePod(t, "sick", "127.3.0.4", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	gone.Spec.Containers[0].ReadinessProbe = nil
	r := mustVerify(t, Spec{URL: fmt.Sprintf("http://shop:%d/", good.Spec.Containers[0].Ports[0].ContainerPort)}, []corev1.Pod{good, gone, refusing, sick}, nil)
	var got []string
	for _, p := range r.Pods {
		got = append(got, p.Name+": "+p.Readiness)
	}
	want := []string{"good: ok", "gone: skipped: no httpGet readiness probe", "refusing: connection refused", "sick: status 500"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("readiness (-want +got):\n%s", diff)
	}
	if r.Passed || loaded.Load() != 0 {
		t.Errorf("passed=%t, %d requests after a readiness that failed", r.Passed, loaded.Load())
	}
	if want := "readiness: 1 of 3 pods (1 connection refused, 1 status 500), wanted all"; r.SummaryLine() != want {
		t.Errorf("why %q, want %q", r.SummaryLine(), want)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := servePod(t, "other", "127.4.0.1", func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	to := fmt.Sprintf("http://127.4.0.1:%d/", other.Spec.Containers[0].Ports[0].ContainerPort)
	p := servePod(t, "web-0", "127.4.0.2", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	r := mustVerify(t, Spec{URL: "/", Requests: 5}, []corev1.Pod{p}, nil)
	if !r.Passed || elsewhere.Load() != 0 {
		t.Errorf("report %+v; %d requests where the redirect led", r, elsewhere.Load())
	}
}

func TestEndlessBodyIsCut(t *testing.T) {
	t.Parallel()
	chunk := strings.Repeat("x", 32<<10)
	p := servePod(t, "web-0", "127.5.0.1", exceptHealthz(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, chunk); err != nil {
				return
			}
		}
	}))
	r := mustVerify(t, Spec{URL: "/", Requests: 2, Concurrency: 1, Timeout: specDuration(time.Minute)}, []corev1.Pod{p}, nil)
	if !r.Passed || r.New.Max.Duration > 30*time.Second {
		t.Errorf("report %+v", r)
	}
}

func TestProbeAsTheKubeletAsks(t *testing.T) {
	t.Parallel()
	s := newPodServer(t, "127.6.0.1", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" || r.Header.Get("X-Probe") != "yes" || r.RequestURI != "/ready?deep=1" || r.TLS == nil {
			t.Errorf("asked for %s of %s with %v", r.RequestURI, r.Host, r.Header)
		}
		answerFine(w, r)
	})
	s.StartTLS()
	p := podOfServer(t, "web-0", s)
	get := readinessProbe(&p)
	get.Path, get.Scheme = "/ready?deep=1", corev1.URISchemeHTTPS
	get.HTTPHeaders = []corev1.HTTPHeader{{Name: "host", Value: "shop.example"}, {Name: "X-Probe", Value: "yes"}}
	if r := mustVerify(t, Spec{}, []corev1.Pod{p}, nil); !r.Passed || r.SummaryLine() != "passed: 1 of 1 pods answered their readiness address" {
		t.Errorf("report %+v: %s", r, r.SummaryLine())
	}
}

func TestWholeURLIsSentToThePod(t *testing.T) {
	t.Parallel()
	var hosts atomic.Value
	s := newPodServer(t, "127.7.0.1", func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(r.Host + " " + r.TLS.ServerName)
		answerFine(w, r)
	})
	s.StartTLS()
	p := podOfServer(t, "web-0", s)
	port := p.Spec.Containers[0].Ports[0].ContainerPort
	p.Spec.Containers[0].ReadinessProbe = nil
	r := mustVerify(t, Spec{URL: fmt.Sprintf("https://shop.example:%d/x", port), Requests: 1}, []corev1.Pod{p}, nil)
	if want := fmt.Sprintf("shop.example:%d shop.example", port); !r.Passed || hosts.Load() != want {
		t.Errorf("host and server name %v, want %s; report %+v", hosts.Load(), want, r)
	}
}

func TestPodsAreAskedTogether(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	full := make(chan struct{})
	var pods []corev1.Pod
	for i := range 2 {
		pods = append(pods, servePod(t, fmt.Sprint("web-", i), fmt.Sprintf("127.8.0.%d", i+1), exceptHealthz(func(http.ResponseWriter, *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			if n == 6 { // two pods with three each: no request is answered before
				close(full)
			}
			<-full
		})))
	}
	r := mustVerify(t, Spec{URL: "/", Requests: 3, Concurrency: 3, Timeout: specDuration(time.Minute)}, pods, nil)
	if !r.Passed {
		t.Fatalf("report %+v", r)
	}
	if most.Load() != 6 {
		t.Errorf("%d requests at a time, want 6", most.Load())
	}
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("lease lost")
	p := servePod(t, "web-0", "127.9.0.1", exceptHealthz(func(_ http.ResponseWriter, r *http.Request) {
		cancel(over)
		<-r.Context().Done()
	}))
	if _, err := New(Options{}).Run(ctx, Spec{URL: "/", Timeout: specDuration(time.Minute)}, []corev1.Pod{p}, nil); !errors.Is(err, over) {
		t.Errorf("error %v, want %v", err, over)
	}
}
