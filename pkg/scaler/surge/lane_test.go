package surge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// fakeWorld is a namespace with an autoscaler and its workload. Holds take effect at once, as the rollout makes them.
type fakeWorld struct {
	mu      sync.Mutex // guards all below
	sim     *laneSim
	rival   *autoscalingv2.HorizontalPodAutoscaler // a second autoscaler; nil: none
	stepAt  time.Time                              // from 40 to 400 requests/s
	broken  bool                                   // the metrics API fails
	revert  bool                                   // another client undoes each hold
	deny    bool                                   // no hold can be placed
	denied  int
	raises  []hold.Hold
	raiseAt []time.Time
	events  []string
	reads   int
}

func (w *fakeWorld) ListAutoscalers(context.Context, string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []*autoscalingv2.HorizontalPodAutoscaler{w.sim.observed.Autoscaler.DeepCopy()}
	if w.rival != nil {
		all = append(all, w.rival)
	}
	return all, nil
}

func (w *fakeWorld) GetScale(context.Context, hold.Workload) (*rollout.Scale, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &rollout.Scale{Replicas: w.sim.observed.Replicas, Selector: "app=web"}, nil
}

func (w *fakeWorld) ListPods(context.Context, string, string) (all []corev1.Pod, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.sim.observed.Pods {
		all = append(all, *p)
	}
	return all, nil
}

func (w *fakeWorld) ListHolds(context.Context, string) ([]hold.Object, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.sim.observed.Holds), func(h hold.Object) bool { return h.IsOver(time.Now()) }), nil
}

func (w *fakeWorld) ReadMetrics(context.Context, *autoscalingv2.HorizontalPodAutoscaler, string, string) []Reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	w.sim.observed.Now = time.Now()
	switch since := time.Since(w.stepAt); {
	case w.broken:
		return []Reading{{Answer: hpa.Answer{Err: errors.New("503: every value is stale")}}}
	case since < 0:
		return []Reading{w.sim.readTotal(40, time.Minute)}
	default:
		return []Reading{w.sim.readTotal(400, min(time.Minute, max(4*time.Second, since.Truncate(time.Second))))}
	}
}

func (w *fakeWorld) Raise(_ context.Context, t hold.Workload, h hold.Hold) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := h.Validate(); err != nil {
		return err
	}
	if w.deny {
		w.denied++
		return errors.New("forbidden")
	}
	w.raises, w.raiseAt = append(w.raises, h), append(w.raiseAt, time.Now())
	o := hold.NewObject(t, h, "")
	o.CreationTimestamp, o.Status.State = metav1.Now(), hold.Open
	if w.revert {
		o.Status.State, o.Status.Yielded = hold.RolledBack, []string{"minReplicas"}
	} else {
		w.sim.setPods(int(h.Replicas))
	}
	w.sim.observed.Holds = []hold.Object{*o}
	return nil
}

func (w *fakeWorld) WriteEvent(_ context.Context, e *corev1.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e.Reason)
	return nil
}

