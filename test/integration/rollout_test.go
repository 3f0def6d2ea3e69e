package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// verdicts is a checker with the same verdict for all pods.
type verdicts struct{ passed bool }

func (v verdicts) Run(_ context.Context, _ verify.Spec, now, _ []corev1.Pod) (verify.Report, error) {
	r := verify.Report{Passed: v.passed, Verdicts: []verify.Verdict{{What: "p99", Got: "312ms", Limit: "at most 200ms", Passed: v.passed}}}
	for i := range now {
		r.Pods = append(r.Pods, verify.PodReport{Name: now[i].Name, Readiness: "ok"})
	}
	return r, nil
}

// heard records the calls of a gate and a notifier.
type heard struct {
	mu      sync.Mutex // guards the fields below
	actions []string
	told    []notify.Message
}

// Fault implements rollout.Gates.
func (h *heard) Fault(string, string) string { return "" }

// ShutFault implements rollout.Gates.
func (h *heard) ShutFault(string, string, string, []action.Change) string { return "" }

// Plan implements rollout.Gates.
func (h *heard) Plan(string) action.Plan { return action.Plan{} }

// Record implements rollout.Gates.
func (h *heard) Record(context.Context, string, string) ([]action.Change, error) { return nil, nil }

// Open implements rollout.Gates.
func (h *heard) Open(context.Context, string, string, int, []action.Change) error {
	return h.hear("open")
}

// Shut implements rollout.Gates.
func (h *heard) Shut(context.Context, string, string, []action.Change) error { return h.hear("shut") }

func (h *heard) hear(action string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.actions = append(h.actions, action)
	return nil
}

func (h *heard) Post(_ []string, m notify.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, m)
	return nil
}

// Delivery implements rollout.Notifier: what was posted is delivered.
func (h *heard) Delivery(_, key string) notify.Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := slices.ContainsFunc(h.told, func(m notify.Message) bool { return m.Key == key })
	return notify.Delivery{Posted: told, Done: told}
}

// Withdraw implements rollout.Notifier.
func (h *heard) Withdraw(context.Context) {}

// count returns the number of calls for an action.
func (h *heard) count(action string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Count(strings.Join(h.actions, " ")+" ", action+" ")
}

// tells compares the first message after the start with the expected outcome, verdict and number of new pods.
func (h *heard) tells(t *testing.T, outcome, why string, pods int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	first := slices.IndexFunc(h.told, func(m notify.Message) bool { return m.Kind != notify.KindStarted })
	if first < 0 {
		t.Fatal("told nothing")
	}
	m, reported := h.told[first], 0
	if m.Report != nil {
		reported = len(m.Report.Pods)
	}
	if !strings.Contains(m.Outcome, outcome) || !strings.Contains(m.Why, why) || reported != pods {
		t.Errorf("told %q, %q, with %d pods; want %q, %q, %d", m.Outcome, m.Why, reported, outcome, why, pods)
	}
}

// forget forgets all messages.
func (h *heard) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = nil
}

// workloadEngine is the engine of a process, with which a test holds one workload.
type workloadEngine struct {
	*rollout.Engine
	t        *testing.T
	workload hold.Workload
}

// newEngine returns the engine of a new process, whose verifications pass.
func newEngine(t *testing.T, workload hold.Workload, h *heard) workloadEngine {
	t.Helper()
	return newEngineWith(t, workload, h, true, nil)
}

// newEngineAs returns the engine of a new process with the rights of a kubeconfig.
func newEngineAs(t *testing.T, workload hold.Workload, h *heard, kubeconfig string) workloadEngine {
	t.Helper()
	return newEngineOf(t, workload, h, kubeconfig, true, nil)
}

// newEngineWith returns the engine of a new process, whose verifications pass or not, and whose requests go through wrap; nil: unchanged.
func newEngineWith(t *testing.T, workload hold.Workload, h *heard, passed bool, wrap func(http.RoundTripper) http.RoundTripper) workloadEngine {
	t.Helper()
	return newEngineOf(t, workload, h, shared.Kubeconfig(), passed, wrap)
}

