package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"tachometer/pkg/scaler/gate"
	"tachometer/pkg/scaler/hold"
	"tachometer/pkg/scaler/notify"
	"tachometer/pkg/scaler/rollout"
	"tachometer/pkg/scaler/verify"
)

// verdicts is a checker that says the same of all pods.
type verdicts struct{ passed bool }

func (v verdicts) Run(_ context.Context, _ verify.Spec, now, _ []corev1.Pod) (verify.Report, error) {
	if !v.passed {
		return verify.Report{}, fmt.Errorf("%d new pods are judged bad", len(now))
	}
	return verify.Report{Passed: true}, nil
}

// heard keeps what a gate and a notifier were asked to do.
type heard struct {
	mu       sync.Mutex // guards the rest
	actions  []string
	outcomes []string
}

func (h *heard) Do(_ context.Context, _ string, actions []gate.Action) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range actions {
		h.actions = append(h.actions, a.Webhook)
	}
	return nil
}

func (h *heard) Post(_ []string, m notify.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outcomes = append(h.outcomes, m.Outcome)
	return nil
}

// count is how often a gate was asked for an action.
func (h *heard) count(action string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Count(strings.Join(h.actions, " ")+" ", action+" ")
}

// newEngine is an engine of a process of its own, whose requests go through wrap; nil: as they are.
func newEngine(t *testing.T, h *heard, passed bool, wrap func(http.RoundTripper) http.RoundTripper) *rollout.Engine {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 200, 400
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	wrapped := rest.CopyConfig(config)
	wrapped.WrapTransport = wrap
	typed, err := kubernetes.NewForConfig(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return rollout.New(rollout.Options{
		Client: typed, Dynamic: objects, Mapper: mapper, Checker: verdicts{passed}, Gate: h, Notifier: h, Identity: t.Name(),
	})
}

// newTarget is a Deployment of two pods, with an autoscaler for 2 to 30 if wanted. The autoscaler reads nothing that is there,
// so that nobody but the scaler scales.
func newTarget(t *testing.T, namespace string, autoscaled bool) hold.Target {
	t.Helper()
	labels := map[string]string{"app": "shop"}
	meta := metav1.ObjectMeta{Name: "shop", Namespace: namespace}
	_, err := client.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if autoscaled {
		newAutoscaler(t, namespace)
	}
	newKubelet(t, namespace)
	target := hold.Target{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: "shop"}
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, "shop", metav1.GetOptions{})
		if err == nil && d.Status.ReadyReplicas != 2 {
			err = fmt.Errorf("%d pods are ready", d.Status.ReadyReplicas)
		}
		return err
	})
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) //nolint:forbidigo // pods are told apart by the second they were made in
	return target
}

func newAutoscaler(t *testing.T, namespace string) {
	t.Helper()
	_, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: namespace},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop"},
			MinReplicas:    new(int32(2)), MaxReplicas: 30,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ExternalMetricSourceType,
				External: &autoscalingv2.ExternalMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: "nobody_knows_this"},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: resource.NewQuantity(1, resource.DecimalSI)},
				},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// world is what stands in a namespace that a scaler could have changed.
type world struct {
	Replicas, Min, Max  int32
	Labels, Annotations string
}

// look reads it; the limits are 0 without autoscaler.
func look(ctx context.Context, namespace string) (world, error) {
	d, err := client.AppsV1().Deployments(namespace).Get(ctx, "shop", metav1.GetOptions{})
	if err != nil {
		return world{}, err
	}
	notes := map[string]string{}
	ours := func(from map[string]string) {
		for k, v := range from {
			if strings.HasPrefix(k, "scaler.tachometer") {
				notes[k] = v
			}
		}
	}
	ours(d.Annotations)
	ours(d.Labels)
	w := world{Replicas: *d.Spec.Replicas}
	list, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return w, err
	}
	for i := range list.Items {
		w.Min, w.Max = *list.Items[i].Spec.MinReplicas, list.Items[i].Spec.MaxReplicas
		ours(list.Items[i].Annotations)
		ours(list.Items[i].Labels)
	}
	if len(notes) > 0 {
		w.Annotations = fmt.Sprint(notes)
	}
	return w, nil
}