// playLane runs the lane on a world for a time, in virtual time. The step comes after two minutes.
func playLane(t *testing.T, mode Mode, length time.Duration, during func(w *fakeWorld, stop context.CancelFunc)) *fakeWorld {
	t.Helper()
	w := &fakeWorld{sim: newLaneSim()}
	synctest.Test(t, func(t *testing.T) {
		w.stepAt = time.Now().Add(2*time.Minute + 300*time.Millisecond)
		w.sim.observed.Autoscaler.Annotations = map[string]string{Annotation: "maxReplicas=30"}
		lane := New(Options{Config: Config{Mode: mode}, Namespaces: []string{"shop"}, Reader: w, Readings: w, Raiser: w, Events: w})
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		if during != nil {
			go during(w, cancel)
		}
		if err := lane.Run(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
	return w
}

// cachedWorld lists its autoscaler as a cache does: without a copy.
type cachedWorld struct{ *fakeWorld }

func (w cachedWorld) ListAutoscalers(context.Context, string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	return []*autoscalingv2.HorizontalPodAutoscaler{w.sim.observed.Autoscaler}, nil
}

// TestLaneCopiesAutoscalers: the lane prints the metrics of its autoscalers, which writes to them, so it has copies of those in the cache.
func TestLaneCopiesAutoscalers(t *testing.T) {
	t.Parallel()
	w := cachedWorld{&fakeWorld{sim: newLaneSim()}}
	cached := w.sim.observed.Autoscaler
	cached.Annotations = map[string]string{Annotation: "maxReplicas=30"}
	lane := New(Options{Config: Config{Mode: ModeAct}, Namespaces: []string{"shop"}, Reader: w, Readings: w, Raiser: w, Events: w})
	lane.memories = map[types.UID]*Memory{}
	looks := lane.orderLaneLooks(lane.listLaneMembers(t.Context()))
	if len(looks) != 1 || looks[0].autoscaler == cached {
		t.Errorf("%d looks, want one at a copy of the autoscaler", len(looks))
	}
}

// crowdedWorld has many autoscalers in the namespace crowd, whose metrics come never, and one in each other namespace.
type crowdedWorld struct {
	*fakeWorld
	crowd int
	looks map[string]map[string]int // by namespace and autoscaler; guarded by fakeWorld.mu
}

func (w *crowdedWorld) ListAutoscalers(_ context.Context, namespace string) (all []*autoscalingv2.HorizontalPodAutoscaler, err error) {
	count := 1
	if namespace == "crowd" {
		count = w.crowd
	}
	for i := range count {
		a := w.sim.observed.Autoscaler.DeepCopy()
		a.Namespace, a.Name = namespace, fmt.Sprint("web-", i)
		a.UID, a.Spec.ScaleTargetRef.Name = types.UID(namespace+a.Name), a.Name
		a.Annotations = map[string]string{Annotation: ""}
		all = append(all, a)
	}
	return all, nil
}

func (w *crowdedWorld) ReadMetrics(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, selector, otherThan string) []Reading {
	w.mu.Lock()
	if w.looks[a.Namespace] == nil {
		w.looks[a.Namespace] = map[string]int{}
	}
	w.looks[a.Namespace][a.Name]++
	w.mu.Unlock()
	if a.Namespace == "crowd" {
		<-ctx.Done()
		return []Reading{{Answer: hpa.Answer{Err: ctx.Err()}}}
	}
	return w.fakeWorld.ReadMetrics(ctx, a, selector, otherThan)
}

// TestCrowdDelaysNobody: a hundred autoscalers of a namespace, whose metrics never come, leave the lane in time for those of other namespaces. All
// of them get their turn.
func TestCrowdDelaysNobody(t *testing.T) {
	t.Parallel()
	w := &crowdedWorld{&fakeWorld{sim: newLaneSim()}, 100, map[string]map[string]int{}}
	namespaces := []string{"crowd"}
	for i := range 20 {
		namespaces = append(namespaces, fmt.Sprint("shop-", i))
	}
	const seconds = 120
	synctest.Test(t, func(t *testing.T) {
		w.stepAt = time.Now().Add(time.Hour)
		lane := New(Options{Config: Config{Mode: ModeObserve}, Namespaces: namespaces, Reader: w, Readings: w, Raiser: w, Events: w})
		ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
		defer cancel()
		if err := lane.Run(ctx); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
	for _, namespace := range namespaces[1:] {
		if got := w.looks[namespace]["web-0"]; got < seconds/3 {
			t.Errorf("%d looks at the autoscaler of %s in %d seconds; want one each two seconds", got, namespace, seconds)
		}
	}
	if got := len(w.looks["crowd"]); got != w.crowd {
		t.Errorf("looks at %d of the %d autoscalers of the crowd", got, w.crowd)
	}
}

// waitVirtually waits in the time of the bubble.
func waitVirtually(d time.Duration) { <-time.After(d) }

// TestLaneActs: the lane raises within four seconds of the step, once, and never above the annotation.
func TestLaneActs(t *testing.T) {
	t.Parallel()
	w := playLane(t, ModeAct, 4*time.Minute, nil)
	if len(w.raises) == 0 {
		t.Fatalf("no raise; events %v", w.events)
	}
	first := w.raises[0]
	if after := w.raiseAt[0].Sub(w.stepAt); first.Replicas != 20 || first.MinReplicas != 20 || first.ID != HoldID || after < 0 || after > 4*time.Second {
		t.Errorf("%+v after %s", first, after)
	}
	if got := first.Until.Sub(w.raiseAt[0]); got != holdFor {
		t.Errorf("the hold lasts %s, want %s", got, holdFor)
	}
	if !slices.Equal(w.events, []string{ReasonRaised}) {
		t.Errorf("events %v", w.events)
	}
	if w.reads > 260 {
		t.Errorf("%d reads in four minutes, want one a second and two in the first period of the raise", w.reads)
	}
}

// TestLaneObserves: without act there is no hold, and the raise is told.
func TestLaneObserves(t *testing.T) {
	t.Parallel()
	w := playLane(t, "", 3*time.Minute, func(w *fakeWorld, _ context.CancelFunc) {
		waitVirtually(2*time.Minute + 20*time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sim.setPods(20) // the autoscaler's own step
	})
	if len(w.raises) > 0 || !slices.Equal(w.events, []string{ReasonObserved, ReasonFollowed}) {
		t.Errorf("%d holds, events %v", len(w.raises), w.events)
	}
}

// TestLaneOff: a lane that is off reads nothing.
func TestLaneOff(t *testing.T) {
	t.Parallel()
	if w := playLane(t, ModeOff, 3*time.Minute, nil); w.reads > 0 || len(w.raises) > 0 {
		t.Errorf("%d reads, %d raises", w.reads, len(w.raises))
	}
}

// TestLaneUnderOutage: without answers there is no raise, and none for a minute after them.
func TestLaneUnderOutage(t *testing.T) {
	t.Parallel()
	back := 2*time.Minute + 30*time.Second
	w := playLane(t, ModeAct, back+50*time.Second, func(w *fakeWorld, _ context.CancelFunc) {
		waitVirtually(100 * time.Second)
		w.mu.Lock()
		w.broken = true
		w.mu.Unlock()
		waitVirtually(back - 100*time.Second)
		w.mu.Lock()
		w.broken = false
		w.mu.Unlock()
	})
	if len(w.raises) > 0 {
		t.Errorf("raises at %v", w.raiseAt)
	}
}

// TestLaneIsReverted: a client that undoes the hold wins, and the lane stays off.
func TestLaneIsReverted(t *testing.T) {
	t.Parallel()
	w := playLane(t, ModeAct, 10*time.Minute, func(w *fakeWorld, _ context.CancelFunc) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.revert = true
	})
	if len(w.raises) != 1 || !slices.Equal(w.events, []string{ReasonRaised, ReasonStopped}) {
		t.Errorf("%d holds, events %v", len(w.raises), w.events)
	}
}

// TestLaneTellsUnplacedHold: a hold that cannot be placed is tried at each look, and logged once a minute.
func TestLaneTellsUnplacedHold(t *testing.T) {
	t.Parallel()
	lines := 0
	log := funcr.New(func(_, line string) {
		if strings.Contains(line, "cannot be placed") {
			lines++
		}
	}, funcr.Options{})
	w := &fakeWorld{sim: newLaneSim(), deny: true}
	synctest.Test(t, func(t *testing.T) {
		w.stepAt = time.Now().Add(2*time.Minute + 300*time.Millisecond)
		w.sim.observed.Autoscaler.Annotations = map[string]string{Annotation: "maxReplicas=30"}
		lane := New(Options{Config: Config{Mode: ModeAct}, Namespaces: []string{"shop"}, Reader: w, Readings: w, Raiser: w, Events: w})
		ctx, cancel := context.WithTimeout(klog.NewContext(t.Context(), log), 150*time.Second)
		defer cancel()
		_ = lane.Run(ctx)
	})
	if lines != 1 || w.denied < 10 {
		t.Errorf("%d lines about %d holds in half a minute", lines, w.denied)
	}
}

// TestLaneLooksTwiceAtZero: a workload that its autoscaler scaled to zero is looked at twice a second, because each look may wake it.
func TestLaneLooksTwiceAtZero(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		condition corev1.ConditionStatus
		atLeast   int
		atMost    int
	}{
		"its autoscaler's zero": {corev1.ConditionTrue, 140, 200}, // after a minute of good answers
		"a person's zero":       {corev1.ConditionFalse, 100, 121},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := playLane(t, ModeAct, 2*time.Minute, func(w *fakeWorld, _ context.CancelFunc) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.setAtZero()
				w.sim.observed.Autoscaler.Status.Conditions[0].Status = tc.condition
			})
			if w.reads < tc.atLeast || w.reads > tc.atMost {
				t.Errorf("%d reads in two minutes, want %d to %d", w.reads, tc.atLeast, tc.atMost)
			}
		})
	}
}

// TestLaneLeavesSharedWorkload: of two autoscalers on one workload the lane raises for neither, also if only one is in it.
func TestLaneLeavesSharedWorkload(t *testing.T) {
	t.Parallel()
	w := playLane(t, ModeAct, 4*time.Minute, func(w *fakeWorld, _ context.CancelFunc) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.rival = w.sim.observed.Autoscaler.DeepCopy()
		w.rival.Name, w.rival.UID, w.rival.Annotations = "other", "hpa-2", nil
	})
	if len(w.raises) > 0 {
		t.Errorf("raises at %v", w.raiseAt)
	}
}

