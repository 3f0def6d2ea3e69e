package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// surgeFaultWatch is the time in which a fault must raise nothing.
const surgeFaultWatch = time.Minute

// TestSurgeFaults: an adapter of which one replica lies, stands still or restarts raises nothing under a steady load. The end of the scaler's
// leader in a raise, and a client that reverts minReplicas, leave the autoscaler as it was.
func TestSurgeFaults(t *testing.T) {
	needSurge(t)
	load := beginSurges(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, f := range []struct {
		name   string
		raises int // that the test provokes
		inject func(*testing.T)
	}{
		{"a replica of the adapter lies", 1, faceLyingAdapter},
		{"a replica of the adapter stands still", 0, func(t *testing.T) {
			end := freezeAdapter(t, nil, random)
			waitForSurge(t, 8*time.Second) // the kubelet would restart it
			end()
		}},
		{"both replicas of the adapter restart", 0, func(t *testing.T) { killAdapters(t, 2) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			settleBeforeSurge(t, load, annotateForSurge(t, true))
			before := countSurgeEvents(t.Context(), t, surge.ReasonRaised)
			f.inject(t)
			waitForSurge(t, surgeFaultWatch)
			if raised := countSurgeEvents(t.Context(), t, surge.ReasonRaised) - before; raised != f.raises {
				t.Errorf("%d raises, want %d", raised, f.raises)
			}
		})
	}
	t.Run("the leader is killed in a raise", func(t *testing.T) {
		awaitSurgeRaise(t, load)
		killSurgeLeader(t)
		surgeIsKept(t)
	})
	t.Run("another client reverts minReplicas", func(t *testing.T) {
		revertSurge(t)
		stopped := countSurgeEvents(t.Context(), t, surge.ReasonStopped)
		awaitSurgeRaise(t, load)
		raised := countSurgeEvents(t.Context(), t, surge.ReasonRaised)
		watchSurge(t) // the HPA comes to the pods by itself
		surgeIsKept(t)
		settleBeforeSurge(t, load, true)
		load.rate.Store(duringSurge)
		waitForSurge(t, surgeFaultWatch)
		if got := countSurgeEvents(t.Context(), t, surge.ReasonStopped) - stopped; got != 1 {
			t.Errorf("%d Events %s, want one", got, surge.ReasonStopped)
		}
		if got := countSurgeEvents(t.Context(), t, surge.ReasonRaised) - raised; got != 0 {
			t.Errorf("%d raises after the client reverted one, want none", got)
		}
	})
}

// awaitSurgeRaise settles, steps the load, and waits for the raise of the lane.
func awaitSurgeRaise(t *testing.T, load *sending) {
	t.Helper()
	annotateForSurge(t, true)
	settleBeforeSurge(t, load, true)
	before := countSurgeEvents(t.Context(), t, surge.ReasonRaised)
	load.rate.Store(duringSurge)
	err := stack.Wait(t.Context(), surgeWait, func(ctx context.Context) error {
		if countSurgeEvents(ctx, t, surge.ReasonRaised) == before {
			return fmt.Errorf("no Event %s", surge.ReasonRaised)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killSurgeLeader ends all pods of the scaler without grace, and waits for others.
func killSurgeLeader(t *testing.T) {
	t.Helper()
	pods := s.Client.CoreV1().Pods(stack.AdapterNamespace)
	err := pods.DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))},
		metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=tachometer-scaler"})
	if err != nil {
		t.Fatal(err)
	}
	rollout(t, stack.AdapterNamespace, "tachometer-scaler")
}

// revertSurge sets minReplicas back to 2 whenever another client changed it, as a GitOps controller does, until the test ends.
func revertSurge(t *testing.T) {
	t.Helper()
	apply := func(ctx context.Context, spec string) {
		patch := []byte(`{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"sample"}` + spec + `}`)
		options := metav1.PatchOptions{FieldManager: "argocd-controller", Force: new(true)}
		_, err := s.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).Patch(ctx, "sample", types.ApplyPatchType, patch, options)
		if err != nil && ctx.Err() == nil {
			t.Errorf("revert minReplicas: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			if h, err := hpa(ctx, "sample"); err == nil && h.Spec.MinReplicas != nil && *h.Spec.MinReplicas != 2 {
				apply(ctx, `,"spec":{"minReplicas":2}`)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		apply(context.Background(), "") // the field has its other owners alone
	})
}

// The names of the replica that lies, and of the endpoints under which it finds the others.
const (
	liarName   = "tachometer-liar"
	liarLabel  = "test/liar"
	honestName = "tachometer-adapter-honest"
)

// faceLyingAdapter puts a replica beside the adapter's that answers ten times the requests over a short window, and sends all reads of
// kube-apiserver to it. The HPA, which believes it, may add one pod. Without the other replicas the lane believes it too, which shows that
// the lane has read the lies.
func faceLyingAdapter(t *testing.T) {
	t.Helper()
	limitScaleUp(t)
	raisedBefore := countSurgeEvents(t.Context(), t, surge.ReasonRaised)
	startLyingAdapter(t)
	listHonestAdapters(t)
	pinReadsToLiar(t)
	if got := readAnsweringReplica(t, ""); !strings.HasPrefix(got, liarName) {
		t.Fatalf("%q answered, want the liar", got)
	}
	liar := readAnsweringReplica(t, "")
	if got := readAnsweringReplica(t, liar); got == liar || got == "" {
		t.Fatalf("another replica than %s shall answer, and %q did", liar, got)
	}
	waitForSurge(t, surgeFaultWatch)
	if raised := countSurgeEvents(t.Context(), t, surge.ReasonRaised) - raisedBefore; raised > 0 {
		t.Errorf("the liar alone raised %d times", raised)
	}
	removeHonestAdapters(t)
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		if countSurgeEvents(ctx, t, surge.ReasonRaised) == raisedBefore {
			return fmt.Errorf("no raise, though no other replica contradicts the liar")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	endLies(t)
	settleAfterLies(t)
}

// limitScaleUp lets the HPA add one pod in half an hour, until the test ends. The lane has no such limit.
func limitScaleUp(t *testing.T) {
	t.Helper()
	original, err := hpa(t.Context(), "sample")
	if err != nil {
		t.Fatal(err)
	}
	updateSampleHPA(t, func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Behavior.ScaleUp = &autoscalingv2.HPAScalingRules{
			Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 1800}},
		}
	})
	t.Cleanup(func() {
		updateSampleHPA(t, func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.Behavior = original.Spec.Behavior })
	})
}