func mustLook(t *testing.T, namespace string) world {
	t.Helper()
	w, err := look(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// sale is the hold of these tests: twenty pods, verified, with a gate.
func sale() hold.Hold {
	return hold.Hold{
		ID: "event/sale", By: "test", Replicas: 20, Within: 90 * time.Second, Verify: &verify.Spec{}, Notify: []string{"oncall"},
		OnSuccess: []gate.Action{{Webhook: "open"}}, OnRelease: []gate.Action{{Webhook: "shut"}},
	}
}

// unheld tells that nothing of the scaler's is left.
func unheld(r rollout.Result) bool { return !r.Held }

// settled tells that the hold waits for nothing but its end, or is there no more.
func settled(r rollout.Result) bool {
	h := r.Record.Find("event/sale")
	return h == nil || h.State.Settled() && !h.Undo
}

func drive(ctx context.Context, t *testing.T, e *rollout.Engine, target hold.Target, done func(rollout.Result) bool) rollout.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // kube-controller-manager asks no more than 20 times a second, for all tests together
	defer cancel()
	r, err := e.Drive(ctx, target, done, rollout.Follower{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRaiseAndRelease: with an autoscaler and without, up with one hold and another on top, and back to what was.
func TestRaiseAndRelease(t *testing.T) {
	need(t)
	t.Parallel()
	for name, autoscaled := range map[string]bool{"autoscaled": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			target := newTarget(t, namespace, autoscaled)
			before := mustLook(t, namespace)
			h := &heard{}
			e := newEngine(t, h, true, nil)
			put(t, e, target, sale())
			drive(t.Context(), t, e, target, settled)
			up := mustLook(t, namespace)
			if up.Replicas != 20 || autoscaled && up.Min != 20 || up.Max != before.Max || h.count("open") != 1 || h.count("shut") != 0 {
				t.Fatalf("held: %+v, gate %v", up, h.actions)
			}
			more := sale()
			more.ID, more.Replicas, more.OnSuccess, more.OnRelease = "set", 25, nil, nil
			put(t, e, target, more)
			drive(t.Context(), t, e, target, func(r rollout.Result) bool { return r.Record.Find("set").State == hold.Open })
			if top := mustLook(t, namespace); top.Replicas != 25 {
				t.Fatalf("two holds: %+v", top)
			}
			end(t, e, target, "set")
			drive(t.Context(), t, e, target, func(r rollout.Result) bool { return r.Record.Find("set") == nil })
			if left := mustLook(t, namespace); autoscaled && left.Min != 20 || !autoscaled && left.Replicas != 20 {
				t.Fatalf("the lower of two holds: %+v", left)
			}
			end(t, e, target, "event/sale")
			drive(t.Context(), t, e, target, unheld)
			if diff := cmp.Diff(before, mustLook(t, namespace)); diff != "" {
				t.Errorf("not what was there (-want +got):\n%s", diff)
			}
			if h.count("shut") != 1 {
				t.Errorf("gate %v", h.actions)
			}
		})
	}
}

func put(t *testing.T, e *rollout.Engine, target hold.Target, h hold.Hold) {
	t.Helper()
	if changed, err := e.Put(t.Context(), target, h, time.Now()); err != nil || !changed {
		t.Fatalf("put %s: changed %v, %v", h.ID, changed, err)
	}
}

func end(t *testing.T, e *rollout.Engine, target hold.Target, id string) {
	t.Helper()
	if ended, err := e.End(t.Context(), target, []string{id}, "the test says so", time.Now()); err != nil || len(ended) != 1 {
		t.Fatalf("end %s: %v, %v", id, ended, err)
	}
}

// errKilled is what a process sees of its own end: nothing that it does afterwards counts.
var errKilled = errors.New("killed")

// killer lets a number of writes through, and then nothing: the process is dead. after: the last write still reaches the server.
type killer struct {
	http.RoundTripper
	left  atomic.Int64
	after bool
	dead  atomic.Bool
	kill  context.CancelCauseFunc
}

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.dead.Load() {
		return nil, errKilled
	}
	if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/events") || k.left.Add(-1) >= 0 {
		return k.RoundTripper.RoundTrip(r)
	}
	k.dead.Store(true)
	if k.after {
		if answer, err := k.RoundTripper.RoundTrip(r); err == nil {
			answer.Body.Close()
		}
	}
	k.kill(errKilled)
	return nil, errKilled
}

// TestKilledAtEveryStep: a process is killed before, or right after, its n-th write, and another finishes what it began. The way up,
// the way back after bad pods, and the way down, each with an autoscaler and without.
func TestKilledAtEveryStep(t *testing.T) {
	need(t)
	t.Parallel()
	for _, autoscaled := range []bool{true, false} {
		for way, passed := range map[string]bool{"up": true, "rolled back": false} {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, autoscaled %v, after the write %v", way, autoscaled, after), func(t *testing.T) {
					t.Parallel()
					killedAtEach(t, autoscaled, passed, after)
				})
			}
		}
	}
}