// TestMisreadAnnotation: a faulty annotation is told once, and the autoscaler is out.
func TestMisreadAnnotation(t *testing.T) {
	t.Parallel()
	w := playLane(t, ModeAct, 3*time.Minute, func(w *fakeWorld, _ context.CancelFunc) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sim.observed.Autoscaler.Annotations[Annotation] = "maxreplicas=3"
	})
	if len(w.raises) > 0 || !slices.Equal(w.events, []string{ReasonMisread}) {
		t.Errorf("%d holds, events %v", len(w.raises), w.events)
	}
}

// TestMistypedAnnotation: an annotation of the scaler with another key opts nothing in, and is told; terms that can be read hold beside it.
func TestMistypedAnnotation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		annotations map[string]string
		members     int
		want        string
	}{
		"a typo":         {map[string]string{"scaler.tachometer.dev/surges": ""}, 0, "unknown annotation scaler.tachometer.dev/surges; write scaler.tachometer.dev/surge"},
		"another case":   {map[string]string{"scaler.tachometer.dev/Surge": "off"}, 0, "unknown annotation scaler.tachometer.dev/Surge; write scaler.tachometer.dev/surge"},
		"beside terms":   {map[string]string{Annotation: "", "scaler.tachometer.dev/budget": "3/h"}, 1, "unknown annotation scaler.tachometer.dev/budget; write scaler.tachometer.dev/surge"},
		"another domain": {map[string]string{"example.com/surge": ""}, 0, ""},
		"terms":          {map[string]string{Annotation: ""}, 1, ""},
	} {
		w := &fakeWorld{sim: newLaneSim()}
		w.sim.observed.Autoscaler.Annotations = tc.annotations
		l := New(Options{Namespaces: []string{"shop"}, Reader: w, Events: w})
		l.memories, l.misread = map[types.UID]*Memory{}, map[types.UID]string{}
		members := l.listLaneMembers(t.Context())
		if told := l.misread[w.sim.observed.Autoscaler.UID]; len(members) != tc.members || told != tc.want {
			t.Errorf("%s: %d members, want %d; told %q, want %q", name, len(members), tc.members, told, tc.want)
		}
	}
}

