package resourcemetrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// fakeKubelets are the kubelets of a cluster, by address. By default each node uses half a core and runs a pod of the same usage
// and name. They measure at every request.
type fakeKubelets struct {
	mu           sync.Mutex
	nodes        []Node
	responses    map[string]func(*http.Request) (*http.Response, error) // by address; nil: page
	busy         atomic.Int32
	maxBusy      int32 // reads at a time
	requestTimes map[string][]time.Time
}

func newFakeKubelets(names ...string) *fakeKubelets {
	f := &fakeKubelets{responses: map[string]func(*http.Request) (*http.Response, error){}, requestTimes: map[string][]time.Time{}}
	f.setNodes(names...)
	return f
}

func (f *fakeKubelets) setNodes(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = nil
	for _, n := range names {
		f.nodes = append(f.nodes, Node{Name: n, Address: n + ":10250"})
	}
}

func (f *fakeKubelets) listNodes() []Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes
}

// setResponse replaces the response of a node's kubelet; nil: the default.
func (f *fakeKubelets) setResponse(node string, say func(*http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.responses[node+":10250"] = say
}

func (f *fakeKubelets) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.maxBusy = max(f.maxBusy, f.busy.Add(1))
	f.requestTimes[r.URL.Host] = append(f.requestTimes[r.URL.Host], time.Now())
	say := f.responses[r.URL.Host]
	f.mu.Unlock()
	defer f.busy.Add(-1)
	if say != nil {
		return say(r)
	}
	return newPageResponse(http.StatusOK, usagePage(strings.TrimSuffix(r.URL.Host, ":10250"), time.Now())), nil
}

// usagePage returns a page with half a core of usage since the start of the bubble.
func usagePage(pod string, now time.Time) string {
	ms := now.UnixMilli()
	cpu := float64(now.Unix()-946684800)/2 + 1000 + float64(now.Nanosecond())/2e9
	labels := fmt.Sprintf(`{container="c",namespace="n",pod=%q}`, pod)
	return fmt.Sprintf("%s %f %d\n%s 1000 %d\n", nodeCPU, cpu, ms, nodeMemory, ms) +
		fmt.Sprintf("%s%s %f %d\n%s%s 100 %d\n%s%s 946684000\n", containerCPU, labels, cpu, ms, containerMemory, labels, ms, containerStart, labels)
}

func newPageResponse(code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"text/plain; version=0.0.4"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func respondWith(code int, body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return newPageResponse(code, body), nil }
}

// startKubelets runs k in the bubble for as long as the test.
func startKubelets(t *testing.T, k *KubeletSource) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	synctest.Wait()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func passTime(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (k *KubeletSource) mustGetPodUsage(t *testing.T, name string) (PodUsage, metric.Omission) {
	t.Helper()
	usages, omitted, err := k.GetPodUsages(t.Context(), []Pod{{Object: metric.Object{Namespace: "n", Name: name}}}, time.Now())
	if err != nil || len(usages)+len(omitted) != 1 {
		t.Fatalf("Pods = %v, %v, %v", usages, omitted, err)
	}
	if len(omitted) == 1 {
		return PodUsage{}, omitted[0]
	}
	return usages[0], metric.Omission{}
}

func (k *KubeletSource) mustGetNodeUsage(t *testing.T, name string) (NodeUsage, metric.Omission) {
	t.Helper()
	usages, omitted, err := k.GetNodeUsages(t.Context(), []string{name}, time.Now())
	if err != nil || len(usages)+len(omitted) != 1 {
		t.Fatalf("Nodes = %v, %v, %v", usages, omitted, err)
	}
	if len(omitted) == 1 {
		return NodeUsage{}, omitted[0]
	}
	return usages[0], metric.Omission{}
}

func TestKubeletsServeUsage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKubelets("a", "b")
		registry := prometheus.NewPedanticRegistry()
		k := NewKubeletSource(f.listNodes, f, KubeletOptions{Registerer: registry})
		if k.Warm() == nil || k.Live(time.Now()) != nil {
			t.Error("before Run: warm, or not live")
		}
		startKubelets(t, k)
		if _, o := k.mustGetPodUsage(t, "a"); o.Reason != metric.ReasonWarmingUp || k.Warm() == nil {
			t.Errorf("after one read: %+v, warm %v", o, k.Warm())
		}
		passTime(16 * time.Second)
		if err := k.Warm(); err != nil {
			t.Errorf("after two reads: %v", err)
		}
		u, o := k.mustGetPodUsage(t, "a")
		if o.Reason != "" {
			t.Fatalf("left out: %+v", o)
		}
		if diff := cmp.Diff([]ContainerUsage{{"c", Usage{.5, 100}}}, u.Containers, nearlyEqual); diff != "" {
			t.Errorf("pod (-want +got):\n%s", diff)
		}
		if u.Window < 13*time.Second || u.Window > 16*time.Second || time.Since(u.Time) > 3*time.Second {
			t.Errorf("window %s, age %s", u.Window, time.Since(u.Time))
		}
		n, o := k.mustGetNodeUsage(t, "b")
		if diff := cmp.Diff(Usage{.5, 1000}, n.Usage, nearlyEqual); diff != "" || o.Reason != "" {
			t.Errorf("node %+v (-want +got):\n%s", o, diff)
		}
		if _, o := k.mustGetPodUsage(t, "none"); o.Reason != metric.ReasonAbsent {
			t.Errorf("a pod on no page: %+v", o)
		}
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("self-metrics: %v %v", problems, err)
		}
	})
}

