// The Events of the lane.

package surge

import (
	"context"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// maxEventText bounds the text of an Event: the API allows 1,024 bytes.
const maxEventText = 1000

// describeSurgeMetricSpec returns the name of a metric for people. It is short: the reason of a hold is bounded.
func describeSurgeMetricSpec(m autoscalingv2.MetricSpec) string {
	switch {
	case m.Pods != nil:
		return "pods metric " + describeMetricIdentifier(m.Pods.Metric)
	case m.Object != nil:
		object := m.Object.DescribedObject
		return fmt.Sprintf("metric %s of %s %s", describeMetricIdentifier(m.Object.Metric), strict.ShortenPlain(object.Kind), strict.ShortenPlain(object.Name))
	case m.External != nil:
		return "external metric " + describeMetricIdentifier(m.External.Metric)
	}
	return "a metric"
}

// describeMetricIdentifier returns a metric's name with its selector.
func describeMetricIdentifier(m autoscalingv2.MetricIdentifier) string {
	name := strict.ShortenPlain(m.Name)
	if selector, err := formatMetricSelector(m.Selector); err == nil && selector != "" {
		name += "{" + strict.ShortenPlain(selector) + "}"
	}
	return name
}

// recordLaneNotice writes a notice to the log, and as an Event on the autoscaler.
func (l *Lane) recordLaneNotice(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, n Notice) {
	log := klog.FromContext(ctx).WithValues("namespace", a.Namespace, "hpa", a.Name)
	at, kind, text := metav1.NewTime(time.Now()), corev1.EventTypeNormal, plaintext.Clip(n.Message, maxEventText) // a status of a Hold may be in it
	if n.IsWarning {
		kind = corev1.EventTypeWarning
	}
	log.Info("Surge lane decided", "reason", n.Reason, "message", text)
	err := l.Events.WriteEvent(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: a.Name + ".", Namespace: a.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: autoscalingv2.SchemeGroupVersion.String(), Kind: "HorizontalPodAutoscaler", Namespace: a.Namespace, Name: a.Name, UID: a.UID,
		},
		Reason: n.Reason, Message: text, Type: kind, Count: 1, FirstTimestamp: at, LastTimestamp: at,
		Source: corev1.EventSource{Component: hold.Manager}, ReportingController: domain.ScalerController, ReportingInstance: l.Identity,
	})
	if err != nil && ctx.Err() == nil {
		log.Error(err, "Event cannot be written", "reason", n.Reason)
	}
}