// killedAtEach goes through the writes of one way, one killed process for each.
func killedAtEach(t *testing.T, autoscaled, passed, after bool) {
	t.Helper()
	namespace := newNamespace(t)
	target := newTarget(t, namespace, autoscaled)
	before := mustLook(t, namespace)
	const top = 5 // few pods: it is the steps that matter
	few := sale()
	few.Replicas = top
	for n, died := int64(0), true; died; n++ {
		h := &heard{}
		died = killed(t, target, few, h, passed, after, n)
		whole := newEngine(t, h, passed, nil)
		if _, err := whole.Put(t.Context(), target, few, time.Now()); err != nil { // the event comes again
			t.Fatal(err)
		}
		r := drive(t.Context(), t, whole, target, settled)
		now := mustLook(t, namespace)
		switch {
		case passed && (now.Replicas != top || autoscaled && now.Min != top || r.Record.Find("event/sale").State != hold.Open || h.count("open") == 0):
			t.Fatalf("killed at write %d, another came to %+v, gate %v, %+v", n, now, h.actions, r.Record)
		case !passed && (now.Replicas != 2 || h.count("open") != 0):
			t.Fatalf("killed at write %d, another left %+v, gate %v", n, now, h.actions)
		}
		if n > 30 {
			t.Fatal("more writes than there are steps")
		}
		killedReleasing(t, target, h, passed, after, n)
		drive(t.Context(), t, whole, target, unheld)
		if diff := cmp.Diff(before, mustLook(t, namespace)); diff != "" {
			t.Fatalf("killed at write %d, not what was there (-want +got):\n%s", n, diff)
		}
		fewer(t, namespace)
	}
}

// killed runs a process that dies at its n-th write; it tells whether it came to that.
func killed(t *testing.T, target hold.Target, few hold.Hold, h *heard, passed, after bool, n int64) bool {
	t.Helper()
	ctx, kill := context.WithCancelCause(t.Context())
	defer kill(nil)
	k := &killer{after: after, kill: kill}
	k.left.Store(n)
	e := newEngine(t, h, passed, func(next http.RoundTripper) http.RoundTripper { k.RoundTripper = next; return k })
	if _, err := e.Put(ctx, target, few, time.Now()); err == nil {
		_, err = e.Drive(ctx, target, settled, rollout.Follower{})
		if err != nil && !k.dead.Load() {
			t.Fatal(err)
		}
	}
	return k.dead.Load()
}

