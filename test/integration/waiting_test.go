package integration

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// waitingConfig is a configuration with one rule, without a schedule.
const waitingConfig = `apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
namespaces: [NAMESPACE]
events:
  http: {address: EVENTS, secretFiles: [SECRET]}
  rules:
  - {name: sale, namespace: NAMESPACE, type: START, releaseOn: END, workloads: [{workload: deploy/shop, replicas: 9}]}
`

// TestD15EventAmongWaitingWorkloads: 200 workloads that wait for pods do not delay the patch of an event's workload, with a real API server and the limits
// of the program's client. The time is compared with an event alone, on the same machine: each waiting workload with requests of its own would delay the
// event by some 50 ms.
func TestD15EventAmongWaitingWorkloads(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	const waiting = 200
	namespace := newNamespace(t)
	newWorkload(t, namespace, false)
	s := startScalerWith(t, buildScaler(t), namespace, waitingConfig)
	alone := raiseFastest(t, s, namespace, "alone")
	addWaitingWorkloads(t, namespace, waiting)
	among := raiseFastest(t, s, namespace, "among")
	t.Logf("from the event to the patch: %s alone, %s among %d waiting workloads", alone, among, waiting)
	if among > 300*time.Millisecond+5*alone {
		t.Errorf("scaled %s after the event among %d waiting workloads, and %s alone", among, waiting, alone)
	}
}

// raiseFastest sends the start and the end of some sales, and returns the shortest time from a start to the patch. The first sale does not count: no
// end of another one precedes it, and the program may have just started.
func raiseFastest(t *testing.T, s *scaler, namespace, id string) time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range 6 {
		replicas := watchReplicas(t, namespace)
		began := time.Now()
		if err := s.post(t.Context(), fmt.Sprint(id, i), "START"); err != nil {
			t.Fatal(err)
		}
		awaitReplicas(t, replicas, 9)
		took = append(took, time.Since(began))
		if err := s.post(t.Context(), fmt.Sprint(id, i, "-end"), "END"); err != nil {
			t.Fatal(err)
		}
		awaitReplicas(t, replicas, 2)
	}
	t.Logf("%s: %v", id, took)
	return slices.Min(took[1:])
}

// watchReplicas returns the replicas that the shop is set to, as they change.
func watchReplicas(t *testing.T, namespace string) <-chan int32 {
	t.Helper()
	w, err := client.AppsV1().Deployments(namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=shop"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	replicas := make(chan int32, 100)
	go func() {
		defer close(replicas)
		for e := range w.ResultChan() {
			if d, ok := e.Object.(*appsv1.Deployment); ok {
				replicas <- *d.Spec.Replicas
			}
		}
	}()
	return replicas
}

// awaitReplicas waits until the shop is set to so many replicas.
func awaitReplicas(t *testing.T, replicas <-chan int32, want int32) {
	t.Helper()
	over := time.After(time.Minute)
	for {
		select {
		case got, ok := <-replicas:
			if !ok {
				t.Fatal("the watch of the Deployment ended")
			}
			if got == want {
				return
			}
		case <-over:
			t.Fatalf("not scaled to %d replicas", want)
		}
	}
}

// addWaitingWorkloads makes workloads whose holds wait for pods: a paused Deployment has none.
func addWaitingWorkloads(t *testing.T, namespace string, n int) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 1000, 1000
	holds, err := hold.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	making, ctx := errgroup.WithContext(t.Context())
	making.SetLimit(10)
	for i := range n {
		making.Go(func() error {
			d := newPausedDeployment(namespace, fmt.Sprint("waits-", i))
			if _, err := client.AppsV1().Deployments(namespace).Create(ctx, d, metav1.CreateOptions{}); err != nil {
				return err
			}
			workload := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: d.Name}
			_, err := holds.CreateHold(ctx, hold.NewObject(workload, hold.Hold{ID: "wait", By: "test", Replicas: 20, Within: time.Hour}, ""))
			return err
		})
	}
	if err := making.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Minute, func(ctx context.Context) error {
		all, err := holds.ListHolds(ctx, namespace, "")
		waiting := 0
		for i := range all {
			if all[i].Status.State == hold.Scaled {
				waiting++
			}
		}
		if err == nil && waiting != n {
			err = fmt.Errorf("%d of %d workloads wait for pods", waiting, n)
		}
		return err
	})
}

func newPausedDeployment(namespace, name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
	d.Spec.Paused, d.Spec.Replicas, d.Spec.Selector = true, new(int32(2)), &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels, d.Spec.Template.Spec = labels, podSpec()
	return d
}