// TestMisreadAnnotationIsForgotten: the lane keeps nothing of a deleted autoscaler, and tells a fault that came back again.
func TestMisreadAnnotationIsForgotten(t *testing.T) {
	t.Parallel()
	w := &fakeWorld{sim: newLaneSim()}
	a := w.sim.observed.Autoscaler
	a.Annotations = map[string]string{Annotation: "maxreplicas=3"}
	w.rival = a.DeepCopy()
	w.rival.Name, w.rival.UID = "other", "hpa-2"
	l := New(Options{Namespaces: []string{"shop"}, Reader: w, Events: w})
	l.memories, l.misread = map[types.UID]*Memory{}, map[types.UID]string{}
	for range 2 {
		l.listLaneMembers(t.Context())
	}
	w.rival = nil
	l.listLaneMembers(t.Context())
	if len(l.misread) != 1 || l.misread[a.UID] == "" {
		t.Errorf("remembers %v; want only %s", l.misread, a.UID)
	}
	a.Annotations[Annotation] = ""
	if members := l.listLaneMembers(t.Context()); len(members) != 1 || len(l.misread) != 0 {
		t.Errorf("%d members, remembers %v", len(members), l.misread)
	}
	a.Annotations[Annotation] = "maxreplicas=3"
	if members := l.listLaneMembers(t.Context()); len(members) != 0 || len(w.events) != 3 {
		t.Errorf("%d members, Events %v; want one for each fault", len(members), w.events)
	}
}