// killedReleasing is killed for the way down.
func killedReleasing(t *testing.T, target hold.Target, h *heard, passed, after bool, n int64) {
	t.Helper()
	ctx, kill := context.WithCancelCause(t.Context())
	defer kill(nil)
	k := &killer{after: after, kill: kill}
	k.left.Store(n)
	e := newEngine(t, h, passed, func(next http.RoundTripper) http.RoundTripper { k.RoundTripper = next; return k })
	if _, err := e.End(ctx, target, nil, "over", time.Now()); err == nil {
		_, _ = e.Drive(ctx, target, unheld, rollout.Follower{})
	}
	if k.dead.Load() { // the release is asked for again, as whoever asked for it would
		if _, err := newEngine(t, h, passed, nil).End(t.Context(), target, nil, "over", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

// fewer waits until the pods of the round before are gone, so that those of the next are the new ones.
func fewer(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) > 2 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
}

// TestPersons: what somebody changes while a target is held stays, then and after.
func TestPersons(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	target := newTarget(t, namespace, true)
	e := newEngine(t, &heard{}, true, nil)
	put(t, e, target, sale())
	drive(t.Context(), t, e, target, settled)
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if _, err := hpas.Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":{"minReplicas":7}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	drive(t.Context(), t, e, target, settled)
	if w := mustLook(t, namespace); w.Min != 7 {
		t.Errorf("held: %+v", w)
	}
	end(t, e, target, "event/sale")
	drive(t.Context(), t, e, target, unheld)
	if w := mustLook(t, namespace); w.Min != 7 || w.Annotations != "" {
		t.Errorf("released: %+v", w)
	}
	eventEventually(t, namespace, "Yielded", "autoscaler shop")
}

func eventEventually(t *testing.T, namespace, reason, text string) {
	t.Helper()
	eventually(t, 10*time.Second, func(ctx context.Context) error {
		list, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if strings.Contains(list.Items[i].Message, text) {
				return nil
			}
		}
		return fmt.Errorf("no Event %s with %q among %d", reason, text, len(list.Items))
	})
}

// TestQuota: pods that a quota refuses are a failure with its reason, and all is undone.
func TestQuota(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	target := newTarget(t, namespace, true)
	before := mustLook(t, namespace)
	_, err := client.CoreV1().ResourceQuotas(namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("5")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{}
	e := newEngine(t, h, true, nil)
	wanted := sale()
	wanted.Within = 25 * time.Second // long enough for the Deployment to say why
	put(t, e, target, wanted)
	r := drive(t.Context(), t, e, target, unheld)
	if len(r.Ended) != 1 || !strings.Contains(r.Ended[0].Why, "not created") || !strings.Contains(r.Ended[0].Why, "quota") {
		t.Errorf("ended: %+v", r.Ended)
	}
	if diff := cmp.Diff(before, mustLook(t, namespace)); diff != "" {
		t.Errorf("not what was there (-want +got):\n%s", diff)
	}
	if h.count("open") != 0 || len(h.outcomes) != 1 || !strings.Contains(h.outcomes[0], "rolled back") {
		t.Errorf("gate %v, told %v", h.actions, h.outcomes)
	}
}

// TestTooMany: what the autoscaler does not allow is refused before anything is changed, and allowed with a ceiling.
func TestTooMany(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	target := newTarget(t, namespace, true)
	before := mustLook(t, namespace)
	e := newEngine(t, &heard{}, true, nil)
	wanted := sale()
	wanted.Replicas = 31
	put(t, e, target, wanted)
	r := drive(t.Context(), t, e, target, unheld)
	if len(r.Ended) != 1 || !strings.Contains(r.Ended[0].Why, "at most 30 replicas") {
		t.Errorf("ended: %+v", r.Ended)
	}
	if diff := cmp.Diff(before, mustLook(t, namespace)); diff != "" {
		t.Errorf("not what was there (-want +got):\n%s", diff)
	}
	wanted.Ceiling = 40
	put(t, e, target, wanted)
	drive(t.Context(), t, e, target, settled)
	if w := mustLook(t, namespace); w.Replicas != 31 || w.Min != 31 || w.Max != 40 {
		t.Errorf("with a ceiling: %+v", w)
	}
	end(t, e, target, "event/sale")
	drive(t.Context(), t, e, target, unheld)
	if diff := cmp.Diff(before, mustLook(t, namespace)); diff != "" {
		t.Errorf("not what was there (-want +got):\n%s", diff)
	}
}

// TestAutoscalerComesAndGoes: an autoscaler that is deleted in the middle, one that is made in the middle, and a target that is.
func TestAutoscalerComesAndGoes(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	target := newTarget(t, namespace, true)
	e := newEngine(t, &heard{}, true, nil)
	put(t, e, target, sale())
	drive(t.Context(), t, e, target, settled)
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if err := hpas.Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	drive(t.Context(), t, e, target, settled)
	if w := mustLook(t, namespace); w.Replicas != 20 {
		t.Errorf("without autoscaler: %+v", w)
	}
	newAutoscaler(t, namespace)
	drive(t.Context(), t, e, target, func(r rollout.Result) bool { return r.Limits.Min == 20 })
	if err := client.AppsV1().Deployments(namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := drive(t.Context(), t, e, target, unheld); !r.Gone || r.Limits != (hold.Limits{Min: 2, Max: 30}) {
		t.Errorf("without target: %+v", r)
	}
}

// TestConflicts: two scalers and somebody who writes all the time come to one end.
func TestConflicts(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	target := newTarget(t, namespace, true)
	before := mustLook(t, namespace)
	ctx, calm := context.WithCancel(t.Context())
	var storm sync.WaitGroup
	storm.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			// A label: the Deployment controller copies annotations to the ReplicaSet, over and over, before it makes a pod.
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{"weather":"%d"}}}`, i)
			_, _ = client.AppsV1().Deployments(namespace).Patch(ctx, "shop", types.MergePatchType, patch, metav1.PatchOptions{})
			_, _ = client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(ctx, "shop", types.MergePatchType, patch, metav1.PatchOptions{})
		}
	})
	h := &heard{}
	put(t, newEngine(t, h, true, nil), target, sale())
	var both sync.WaitGroup
	for range 2 {
		e := newEngine(t, h, true, nil)
		both.Go(func() {
			if _, err := e.Drive(ctx, target, settled, rollout.Follower{}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if w := mustLook(t, namespace); w.Replicas != 20 || w.Min != 20 {
		t.Errorf("held: %+v", w)
	}
	e := newEngine(t, h, true, nil)
	end(t, e, target, "event/sale")
	drive(ctx, t, e, target, unheld)
	calm()
	storm.Wait()
	if diff := cmp.Diff(before, mustLook(t, namespace)); diff != "" {
		t.Errorf("not what was there (-want +got):\n%s", diff)
	}
}

// TestUnreadableRecord: somebody's edit of the annotation is named, and nothing is overwritten.
func TestUnreadableRecord(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	target := newTarget(t, namespace, false)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"mine"}}}`, hold.HoldsAnnotation)
	if _, err := client.AppsV1().Deployments(namespace).Patch(t.Context(), "shop", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := newEngine(t, &heard{}, true, nil).Put(t.Context(), target, sale(), time.Now())
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte(hold.HoldsAnnotation)) {
		t.Errorf("error: %v", err)
	}
}
