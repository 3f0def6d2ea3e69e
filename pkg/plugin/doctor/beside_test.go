package doctor

import (
	"net/http"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const externalMetricPath = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/orders_waiting"

// setExternalByKEDA makes the world's autoscaler one of an external metric, and lets KEDA serve these.
func (w *world) setExternalByKEDA() {
	w.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "orders_waiting"},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("5"))},
	}}}
	at := w.apiService(2).Spec.Service
	at.Namespace, at.Name = "keda", "keda-operator-metrics-apiserver"
}

// TestBesideOthers: worlds with other servers, and with several faults, have the first cause named, with a command.
func TestBesideOthers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(w *world)
		want  *Check // Message is a part of it; nil: nothing is broken
	}{
		"KEDA serves the metric": {func(w *world) {
			w.setExternalByKEDA()
			w.answers[externalMetricPath] = map[string]any{"items": []any{map[string]any{"value": "9", "timestamp": worldTime}}}
		}, nil},
		"KEDA knows no such metric": {func(w *world) {
			w.setExternalByKEDA()
			w.answers[externalMetricPath] = newAdapterStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError, "scaledObject name is not specified")
		}, &Check{"metric", "shop/web", StatusFail, "scaledObject name is not specified; keda/keda-operator-metrics-apiserver serves all external metrics", "kubectl get apiservice v1beta1.external.metrics.k8s.io"}},
		"KEDA's own autoscaler": {func(w *world) {
			w.setExternalByKEDA()
			w.hpa.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "web", Controller: new(true)}}
			w.answers[externalMetricPath] = newAdapterStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError, "error when getting metric values")
		}, &Check{"metric", "shop/web", StatusFail, "orders_waiting, external: error when getting metric values", "kubectl get --raw '" + externalMetricPath + "'"}},
		"the limit is reached beside KEDA": {func(w *world) {
			w.apiService(2).Spec.Service.Name = "keda-operator-metrics-apiserver"
			w.hpa.Status.Conditions[2] = autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "TooManyReplicas"}
		}, &Check{"condition", "shop/web", StatusWarning, "ScalingLimited", `kubectl -n shop patch hpa web --type=merge -p '{"spec":{"maxReplicas":`}},
		"kube-apiserver has too much to do": {func(w *world) {
			w.answers[podsMetricPath] = newAdapterStatus(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests, please try again later")
		}, nil},
		"v1beta2 could not be read": {func(w *world) {
			w.answers["/apis/apiregistration.k8s.io/v1/apiservices/"+checkedAPIServices[0]] = newAdapterStatus(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: leader changed")
			delete(w.answers, "/apis/apiregistration.k8s.io/v1/apiservices/"+checkedAPIServices[1])
		}, nil},
		"another adapter's old version": {func(w *world) { w.setOtherAdapter(100) },
			&Check{"apiservice", checkedAPIServices[1], StatusWarning, "the HPA controller takes v1beta2", applyAdapterCommand}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(w)
			got := w.run("web").First()
			switch {
			case tc.want == nil && got != nil && got.Status == StatusFail:
				t.Errorf("first broken %+v", *got)
			case tc.want == nil:
			case got == nil || got.Name != tc.want.Name || got.Subject != tc.want.Subject || got.Status != tc.want.Status ||
				!strings.Contains(got.Message, tc.want.Message) || !strings.HasPrefix(got.Fix, tc.want.Fix):
				t.Errorf("first is %+v\nwant %+v", got, *tc.want)
			}
		})
	}
}

// TestCommandsRepeatTheConnection: a command acts on the cluster that was checked.
func TestCommandsRepeatTheConnection(t *testing.T) {
	t.Parallel()
	d := &doctor{Options: Options{Flags: []string{"--context", "prod west"}}}
	d.addDoctorCheck("a", "", StatusFail, "", "kubectl -n shop get hpa")
	d.addDoctorCheck("b", "", StatusFail, "", "date -u")
	d.addDoctorCheck("c", "", StatusOK, "", "")
	for i, want := range []string{"kubectl -n shop get hpa --context 'prod west'", "date -u", ""} {
		if got := d.report.Checks[i].Fix; got != want {
			t.Errorf("command %q, want %q", got, want)
		}
	}
}

// TestNamespaceThatDoesNotExist: a mistyped namespace is not called sound.
func TestNamespaceThatDoesNotExist(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hpa.Namespace = "other"
	w.more = append(w.more, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}})
	want := Check{"namespace", "shop", StatusFail, "does not exist", "kubectl get namespaces"}
	if got := w.run("").First(); got == nil || *got != want {
		t.Errorf("first is %+v", got)
	}
}