// TestRetargetedAutoscaler: an autoscaler that is pointed at another workload begins anew. The hold that its former target keeps is not one
// that a person released.
func TestRetargetedAutoscaler(t *testing.T) {
	t.Parallel()
	w := playLane(t, ModeAct, 3*time.Minute, func(w *fakeWorld, _ context.CancelFunc) {
		time.Sleep(2*time.Minute + 15*time.Second) //nolint:forbidigo // in a bubble, where it takes no time
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sim.observed.Autoscaler.Spec.ScaleTargetRef.Name = "next"
	})
	if !slices.Contains(w.events, ReasonRaised) || slices.Contains(w.events, ReasonStopped) {
		t.Errorf("Events %v", w.events)
	}
}

// TestAPIReader: paths and answers of the metrics APIs.
func TestAPIReader(t *testing.T) {
	t.Parallel()
	const items = `"timestamp":"2026-11-28T12:00:00Z","windowSeconds":4,"value":"1500m"`
	answers := map[string]string{
		"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/request_per_second?labelSelector=app%3Dweb": `{"items":[{"describedObject":{"name":"web-0"},` + items + `}]}`,
		"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/queue?":                       `{"items":[{"describedObject":{"name":"web"},` + items + `}]}`,
		"/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/orders?labelSelector=queue%3Da":                  `{"items":[{` + items + `},{` + items + `}]}`,
		"/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/none?":                                           `{"items":[]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get(domain.OtherReplicaHeader) == "adapter-a" && strings.Contains(r.URL.Path, "custom.metrics") {
			rw.Header().Set(domain.ReplicaHeader, "adapter-b") // the external metrics are another adapter's, which names no replicas
		}
		text, found := answers[r.URL.Path+"?"+r.URL.RawQuery]
		if !found || !strings.Contains(r.Header.Get("Accept"), "application/json") {
			http.Error(rw, "no such metric "+r.URL.String(), http.StatusNotFound)
			return
		}
		_, _ = rw.Write([]byte(text))
	}))
	defer server.Close()
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	a := newLaneSim().observed.Autoscaler
	external := func(name string, s *metav1.LabelSelector) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name, Selector: s}}}
	}
	a.Spec.Metrics = append(a.Spec.Metrics,
		autoscalingv2.MetricSpec{Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			Metric:          autoscalingv2.MetricIdentifier{Name: "queue"},
		}},
		external("orders", &metav1.LabelSelector{MatchLabels: map[string]string{"queue": "a"}}), external("none", nil), external("unknown", nil),
		autoscalingv2.MetricSpec{Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}},
	)
	reader, err := NewLaneMetricReader(&rest.Config{Host: server.URL}, mapper)
	if err != nil {
		t.Fatal(err)
	}
	r := reader.ReadMetrics(t.Context(), a, "app=web", "adapter-a")
	if r[0].Replica != "adapter-b" || r[1].Replica != "adapter-b" || r[2].Replica != "" {
		t.Errorf("answered by %q, %q and %q", r[0].Replica, r[1].Replica, r[2].Replica)
	}
	if r[0].Err != nil || r[0].Pods["web-0"].Value != 1500 || r[0].Window != 4*time.Second || r[0].Newest.IsZero() {
		t.Errorf("pods: %+v", r[0])
	}
	if r[1].Err != nil || r[1].Object != 1500 || r[1].Window != 4*time.Second {
		t.Errorf("object: %+v", r[1])
	}
	if r[2].Err != nil || !slices.Equal(r[2].External, []int64{1500, 1500}) {
		t.Errorf("external: %+v", r[2])
	}
	if r[3].Err == nil || r[4].Err == nil || r[3].IsUnread || !r[5].IsUnread || r[5].Err == nil {
		t.Errorf("none %v, unknown %v, cpu %v", r[3].Err, r[4].Err, r[5].Err)
	}
}
