package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// scriptedTransport is a transport with scripted response times, by the clock of the bubble.
type scriptedTransport struct {
	// reply returns the duration and status of the nth request to an address, from 1.
	reply       func(host string, n int64) (time.Duration, int)
	counts      map[string]*atomic.Int64
	now, atOnce atomic.Int64
}

// newScriptedTransport returns a transport for these addresses.
func newScriptedTransport(reply func(host string, n int64) (time.Duration, int), hosts ...string) *scriptedTransport {
	a := &scriptedTransport{reply: reply, counts: map[string]*atomic.Int64{}}
	for _, h := range hosts {
		a.counts[h] = new(atomic.Int64)
	}
	return a
}

func (a *scriptedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	n := a.now.Add(1)
	defer a.now.Add(-1)
	for seen := a.atOnce.Load(); n > seen && !a.atOnce.CompareAndSwap(seen, n); seen = a.atOnce.Load() {
	}
	took, status := time.Millisecond, http.StatusOK
	if r.URL.Path != "/healthz" {
		took, status = a.reply(r.URL.Hostname(), a.counts[r.URL.Hostname()].Add(1))
	}
	select {
	case <-time.After(took):
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// newPodFleet returns pods with the addresses prefix1, prefix2 and so on.
func newPodFleet(name, prefix string, n int) (pods []corev1.Pod, hosts []string) {
	for i := range n {
		host := fmt.Sprint(prefix, i+1)
		pods, hosts = append(pods, newProbedPod(fmt.Sprint(name, "-", i), host, 80)), append(hosts, host)
	}
	return pods, hosts
}

// linearLatency answers the nth request of an address within n milliseconds.
func linearLatency(_ string, n int64) (time.Duration, int) {
	return time.Duration(n) * time.Millisecond, http.StatusOK
}

func TestReports(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		spec   Spec
		reply  func(host string, n int64) (time.Duration, int)
		old    int
		passed bool
	}{
		{"passed", Spec{P50: specDuration(50 * time.Millisecond), P95: specDuration(95 * time.Millisecond), P99: specDuration(99 * time.Millisecond)}, linearLatency, 0, true},
		{"slow", Spec{P50: specDuration(49 * time.Millisecond), P95: specDuration(94 * time.Millisecond), P99: specDuration(98 * time.Millisecond)}, linearLatency, 0, false},
		{"one-bad-pod", Spec{Success: 0.9}, func(host string, n int64) (time.Duration, int) {
			if host == "10.0.0.2" && n%5 == 0 {
				return time.Millisecond, http.StatusServiceUnavailable
			}
			return linearLatency(host, n)
		}, 0, false},
		{"timeouts", Spec{Timeout: specDuration(200 * time.Millisecond), P99: specDuration(150 * time.Millisecond), Success: 0.5}, func(host string, n int64) (time.Duration, int) {
			if n%20 == 0 {
				return time.Hour, http.StatusOK
			}
			return linearLatency(host, n)
		}, 0, false},
		{"slower-than-old", Spec{Slower: 2}, func(host string, _ int64) (time.Duration, int) {
			if strings.HasPrefix(host, "10.9.") {
				return 20 * time.Millisecond, http.StatusOK
			}
			return 41 * time.Millisecond, http.StatusOK
		}, 5, false},
		{"as-fast-as-old", Spec{Slower: 2}, linearLatency, 2, true},
		{"within-noise-of-old", Spec{Slower: 2}, func(host string, _ int64) (time.Duration, int) {
			if strings.HasPrefix(host, "10.9.") {
				return time.Millisecond, http.StatusOK
			}
			return 6 * time.Millisecond, http.StatusOK
		}, 1, true},
		{"no-old", Spec{Slower: 2}, linearLatency, 0, true},
		{"old-do-not-answer", Spec{Slower: 2}, func(host string, n int64) (time.Duration, int) {
			if strings.HasPrefix(host, "10.9.") {
				return time.Millisecond, http.StatusBadGateway
			}
			return linearLatency(host, n)
		}, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				now, hosts := newPodFleet("new", "10.0.0.", 3)
				old, oldHosts := newPodFleet("old", "10.9.0.", c.old)
				c.spec.URL = "/work"
				r, err := New(Options{Transport: newScriptedTransport(c.reply, append(hosts, oldHosts...)...)}).Run(t.Context(), c.spec, now, old)
				if err != nil {
					t.Fatal(err)
				}
				if r.Passed != c.passed {
					t.Errorf("passed=%t, want %t", r.Passed, c.passed)
				}
				var text strings.Builder
				r.WriteTable(&text)
				compareGoldenReport(t, c.name, r.SummaryLine()+"\n\n"+text.String())
			})
		})
	}
}

func TestOldPodsAreASampleOfTheReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now, hosts := newPodFleet("new", "10.0.0.", 2)
		old, oldHosts := newPodFleet("old", "10.9.0.", 7)
		old[0].Status.Conditions[0].Status = corev1.ConditionFalse
		old[1].Status.PodIP = ""
		old[2].Spec.Containers[0].ReadinessProbe = nil // no port to ask on
		a := newScriptedTransport(linearLatency, append(hosts, oldHosts...)...)
		r, err := New(Options{Transport: a}).Run(t.Context(), Spec{URL: "/", Requests: 10, Slower: 3}, now, old)
		if err != nil || r.Old.Requests != 20 || len(r.Pods) != 4 || r.Pods[2].Name != "old-3" || r.Pods[3].Name != "old-5" || !r.Pods[3].Old {
			t.Errorf("report %+v, %v", r, err)
		}
	})
}

func TestOldPodsAreLeftAloneUnlessCompared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now, hosts := newPodFleet("new", "10.0.0.", 2)
		old, oldHosts := newPodFleet("old", "10.9.0.", 2)
		a := newScriptedTransport(linearLatency, append(hosts, oldHosts...)...)
		r, err := New(Options{Transport: a}).Run(t.Context(), Spec{URL: "/"}, now, old)
		if err != nil || a.counts["10.9.0.1"].Load() != 0 || len(r.Pods) != 2 {
			t.Errorf("old pod was asked %d times; report %+v, %v", a.counts["10.9.0.1"].Load(), r, err)
		}
	})
}

func TestPodsInParallelAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now, hosts := newPodFleet("new", "10.0.0.", 30)
		a := newScriptedTransport(linearLatency, hosts...)
		r, err := New(Options{Transport: a, Parallel: 4}).Run(t.Context(), Spec{URL: "/", Requests: 10, Concurrency: 3}, now, nil)
		if err != nil || !r.Passed || r.New.Requests != 300 {
			t.Errorf("report %+v, %v", r, err)
		}
		if got := a.atOnce.Load(); got != 12 {
			t.Errorf("%d requests at a time, want 12: 4 pods with 3 each", got)
		}
	})
}

func TestHangingPodIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now, hosts := newPodFleet("new", "10.0.0.", 10)
		a := newScriptedTransport(func(string, int64) (time.Duration, int) { return time.Hour, http.StatusOK }, hosts...)
		begin := time.Now()
		r, err := New(Options{Transport: a}).Run(t.Context(), Spec{URL: "/", Success: 1}, now, nil) // the first timeout of each is one too many
		if err != nil || r.Passed || r.New.Requests != 50 || r.New.Causes[timeoutCause] != 50 {
			t.Errorf("report %+v, %v", r, err)
		}
		if took := time.Since(begin); took > DefaultTimeout+time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	s := Summary{
		Requests: 4, Failed: 1, Success: 0.75, Causes: map[string]int{"status 503": 1},
		P50: specDuration(12 * time.Millisecond), P95: specDuration(20 * time.Millisecond), P99: specDuration(20 * time.Millisecond), Max: specDuration(20100 * time.Microsecond),
	}
	want := Report{
		Pods: []PodReport{{Name: "web-0", Readiness: readinessOK, Summary: s}, {Name: "web-1", Old: true, Summary: Summary{Requests: 4, Success: 1}}},
		New:  s, Old: Summary{Requests: 4, Success: 1}, Verdicts: []Verdict{{What: "p95", Got: "20ms", Limit: "at most 10ms"}},
	}
	data, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareGoldenReport(t, "report-json", string(data)+"\n")
	var back Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back); diff != "" {
		t.Errorf("report is another after JSON (-want +got):\n%s", diff)
	}
}

func TestCausesAreBounded(t *testing.T) {
	t.Parallel()
	a, b := newRequestTally(), newRequestTally()
	for i := range 100 {
		a.tallyRequest(time.Millisecond, fmt.Sprint("nonsense ", i))
	}
	b.mergeRequestTally(a)
	s := b.summarizeRequests()
	if len(s.Causes) != maxCauses+1 || s.Causes["nonsense 9"] != 1 || s.Causes[otherCause] != 100-maxCauses || s.Failed != 100 || s.hasRequestLatencies() {
		t.Errorf("summary %+v", s)
	}
}

func TestPercentIsNeverMoreThanIs(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{1: "100%", 0.99: "99%", 0.57: "57%", 0.99999: "99.99%", 0.9949: "99.49%", 0: "0%"} {
		if got := formatRequestShare(share); got != want {
			t.Errorf("percent(%v) = %s, want %s", share, got, want)
		}
	}
}

func TestWhyOfNothing(t *testing.T) {
	t.Parallel()
	if got := (Report{}).SummaryLine(); got != "not verified" {
		t.Errorf("why %q", got)
	}
}
