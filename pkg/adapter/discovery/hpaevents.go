// This file tells the owner of an autoscaler that some of its metrics are not served.

package discovery

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// eventTooManyMetrics is the reason of the Event on an autoscaler with rejected metrics.
const eventTooManyMetrics = "TooManyMetrics"

// rejectionReporter writes a log line and an Event for each autoscaler with rejected metrics, once for each change.
type rejectionReporter struct {
	recorder record.EventRecorder
	reported map[metric.Object]string
}

// startRejectionReporter returns a reporter that writes Events until stop is called.
func (d *Discovery) startRejectionReporter(ctx context.Context) (r *rejectionReporter, stop func()) {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: d.clients.Kube.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "tachometer-adapter"})
	return &rejectionReporter{recorder: recorder, reported: map[metric.Object]string{}}, broadcaster.Shutdown
}

// reportRejectedMetrics reports the autoscalers with a change of their rejected metrics since the last call. It returns the number of rejected
// metrics.
func (r *rejectionReporter) reportRejectedMetrics(ctx context.Context, hpas []*storedAutoscaler) (rejected int) {
	reported := map[metric.Object]string{}
	for _, a := range hpas {
		if a.rejected.count == 0 {
			continue
		}
		rejected += a.rejected.count
		key, text := a.autoscalerKey(), a.describeRejectedMetrics()
		reported[key] = text
		if r.reported[key] == text {
			continue
		}
		klog.FromContext(ctx).Info("Metrics of an autoscaler are not served", "namespace", a.namespace, "name", a.name, "reason", text)
		r.recorder.Event(&corev1.ObjectReference{
			APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler", Namespace: a.namespace, Name: a.name, UID: a.uid,
		}, corev1.EventTypeWarning, eventTooManyMetrics, text)
	}
	r.reported = reported
	return rejected
}
