// Package hpa holds pkg/hpa against Kubernetes' own HPA controller: the whole HorizontalController, in virtual time, on random cases.
//
// The module requires k8s.io/kubernetes 1.36; `go test -modfile=kubernetes-1.37.mod` runs the same cases on 1.37.
package hpa

import (
	"context"
	"reflect"
	"time"
	"unsafe"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

//go:linkname reconcileHPAKey k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).reconcileKey
func reconcileHPAKey(c *podautoscaler.HorizontalController, ctx context.Context, key string) (deleted bool, err error) //nolint:revive // a method's own order

//go:linkname enqueueHPA k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).enqueueHPA
func enqueueHPA(c *podautoscaler.HorizontalController, obj any)

//go:linkname deleteHPA k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).deleteHPA
func deleteHPA(c *podautoscaler.HorizontalController, obj any)

// controllerRig is Kubernetes' HPA controller with its world in memory.
type controllerRig struct {
	autoscalingclient.HorizontalPodAutoscalerInterface // only UpdateStatus is called
	record.EventRecorder

	controller *podautoscaler.HorizontalController
	hpas, pods cache.Indexer
	scale      autoscalingv1.Scale
	answers    []hpa.Answer // of the metrics, in the spec's order: the controller asks in this order
	asked      int

	// what the controller wrote in its last turn
	wroteScale  bool
	wroteStatus *autoscalingv2.HorizontalPodAutoscaler
	event       []any // the arguments of the event SuccessfulRescale: the size and the reason
}

// newControllerRig returns a rig. The controller's goroutines end with stop.
func newControllerRig(s hpa.Settings) (rig *controllerRig, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	factory := informers.NewSharedInformerFactory(nil, 0) // never started: the rig fills the stores
	hpas, pods := factory.Autoscaling().V2().HorizontalPodAutoscalers(), factory.Core().V1().Pods()
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "apps", Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	rig = &controllerRig{hpas: hpas.Informer().GetIndexer(), pods: pods.Informer().GetIndexer()}
	rig.controller = podautoscaler.NewHorizontalController(ctx, rig, rig, rig, mapper, rig, hpas, pods, 15*time.Second,
		s.DownscaleStabilization, s.Tolerance, s.CPUInitializationPeriod, s.InitialReadinessDelay)
	field := reflect.ValueOf(rig.controller).Elem().FieldByName("eventRecorder")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(record.EventRecorder(rig)))
	return rig, func() {
		cancel()
		rig.controller.Run(ctx, 0) // closes the queue
	}
}

// decideOnce lets the controller decide once.
func (r *controllerRig) decideOnce(in hpa.Input) error {
	r.wroteScale, r.wroteStatus, r.event, r.asked, r.answers = false, nil, nil, 0, listAskedAnswers(in)
	r.scale.Spec.Replicas, r.scale.Status.Replicas, r.scale.Status.Selector = in.SpecReplicas, in.StatusReplicas, "app=a"
	_ = r.hpas.Replace([]any{in.HPA}, "")
	pods := make([]any, len(in.Pods))
	for i := range in.Pods {
		pods[i] = in.Pods[i]
	}
	_ = r.pods.Replace(pods, "")
	enqueueHPA(r.controller, in.HPA)
	_, err := reconcileHPAKey(r.controller, context.Background(), in.HPA.Namespace+"/"+in.HPA.Name)
	return err
}

// listAskedAnswers leaves out the answers of metrics with a wrong selector or type: the controller does not ask for them.
func listAskedAnswers(in hpa.Input) []hpa.Answer {
	var asked []hpa.Answer
	for i, spec := range in.HPA.Spec.Metrics {
		var selector *metav1.LabelSelector
		switch {
		case spec.Pods != nil:
			selector = spec.Pods.Metric.Selector
		case spec.Object != nil:
			selector = spec.Object.Metric.Selector
		case spec.External != nil:
			selector = spec.External.Metric.Selector
		case spec.Resource == nil && spec.ContainerResource == nil: // of an unknown type
			continue
		}
		if _, err := metav1.LabelSelectorAsSelector(selector); err == nil {
			asked = append(asked, in.Answers[i])
		}
	}
	return asked
}

// forgetHPA makes the controller forget an HPA with its history.
func (r *controllerRig) forgetHPA(h *autoscalingv2.HorizontalPodAutoscaler) {
	_ = r.hpas.Replace(nil, "")
	deleteHPA(r.controller, h)
	_, _ = reconcileHPAKey(r.controller, context.Background(), h.Namespace+"/"+h.Name)
}

// nextAnswer returns the answer to the controller's next question.
func (r *controllerRig) nextAnswer() hpa.Answer {
	r.asked++
	return r.answers[r.asked-1]
}

func (r *controllerRig) podAnswer() (metrics.PodMetricsInfo, time.Time, error) {
	answer := r.nextAnswer()
	values := metrics.PodMetricsInfo{}
	for name, v := range answer.Pods {
		values[name] = metrics.PodMetric{Timestamp: v.Time, Window: v.Window, Value: v.Value}
	}
	return values, time.Time{}, answer.Err
}

// GetResourceMetric is part of the controller's metrics client.
func (r *controllerRig) GetResourceMetric(context.Context, corev1.ResourceName, string, labels.Selector, string) (metrics.PodMetricsInfo, time.Time, error) {
	return r.podAnswer()
}

// GetRawMetric is part of the controller's metrics client.
func (r *controllerRig) GetRawMetric(string, string, labels.Selector, labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	return r.podAnswer()
}

// GetObjectMetric is part of the controller's metrics client.
func (r *controllerRig) GetObjectMetric(string, string, *autoscalingv2.CrossVersionObjectReference, labels.Selector) (int64, time.Time, error) {
	answer := r.nextAnswer()
	return answer.Object, time.Time{}, answer.Err
}

// GetExternalMetric is part of the controller's metrics client.
func (r *controllerRig) GetExternalMetric(string, string, labels.Selector) ([]int64, time.Time, error) {
	answer := r.nextAnswer()
	return answer.External, time.Time{}, answer.Err
}

// Scales is part of the controller's scale client.
func (r *controllerRig) Scales(string) scale.ScaleInterface { return scaleRig{rig: r} }

// HorizontalPodAutoscalers is part of the controller's HPA client.
func (r *controllerRig) HorizontalPodAutoscalers(string) autoscalingclient.HorizontalPodAutoscalerInterface {
	return r
}

// UpdateStatus keeps the status that the controller writes.
func (r *controllerRig) UpdateStatus(_ context.Context, h *autoscalingv2.HorizontalPodAutoscaler, _ metav1.UpdateOptions) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	r.wroteStatus = h.DeepCopy()
	return h, nil
}

// Events is the sink of the controller's own event recorder, which the rig replaces.
func (r *controllerRig) Events(string) coreclient.EventInterface { return nil }

// Event drops an event.
func (r *controllerRig) Event(runtime.Object, string, string, string) {}

// Eventf keeps the arguments of SuccessfulRescale.
func (r *controllerRig) Eventf(_ runtime.Object, _, reason, _ string, args ...any) {
	if reason == "SuccessfulRescale" {
		r.event = args
	}
}

// scaleRig is the scale subresource of the rig's target.
type scaleRig struct {
	scale.ScaleInterface

	rig *controllerRig
}

// Get returns the scale.
func (s scaleRig) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return s.rig.scale.DeepCopy(), nil
}

// Update keeps the replicas that the controller writes.
func (s scaleRig) Update(_ context.Context, _ schema.GroupResource, sc *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	s.rig.scale, s.rig.wroteScale = *sc.DeepCopy(), true
	return sc, nil
}