func newEngineOf(t *testing.T, workload hold.Workload, h *heard, kubeconfig string, passed bool, wrap func(http.RoundTripper) http.RoundTripper) workloadEngine {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 200, 400
	mapper := kube.NewLazyRESTMapper(client.Discovery())
	wrapped := rest.CopyConfig(config)
	wrapped.WrapTransport = wrap
	typed, err := kube.NewClient(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	holds, err := hold.NewClient(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	e := rollout.New(rollout.Options{
		Cluster: &rollout.LiveCluster{Client: typed, Dynamic: objects, Mapper: mapper, Holds: holds},
		Checker: verdicts{passed}, Gates: h, Notifier: h, Identity: t.Name(),
	})
	return workloadEngine{e, t, workload}
}

// newWorkload creates a Deployment of two pods, with an autoscaler for 2 to 30 if autoscaled. The autoscaler's metric does not exist,
// so that only the scaler scales.
func newWorkload(t *testing.T, namespace string, autoscaled bool) hold.Workload {
	t.Helper()
	newDeployment(t, namespace, "shop", 2, podSpec())
	if autoscaled {
		newAutoscaler(t, namespace)
	}
	newKubelet(t, namespace)
	workload := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: "shop"}
	eventually(t, 2*time.Minute, func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, "shop", metav1.GetOptions{})
		if err == nil && d.Status.ReadyReplicas != 2 {
			err = fmt.Errorf("%d pods are ready", d.Status.ReadyReplicas)
		}
		return err
	})
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) //nolint:forbidigo // pods are told apart by the second they were made in
	return workload
}

func newAutoscaler(t *testing.T, namespace string) {
	t.Helper()
	createAutoscaler(t, namespace, "shop", autoscalingv2.HorizontalPodAutoscalerSpec{
		MinReplicas: new(int32(2)), MaxReplicas: 30,
		Metrics: []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ExternalMetricSourceType,
			External: &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "nobody_knows_this"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: resource.NewQuantity(1, resource.DecimalSI)},
			},
		}},
	})
}

// world is the state of a namespace that a scaler may change.
type world struct {
	Replicas, MinReplicas, MaxReplicas int32
	Owned                              bool // the scaler is a field manager of one of them
}

// readWorld reads the state; the limits are 0 without an autoscaler.
func readWorld(ctx context.Context, namespace string) (world, error) {
	d, err := client.AppsV1().Deployments(namespace).Get(ctx, "shop", metav1.GetOptions{})
	if err != nil {
		return world{}, err
	}
	w := world{Replicas: *d.Spec.Replicas}
	ours := func(m metav1.ManagedFieldsEntry) bool { return m.Manager == hold.Manager }
	w.Owned = slices.ContainsFunc(d.ManagedFields, ours)
	list, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return w, err
	}
	for i := range list.Items {
		w.MinReplicas, w.MaxReplicas = *list.Items[i].Spec.MinReplicas, list.Items[i].Spec.MaxReplicas
		w.Owned = w.Owned || slices.ContainsFunc(list.Items[i].ManagedFields, ours)
	}
	return w, nil
}

