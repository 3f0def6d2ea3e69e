package metricevents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const refused = "3 pods: 3 scrape failed (connection refused)"

// recordedReads are the reads that a replica answered, by autoscaler.
type recordedReads struct {
	mu    sync.Mutex
	reads map[types.NamespacedName][]explainapi.Read
}

func (r *recordedReads) add(key types.NamespacedName, read explainapi.Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads[key] = append(r.reads[key], read)
}

func (r *recordedReads) Log(key types.NamespacedName, since time.Time) (*explainapi.DecisionLog, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := &explainapi.DecisionLog{}
	for _, read := range r.reads[key] {
		if !read.Time.Before(since) {
			log.Decisions = append(log.Decisions, explainapi.Decision{Time: read.Time, Reads: []explainapi.Read{read}})
		}
	}
	return log, nil
}

// controlledCluster is a cluster with autoscalers, their controller and the reporters of replicas.
type controlledCluster struct {
	t         *testing.T
	client    *fake.Clientset
	version   int
	reporters []*Reporter
	records   []*recordedReads
	names     []string // of the autoscaler's metrics
}

// newControlledCluster returns a cluster with running replicas, in a synctest bubble.
func newControlledCluster(t *testing.T, replicas int) *controlledCluster {
	t.Helper()
	c := &controlledCluster{t: t, client: fake.NewClientset(), names: []string{"request_per_second"}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, replicas)
	for i := range replicas {
		records := &recordedReads{reads: map[types.NamespacedName][]explainapi.Read{}}
		r := New(Options{Events: c.client.CoreV1(), Records: records, Replica: "adapter-" + strconv.Itoa(i), Now: time.Now})
		c.reporters, c.records = append(c.reporters, r), append(c.records, records)
		go func() { ended <- r.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range replicas {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

func passFakeTime(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // fake time
	synctest.Wait()
}

// look is a look of the HPA controller 15 s after the one before: each metric has the given error, or a value for an empty one. The
// replica answers.
func (c *controlledCluster) look(replica int, name string, causes ...string) {
	c.t.Helper()
	passFakeTime(15 * time.Second)
	c.lookNow(replica, name, causes...)
	synctest.Wait()
}

func (c *controlledCluster) lookNow(replica int, name string, causes ...string) {
	key := types.NamespacedName{Namespace: "shop", Name: name}
	c.version++
	h := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), ResourceVersion: strconv.Itoa(c.version)},
		Status:     autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 3},
	}
	for i, metric := range c.names {
		h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: metric},
		}})
		if i >= len(causes) {
			continue
		}
		status := autoscalingv2.MetricStatus{Type: autoscalingv2.PodsMetricSourceType}
		if causes[i] != "" {
			status.Type = ""
		}
		h.Status.CurrentMetrics = append(h.Status.CurrentMetrics, status)
		if replica >= 0 {
			c.records[replica].add(key, explainapi.Read{Metric: i, Time: time.Now(), Error: causes[i]})
		}
	}
	for _, r := range c.reporters {
		r.ObserveAutoscaler(h)
	}
}

// checkEvents fails the test unless the Events are the wanted, as "Reason: message".
func (c *controlledCluster) checkEvents(want ...string) {
	c.t.Helper()
	var got []string
	for _, e := range c.listEvents() {
		got = append(got, e.Reason+": "+e.Message)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("Events (-want +got):\n%s", diff)
	}
}

func (c *controlledCluster) listEvents() []corev1.Event {
	c.t.Helper()
	list, err := c.client.CoreV1().Events("shop").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return a.FirstTimestamp.Compare(b.FirstTimestamp.Time) })
	return list.Items
}

const (
	failed    = "MetricFailed: request_per_second has no value: " + refused + "; the autoscaler keeps its 3 replicas until it has one"
	recovered = "MetricRecovered: request_per_second has a value again, after 30s"
)

