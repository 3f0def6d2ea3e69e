package kubeapi

import (
	"net"
	"strconv"

	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// NewPod returns a ready pod with the label app and a page at address, a host and port.
func NewPod(namespace, name, app, address string) core.Pod {
	ip, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	return core.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(namespace + "-" + name),
			Labels: map[string]string{"app": app}, Annotations: map[string]string{"prometheus.io/port": port},
		},
		Spec: core.PodSpec{NodeName: "node", Containers: []core.Container{{Name: app, Ports: []core.ContainerPort{{ContainerPort: int32(number)}}}}}, //nolint:gosec // a port
		Status: core.PodStatus{
			Phase: core.PodRunning, PodIP: ip, PodIPs: []core.PodIP{{IP: ip}},
			Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
		},
	}
}

// NewAutoscaler returns an autoscaler of a Deployment by metrics of its pods.
func NewAutoscaler(namespace, deployment string, metrics ...string) autoscaling.HorizontalPodAutoscaler {
	hpa := autoscaling.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: deployment, UID: types.UID(namespace + "-hpa-" + deployment)},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment}, MaxReplicas: 20,
		},
	}
	for _, metric := range metrics {
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscaling.MetricSpec{
			Type: autoscaling.PodsMetricSourceType, Pods: &autoscaling.PodsMetricSource{Metric: autoscaling.MetricIdentifier{Name: metric}},
		})
	}
	return hpa
}
