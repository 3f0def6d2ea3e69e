package verify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// transportFunc answers requests in memory.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respondFine(size int) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(make([]byte, size)))}
}

// hangUntilCancelled answers only when the request's context ends.
func hangUntilCancelled(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestS15ProbeTimeoutIsBounded: the owner of a pod does not choose how long the scaler waits.
func TestS15ProbeTimeoutIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbedPod("web-0", "10.0.0.1", 8080)
		p.Spec.Containers[0].ReadinessProbe.TimeoutSeconds = 1<<31 - 1
		begin := time.Now()
		r, err := New(Options{Transport: transportFunc(hangUntilCancelled)}).Run(t.Context(), Spec{Timeout: specDuration(100 * time.Millisecond)}, []corev1.Pod{p}, nil)
		if err != nil || r.Passed || r.Pods[0].Readiness != timeoutCause {
			t.Errorf("%+v, %v; want a pod that is not ready", r, err)
		}
		if took := time.Since(begin); took != maxReadinessTimeout {
			t.Errorf("it took %s; want %s", took, maxReadinessTimeout)
		}
	})
}

// TestS15EveryVerificationEnds: however slow the pods are, the verification fails at its time limit, and says so.
func TestS15EveryVerificationEnds(t *testing.T) {
	t.Parallel()
	slow := func(d time.Duration) transportFunc {
		return func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(d):
				return respondFine(1), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
	}
	for name, c := range map[string]struct {
		transport http.RoundTripper
		within    time.Duration
		want      time.Duration
		probes    int // of each pod
		timeout   int32
	}{
		"many requests, each in time": {slow(900 * time.Millisecond), 0, DefaultWithin, 1, 1},
		"as the file says":            {slow(900 * time.Millisecond), 7 * time.Second, 7 * time.Second, 1, 1},
		"many probes, each hanging":   {transportFunc(hangUntilCancelled), 10 * time.Second, 10 * time.Second, 1, 60},
		"many probes, each just so":   {slow(29 * time.Second), 0, DefaultWithin, 100, 60},
		"a pod that responds for ever": {transportFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: endlessBody{r.Context()}}, nil
		}), time.Minute, time.Minute, 1, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var pods []corev1.Pod
				for i := range 30 {
					p := newProbedPod("web-"+string(rune('a'+i%26))+string(rune('a'+i/26)), "10.0.0.1", 8080)
					p.Spec.Containers[0].ReadinessProbe.TimeoutSeconds = c.timeout
					for range c.probes - 1 {
						p.Spec.Containers = append(p.Spec.Containers, p.Spec.Containers[0])
					}
					pods = append(pods, p)
				}
				begin := time.Now()
				r, err := New(Options{Transport: c.transport}).Run(t.Context(), Spec{URL: "/", Requests: 10_000, Success: 0.01, Within: specDuration(c.within)}, pods, nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took != c.want {
					t.Errorf("it took %s; want %s", took, c.want)
				}
				last := r.Verdicts[len(r.Verdicts)-1]
				if r.Passed || last.What != "duration" || last.Passed || !strings.Contains(r.SummaryLine(), "duration") {
					t.Errorf("%+v", r.Verdicts)
				}
				for _, p := range r.Pods {
					if p.Name == "" {
						t.Errorf("a pod without a name: %+v", p)
					}
				}
				var text strings.Builder
				r.WriteTable(&text)
			})
		})
	}
}

// endlessBody is a body that gives a byte a second.
type endlessBody struct{ ctx context.Context }

func (e endlessBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return copy(p, "x"), nil
	case <-e.ctx.Done():
		return 0, e.ctx.Err()
	}
}

func (e endlessBody) Close() error { return nil }

// TestS15CallersEndIsNoVerdict: the end of the caller's context is an error, and no judgement of the pods.
func TestS15CallersEndIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("another replica leads")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gone)
		defer cancel()
		if r, err := New(Options{Transport: transportFunc(hangUntilCancelled)}).Run(ctx, Spec{}, []corev1.Pod{newProbedPod("web-0", "10.0.0.1", 80)}, nil); !errors.Is(err, gone) {
			t.Errorf("%+v, %v; want %v", r, err, gone)
		}
	})
}

// TestS15RequestsAreBounded: many pods get fewer requests each.
func TestS15RequestsAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pods, old, asked, want int }{
		{1, 0, 100, 100}, {10, 0, maxRequests, maxRequests}, {10, 10, maxRequests, 5000}, {1000, 500, maxRequests, 66}, {1000, 0, 100, 100}, {200_000, 0, 100, 1},
	} {
		r := &podVerification{spec: Spec{Requests: c.asked, Concurrency: 70}, newPods: make([]podChecks, c.pods), oldPods: make([]podChecks, c.old)}
		r.boundPodRequests()
		if r.spec.Requests != c.want || r.spec.Concurrency != min(70, c.want) {
			t.Errorf("%+v: %d requests to each, %d at a time", c, r.spec.Requests, r.spec.Concurrency)
		}
	}
	var sent atomic.Int64
	a := transportFunc(func(*http.Request) (*http.Response, error) { sent.Add(1); return respondFine(1), nil })
	v := &podVerification{
		Checker: New(Options{Transport: a}), spec: Spec{URL: "/", Requests: 7, Concurrency: 2, Success: 1}, newTotal: newRequestTally(), oldTotal: newRequestTally(),
		newPods: []podChecks{{podName: "web-0", skipReason: "skipped: no probe", load: &podRequest{url: "http://10.0.0.1/", timeout: time.Minute}}},
	}
	if r, err := v.runPodVerification(t.Context()); err != nil || !r.Passed || sent.Load() != 7 {
		t.Errorf("%d requests, %+v, %v", sent.Load(), r, err)
	}
}

// TestS15BytesAreBounded: a pod that answers with too much fails, and is not asked for more.
func TestS15BytesAreBounded(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	a := transportFunc(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != "/" {
			return respondFine(1), nil
		}
		sent.Add(1)
		return respondFine(2 * maxBodyBytes), nil
	})
	r, err := New(Options{Transport: a}).Run(t.Context(), Spec{URL: "/", Requests: 400, Concurrency: 1}, []corev1.Pod{newProbedPod("web-0", "10.0.0.1", 80)}, nil)
	if err != nil || r.Passed || sent.Load() != maxPodBytes/maxBodyBytes || r.New.Causes[tooManyBytesCause] != 400-maxPodBytes/maxBodyBytes {
		t.Errorf("%d requests were sent; %+v, %v", sent.Load(), r.New, err)
	}
}

// TestAddressesThatNoPodHas: nothing is sent to the machine's metadata service, or to nowhere.
func TestAddressesThatNoPodHas(t *testing.T) {
	t.Parallel()
	for _, ip := range []string{"169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "::ffff:169.254.169.254"} {
		if _, err := New(Options{}).Run(t.Context(), Spec{}, []corev1.Pod{newProbedPod("web-0", ip, 80)}, nil); err == nil || !strings.Contains(err.Error(), "which no pod has") {
			t.Errorf("%s: %v", ip, err)
		}
	}
}