// TestFailureAndRecovery: a lost value and its return are one Event each, with the cause, the effect and the time.
func TestFailureAndRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		for _, cause := range []string{"", "", refused, refused, "", ""} {
			c.look(0, "web", cause)
		}
		c.checkEvents(failed, recovered)
		e := c.listEvents()[0]
		want := corev1.ObjectReference{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler", Namespace: "shop", Name: "web", UID: "web"}
		if e.InvolvedObject != want || e.Type != corev1.EventTypeWarning || e.Source.Component != "tachometer-adapter" || e.Source.Host != "adapter-0" {
			t.Errorf("Event %+v", e)
		}
	})
}

// TestNothingLost: an autoscaler whose metric never had a value loses none, and neither does one whose status shows no metrics.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		c.look(0, "web") // new: no status
		c.look(0, "web", "3 pods: 3 warming up")
		c.look(0, "web", refused)
		c.look(0, "web", "")
		c.look(0, "web") // scaled to zero: the controller reads nothing
		c.look(0, "web", "")
		c.checkEvents()
	})
}

// TestReplicas: replicas write the Event of a change once, whichever of them answered.
func TestReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 2)
		c.look(0, "web", "")
		key := types.NamespacedName{Namespace: "shop", Name: "web"}
		c.records[0].add(key, explainapi.Read{Time: time.Now(), Error: refused}) // so both write
		c.lookNow(1, "web", refused)
		c.look(0, "web", refused)
		c.look(1, "web", "")
		c.checkEvents(failed, recovered)
		c.look(1, "web", refused)
		c.look(1, "web", "")
		if n := len(c.listEvents()); n != 4 {
			t.Errorf("%d Events after two failures, want 4", n)
		}
		if by := c.listEvents()[3].Source.Host; by != "adapter-1" {
			t.Errorf("%s wrote the Event of reads that adapter-1 answered", by)
		}
	})
}

// TestAnotherAdapter: a metric that this adapter is not asked for is not its business.
func TestAnotherAdapter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		for _, cause := range []string{"", refused, ""} {
			c.look(-1, "web", cause)
		}
		c.checkEvents()
	})
}

// TestOneOfTwoMetrics: while one of two metrics fails, the autoscaler scales up alone.
func TestOneOfTwoMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		c.names = []string{"request_per_second", "jobs_waiting"}
		c.look(0, "web", "", "")
		c.look(0, "web", "", refused)
		c.look(0, "web", "", "")
		c.look(0, "web", refused, refused)
		c.checkEvents(
			"MetricFailed: jobs_waiting has no value: "+refused+"; the autoscaler does not scale down until it has one",
			"MetricRecovered: jobs_waiting has a value again, after 15s",
			"MetricFailed: request_per_second, jobs_waiting have no values: "+refused+"; the autoscaler keeps its 3 replicas until all have one",
		)
	})
}

// TestMetricIsReplaced: a metric that failed and was taken out of the spec has no value again.
func TestMetricIsReplaced(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before, after []string
		want          string
	}{
		"the only one":  {[]string{"typo_per_second"}, []string{"request_per_second"}, "MetricRecovered: all metrics have values, after 15s; no longer in the spec: typo_per_second"},
		"one of two":    {[]string{"typo_per_second", "jobs"}, []string{"jobs"}, "MetricRecovered: jobs has a value again, after 15s; no longer in the spec: typo_per_second"},
		"another order": {[]string{"jobs", "request_per_second"}, []string{"request_per_second", "jobs"}, "MetricRecovered: jobs, request_per_second have values again, after 15s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newControlledCluster(t, 1)
				c.names = tc.before
				c.look(0, "web", make([]string, len(tc.before))...)
				c.look(0, "web", slices.Repeat([]string{refused}, len(tc.before))...)
				c.names = tc.after
				c.look(0, "web", make([]string, len(tc.after))...)
				events := c.listEvents()
				if len(events) != 2 || events[1].Reason+": "+events[1].Message != tc.want {
					t.Errorf("Events %v, want a failure and %q", events, tc.want)
				}
			})
		})
	}
}