var nearlyEqual = cmp.Comparer(func(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 })

// A failing kubelet keeps its last usage until it is too old. Its recovery needs two new samples.
func TestKubeletFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		say  func(*http.Request) (*http.Response, error)
		want string
	}{
		"forbidden":  {respondWith(http.StatusForbidden, ""), "HTTP 403: the adapter needs the right to get nodes/metrics"},
		"down":       {func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }, "connection broken"},
		"hangs":      {func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, "timeout"},
		"redirects":  {respondWith(http.StatusFound, ""), "HTTP 302: redirected, not followed"},
		"HTML":       {respondWith(http.StatusOK, "<html>\n"), "HTML, not metrics"},
		"too large":  {respondWith(http.StatusOK, strings.Repeat("x 1\n", 300)), "page over 1 KiB"},
		"incomplete": {respondWith(http.StatusOK, pageError+" 1\n"), errIncomplete.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakeKubelets("a")
				k := NewKubeletSource(f.listNodes, f, KubeletOptions{MaxPageBytes: 1 << 10})
				startKubelets(t, k)
				passTime(20 * time.Second)
				f.setResponse("a", tc.say)
				passTime(30 * time.Second)
				if _, o := k.mustGetPodUsage(t, "a"); o.Reason != "" {
					t.Errorf("the last usage is not served while it is young: %+v", o)
				}
				passTime(50 * time.Second)
				if _, o := k.mustGetPodUsage(t, "a"); o.Reason != metric.ReasonScrapeFailed || o.Detail != tc.want {
					t.Errorf("pod: %+v, want %q", o, tc.want)
				}
				if _, o := k.mustGetNodeUsage(t, "a"); o.Reason != metric.ReasonScrapeFailed || o.Detail != tc.want {
					t.Errorf("node: %+v, want %q", o, tc.want)
				}
				if _, o := k.mustGetPodUsage(t, "none"); o.Reason != metric.ReasonScrapeFailed || !strings.Contains(o.Detail, tc.want) {
					t.Errorf("a pod that may be there: %+v", o)
				}
				f.setResponse("a", nil)
				passTime(40 * time.Second)
				if u, o := k.mustGetPodUsage(t, "a"); o.Reason != "" || u.Window > 20*time.Second {
					t.Errorf("after its recovery: %+v over %s", o, u.Window)
				}
			})
		})
	}
}

func TestKubeletRepeatsItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKubelets("a")
		k := NewKubeletSource(f.listNodes, f, KubeletOptions{})
		startKubelets(t, k)
		passTime(20 * time.Second)
		f.setResponse("a", respondWith(http.StatusOK, usagePage("a", time.Now())))
		passTime(59 * time.Second)
		if _, o := k.mustGetPodUsage(t, "a"); o.Reason != "" {
			t.Errorf("at 59 s: %+v", o)
		}
		passTime(20 * time.Second)
		if _, o := k.mustGetPodUsage(t, "a"); o.Reason != metric.ReasonStale {
			t.Errorf("at 79 s: %+v", o)
		}
	})
}

// A removed pod, and a pod of a removed node, have no usage from the next page on.
func TestPodsAndNodesGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKubelets("a", "b")
		k := NewKubeletSource(f.listNodes, f, KubeletOptions{})
		startKubelets(t, k)
		passTime(20 * time.Second)
		f.setResponse("a", respondWith(http.StatusOK, nodeCPU+" 1\n"))
		f.setNodes("a")
		passTime(16 * time.Second)
		for _, pod := range []string{"a", "b"} {
			if _, o := k.mustGetPodUsage(t, pod); o.Reason != metric.ReasonAbsent {
				t.Errorf("pod %s: %+v", pod, o)
			}
		}
		if _, o := k.mustGetNodeUsage(t, "b"); o.Reason != metric.ReasonWarmingUp {
			t.Errorf("node b: %+v", o)
		}
	})
}

// A StatefulSet makes a pod again with the same name, perhaps on another node.
func TestPodIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKubelets("a", "b")
		f.setResponse("b", func(*http.Request) (*http.Response, error) {
			return newPageResponse(http.StatusOK, usagePage("a", time.Now())), nil
		})
		k := NewKubeletSource(f.listNodes, f, KubeletOptions{})
		startKubelets(t, k)
		passTime(20 * time.Second)
		created := time.Now()
		ask := func() (n int, reason metric.Reason) {
			usages, omitted, _ := k.GetPodUsages(t.Context(), []Pod{{metric.Object{Namespace: "n", Name: "a"}, created}}, time.Now())
			if len(omitted) > 0 {
				reason = omitted[0].Reason
			}
			return len(usages), reason
		}
		if n, reason := ask(); n != 0 || reason != metric.ReasonWarmingUp {
			t.Errorf("served with %d usages of its predecessor (%s)", n, reason)
		}
		passTime(31 * time.Second)
		if n, reason := ask(); n != 1 {
			t.Errorf("no usage of its own: %s", reason)
		}
	})
}

func TestReadsAreBoundedAndSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("node-%d", i))
		}
		f := newFakeKubelets(names...)
		for _, n := range names {
			f.setResponse(n, func(*http.Request) (*http.Response, error) {
				<-time.After(100 * time.Millisecond)
				return newPageResponse(http.StatusOK, usagePage(n, time.Now())), nil
			})
		}
		k := NewKubeletSource(f.listNodes, f, KubeletOptions{MaxConcurrent: 4})
		startKubelets(t, k)
		passTime(5 * time.Minute)
		if f.maxBusy > 4 {
			t.Errorf("%d reads at a time", f.maxBusy)
		}
		for _, at := range f.requestTimes {
			if len(at) < 18 || len(at) > 24 {
				t.Errorf("%d reads in 5 minutes", len(at))
			}
		}
		if err := k.Live(time.Now()); err != nil {
			t.Error(err)
		}
		if err := k.Live(time.Now().Add(time.Hour)); err == nil {
			t.Error("an hour without a tick is no fault")
		}
	})
}

func TestNodeWithoutAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := NewKubeletSource(func() []Node { return []Node{{Name: "a"}} }, newFakeKubelets(), KubeletOptions{})
		startKubelets(t, k)
		passTime(16 * time.Second)
		if _, o := k.mustGetNodeUsage(t, "a"); o.Reason != metric.ReasonScrapeFailed || o.Detail != errNoAddress.Error() {
			t.Errorf("%+v", o)
		}
		if err := k.Warm(); err != nil {
			t.Errorf("waits for a node that has no address: %v", err)
		}
	})
}