func mustReadWorld(t *testing.T, namespace string) world {
	t.Helper()
	w, err := readWorld(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// wantWorld fails t if the state of a namespace differs from before.
func wantWorld(t *testing.T, namespace string, before world) {
	t.Helper()
	if diff := cmp.Diff(before, mustReadWorld(t, namespace)); diff != "" {
		t.Errorf("not what was there (-want +got):\n%s", diff)
	}
}

// awaitWorld waits until the state of a namespace is as it was before.
func awaitWorld(t *testing.T, namespace string, before world) {
	t.Helper()
	eventually(t, time.Minute, func(ctx context.Context) error {
		now, err := readWorld(ctx, namespace)
		if diff := cmp.Diff(before, now); err == nil && diff != "" {
			err = errors.New("not what was there (-want +got):\n" + diff)
		}
		return err
	})
}

// sale returns the hold of these tests: twenty pods, verified, with a gate.
func sale() hold.Hold {
	return hold.Hold{
		ID: "event/sale", By: "test", Replicas: 20, Within: 90 * time.Second, Verify: &verify.Spec{}, Notify: []string{"oncall"},
		Gates: []string{"sale"},
	}
}

// unheld reports whether the workload has no hold any more.
func unheld(r rollout.Result) bool { return !r.IsHeld() }

// settled reports whether the hold waits only for its end, or is gone.
func settled(r rollout.Result) bool {
	h := r.FindHold("event/sale")
	return h == nil || h.Status.State.IsSettled() && h.Status.State != hold.Released && (h.Status.State != hold.RolledBack || h.Status.Numbers == nil)
}

// drive reconciles the workload until done.
func (e workloadEngine) drive(done func(rollout.Result) bool) rollout.Result {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 2*time.Minute) // kube-controller-manager sends at most 20 requests per second, for all tests together
	defer cancel()
	r, err := e.Reconcile(ctx, e.workload, done, rollout.Observer{})
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// mustApply stores a hold, which must be a change.
func (e workloadEngine) mustApply(h hold.Hold) {
	e.t.Helper()
	if changed, err := e.ApplyHold(e.t.Context(), e.workload, h); err != nil || !changed {
		e.t.Fatalf("apply %s: changed %v, %v", h.ID, changed, err)
	}
}

// holdSale stores the sale, and drives it until it waits only for its end.
func (e workloadEngine) holdSale() {
	e.t.Helper()
	e.mustApply(sale())
	e.drive(settled)
}

// end ends the hold of an id.
func (e workloadEngine) end(id string) {
	e.t.Helper()
	if ended, err := e.EndHolds(e.t.Context(), e.workload, func(h *hold.Object) bool { return h.HoldID() == id }); err != nil || len(ended) != 1 {
		e.t.Fatalf("end %s: %v, %v", id, ended, err)
	}
}

// releaseSale ends the sale, and drives the workload until it has no hold.
func (e workloadEngine) releaseSale() {
	e.t.Helper()
	e.end("event/sale")
	e.drive(unheld)
}

// endSale releases the sale, and expects what was there before it, with the gate shut once.
func (e workloadEngine) endSale(before world, h *heard) {
	e.t.Helper()
	e.releaseSale()
	wantWorld(e.t, e.workload.Namespace, before)
	if h.count("shut") != 1 {
		e.t.Errorf("gate %v", h.actions)
	}
}

// TestRaiseAndRelease raises with one hold and then a second, and restores the original state, with and without an autoscaler.
func TestRaiseAndRelease(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	for name, autoscaled := range map[string]bool{"autoscaled": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			workload := newWorkload(t, namespace, autoscaled)
			before := mustReadWorld(t, namespace)
			h := &heard{}
			e := newEngine(t, workload, h)
			e.holdSale()
			up := mustReadWorld(t, namespace)
			if up.Replicas != 20 || autoscaled && up.MinReplicas != 20 || up.MaxReplicas != before.MaxReplicas || h.count("open") != 1 || h.count("shut") != 0 {
				t.Fatalf("held: %+v, gate %v", up, h.actions)
			}
			h.tells(t, "up: 20 replicas", "passed", 18)
			more := sale()
			more.ID, more.Replicas, more.Gates = "set", 25, nil
			e.mustApply(more)
			e.drive(func(r rollout.Result) bool { return r.FindHold("set").Status.State == hold.Open })
			if top := mustReadWorld(t, namespace); top.Replicas != 25 {
				t.Fatalf("two holds: %+v", top)
			}
			e.end("set")
			e.drive(func(r rollout.Result) bool { return r.FindHold("set") == nil })
			if left := mustReadWorld(t, namespace); autoscaled && left.MinReplicas != 20 || !autoscaled && left.Replicas != 20 {
				t.Fatalf("the lower of two holds: %+v", left)
			}
			e.endSale(before, h)
		})
	}
}

// TestFailedUpdate: an open hold that asks for more than its autoscaler allows keeps the pods and the gate that it had, whichever process goes on.
func TestFailedUpdate(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	h := &heard{}
	e := newEngine(t, workload, h)
	e.holdSale()
	h.forget()
	more := sale()
	more.Replicas = before.MaxReplicas + 1
	e.mustApply(more)
	for range 2 {
		e.drive(func(r rollout.Result) bool { return r.FindHold("event/sale").Status.State == hold.RolledBack })
		if kept := mustReadWorld(t, namespace); kept.Replicas != 20 || kept.MinReplicas != 20 || h.count("shut") != 0 {
			t.Fatalf("kept: %+v, gate %v", kept, h.actions)
		}
		e = newEngine(t, workload, h)
	}
	h.tells(t, "failed and rolled back to 20 replicas", "the 20 replicas of before stay", 0)
	e.endSale(before, h)
}

// all matches every hold.
func all(*hold.Object) bool { return true }

// TestJudgedBad: ready pods with wrong responses are removed again, the gate stays shut, and the notification has the figures.
func TestJudgedBad(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	h := &heard{}
	e := newEngineWith(t, workload, h, false, nil)
	e.mustApply(sale())
	e.drive(unheld)
	wantWorld(t, namespace, before)
	if h.count("open") != 0 {
		t.Errorf("gate %v", h.actions)
	}
	h.tells(t, "rolled back to 2 replicas", "p99: 312ms, wanted at most 200ms", 18)
}