// TestFlapping: a metric that fails at every other look is told a few times, and the last Event says how it ended.
func TestFlapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		for range 120 { // an hour
			c.look(0, "web", "")
			c.look(0, "web", refused)
		}
		if n := len(c.listEvents()); n < 10 || n > 2*(failureBurst+6) {
			t.Errorf("%d Events in an hour, want a failure and a recovery each ten minutes and %d at first", n, failureBurst)
		}
		passFakeTime(failureInterval + retryInterval)
		events := c.listEvents()
		if last := events[len(events)-1]; last.Reason != "MetricFailed" {
			t.Errorf("the metric fails, and the last Event is %s", last.Reason)
		}
	})
}

// TestMassFailure: a thousand autoscalers that fail at once are told at the bounded rate, each in the end.
func TestMassFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const autoscalers = 1000
		c := newControlledCluster(t, 1)
		// The fake cluster is slow for many objects: it only counts.
		var writes atomic.Int64
		c.client.PrependReactor("create", "events", func(kubetesting.Action) (bool, runtime.Object, error) {
			writes.Add(1)
			return true, &corev1.Event{}, nil
		})
		for _, cause := range []string{"", refused} {
			for i := range autoscalers {
				c.lookNow(0, fmt.Sprint("web-", i), cause)
			}
		}
		passFakeTime(10 * time.Second)
		if n := writes.Load(); n > writeBurst+10*writesPerSecond+1 {
			t.Errorf("%d Events in 10 s", n)
		}
		passFakeTime(autoscalers/writesPerSecond*time.Second + retryInterval)
		if n := writes.Load(); n != autoscalers {
			t.Errorf("%d Events for %d autoscalers", n, autoscalers)
		}
	})
}

// TestFailedWrite: a write that fails is tried again, three times in all, and a change back meanwhile leaves nothing to tell.
func TestFailedWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		var writes, failures atomic.Int64
		failures.Store(2)
		c.client.PrependReactor("create", "events", func(kubetesting.Action) (bool, runtime.Object, error) {
			writes.Add(1)
			return failures.Add(-1) >= 0, nil, errors.New("no leader")
		})
		c.look(0, "web", "")
		c.look(0, "web", refused)
		passFakeTime(5 * retryInterval)
		c.checkEvents(failed)
		if n := writes.Load(); n != 3 {
			t.Errorf("%d writes, want 3", n)
		}
		failures.Store(1000)
		c.look(0, "web", "")
		passFakeTime(5 * retryInterval)
		if n := writes.Load(); n != 3+writeAttempts {
			t.Errorf("%d writes of a recovery, want %d", n-3, writeAttempts)
		}
		failures.Store(0)
		c.look(0, "web", refused)
		if n := len(c.listEvents()); n != 2 {
			t.Errorf("%d Events after a recovery that could not be told and a failure, want 2", n)
		}
	})
}

// TestForgotten: a deleted autoscaler leaves nothing behind, and one of the same name is new.
func TestForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		c.look(0, "web", "")
		c.reporters[0].ForgetAutoscaler("shop", "web")
		c.look(0, "web", refused)
		c.look(0, "api", "")
		c.reporters[0].RetainAutoscalers(func(_, name string) bool { return name == "web" })
		c.look(0, "api", refused)
		c.checkEvents()
		c.reporters[0].RetainAutoscalers(func(string, string) bool { return false })
		if n := len(c.reporters[0].states); n != 0 {
			t.Errorf("%d autoscalers are left", n)
		}
	})
}

// TestLongTexts: names and messages stay within the API's bounds.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlledCluster(t, 1)
		name := strings.Repeat("a", 253)
		c.look(0, name, "")
		c.look(0, name, strings.Repeat("é", 2000))
		events := c.listEvents()
		if len(events) != 1 || len(events[0].Name) > 253 || len(events[0].Message) > 1024 || !strings.HasSuffix(events[0].Message, "…") {
			t.Errorf("Events %+v", events)
		}
	})
}