// startLyingAdapter starts a replica of the adapter with the rule of a liar, until the test ends.
func startLyingAdapter(t *testing.T) {
	t.Helper()
	const honest = "  query: sum by (namespace, pod) (rate(http_requests_total[$window]))\n  window: auto\n"
	original := configuration(t)
	if !strings.Contains(original, honest) {
		t.Fatalf("the configuration has no rule\n%s", honest)
	}
	lying := strings.Replace(original, honest, "  query: 10 * sum by (namespace, pod) (rate(http_requests_total[$window]))\n  window: 10s\n", 1)
	ctx, meta := t.Context(), metav1.ObjectMeta{Name: liarName, Namespace: stack.AdapterNamespace}
	t.Cleanup(func() { endLies(t) })
	_, err := s.Client.CoreV1().ConfigMaps(meta.Namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"config.yaml": lying}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Client.AppsV1().Deployments(meta.Namespace).Get(ctx, "tachometer-adapter", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	template := d.Spec.Template
	template.Labels[liarLabel] = "true"
	for i := range template.Spec.Volumes {
		if from := template.Spec.Volumes[i].ConfigMap; from != nil {
			from.Name = liarName
		}
	}
	_, err = s.Client.AppsV1().Deployments(meta.Namespace).Create(ctx, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{liarLabel: "true"}}, Template: template,
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rollout(t, meta.Namespace, liarName)
}

// listHonestAdapters lists the endpoints of the other replicas for their peers, until removeHonestAdapters. They are not ready, so that
// kube-apiserver sends them no reads.
func listHonestAdapters(t *testing.T) {
	t.Helper()
	pods, err := adapters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: honestName, Namespace: stack.AdapterNamespace, Labels: map[string]string{discoveryv1.LabelServiceName: "tachometer-adapter"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(6443)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for i := range pods {
		if pods[i].Labels[liarLabel] == "" {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{pods[i].Status.PodIP}, Conditions: discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true)},
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pods[i].Namespace, Name: pods[i].Name},
			})
		}
	}
	if _, err := s.Client.DiscoveryV1().EndpointSlices(stack.AdapterNamespace).Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func removeHonestAdapters(t *testing.T) {
	t.Helper()
	err := s.Client.DiscoveryV1().EndpointSlices(stack.AdapterNamespace).Delete(context.WithoutCancel(t.Context()), honestName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// pinReadsToLiar lets the adapter's Service select the liar alone, and waits until only it answers.
func pinReadsToLiar(t *testing.T) {
	t.Helper()
	selectLiar(t, `"true"`)
	err := stack.Wait(t.Context(), time.Minute, func(context.Context) error {
		for range 10 {
			if got := readAnsweringReplica(t, ""); !strings.HasPrefix(got, liarName) {
				return fmt.Errorf("%q answers", got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// selectLiar sets the liar's label in the selector of the adapter's Service: a text of JSON, or null.
func selectLiar(t *testing.T, value string) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"selector":{%q:%s}}}`, liarLabel, value)
	_, err := s.Client.CoreV1().Services(stack.AdapterNamespace).Patch(context.WithoutCancel(t.Context()), "tachometer-adapter", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Error(err)
	}
}

// endLies gives kube-apiserver the honest replicas back, and removes the liar. It may be called twice.
func endLies(t *testing.T) {
	t.Helper()
	selectLiar(t, "null")
	removeHonestAdapters(t)
	for _, object := range []string{"deploy/" + liarName, "configmap/" + liarName} {
		if _, err := s.Kubectl(context.WithoutCancel(t.Context()), "-n", stack.AdapterNamespace, "delete", "--ignore-not-found", object); err != nil {
			t.Error(err)
		}
	}
}

// settleAfterLies waits until the hold of the raise is over, and an honest replica answers.
func settleAfterLies(t *testing.T) {
	t.Helper()
	err := stack.Wait(t.Context(), surgeWait, func(ctx context.Context) error {
		all, err := sampleHolds(ctx)
		if got := readAnsweringReplica(t, ""); err == nil && (len(all) > 0 || strings.HasPrefix(got, liarName)) {
			err = fmt.Errorf("%d holds are left, and %q answers", len(all), got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// readAnsweringReplica reads the sample's requests through kube-apiserver, and returns the replica of the adapter that answered. Another one
// than the named one shall.
func readAnsweringReplica(t *testing.T, otherThan string) string {
	t.Helper()
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(s.Config.Host, "/")+stack.PodsMetric("request_per_second"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if otherThan != "" {
		request.Header.Set(domain.OtherReplicaHeader, otherThan)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Logf("no answer: %v", err)
		return ""
	}
	defer response.Body.Close()
	return response.Header.Get(domain.ReplicaHeader)
}
