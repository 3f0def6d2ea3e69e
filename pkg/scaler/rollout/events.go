// The Events of a pass, and the notification of an outcome.

package rollout

import (
	"context"
	"fmt"
	"os"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// The reasons of Events are the states of holds and these words. All are past participles in CamelCase.
const (
	reasonBoundsChanged   = "BoundsChanged"   // the scaler changed the autoscaler's bounds
	reasonReplicasChanged = "ReplicasChanged" // the scaler changed the scale
	reasonReplaced        = "Replaced"        // another client replaced the annotation with the holds
	reasonYielded         = "Yielded"         // another client changed a number, and the scaler leaves it
)

// pendingEvent is an Event to be written at the end of the pass.
type pendingEvent struct{ eventType, reason, message string }

// recordRolloutEvent adds a normal Event to the pending Events.
func (p *reconcilePass) recordRolloutEvent(reason, format string, args ...any) {
	p.pendingEvents = append(p.pendingEvents, pendingEvent{corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...)})
}

// recordRolloutWarning adds a warning Event to the pending Events.
func (p *reconcilePass) recordRolloutWarning(reason, format string, args ...any) {
	p.pendingEvents = append(p.pendingEvents, pendingEvent{corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...)})
}

// notifyRolloutOutcome records the outcome of a hold as an Event, and posts it to the hold's notifiers.
func (p *reconcilePass) notifyRolloutOutcome(ctx context.Context, h *hold.Hold, outcome string) {
	p.recordRolloutEvent(string(h.State), "hold %s: %s", h.ID, outcome)
	report := p.reports.takeRolloutReport(p.workload, h.ID)
	if len(h.Notify) == 0 {
		return
	}
	m := notify.Message{
		Time: p.now, Outcome: outcome, Workload: p.workload, Hold: h.ID, Reason: h.Reason, By: h.By, Why: h.StateMessage, Report: report,
	}
	if err := p.Notifier.Post(h.Notify, m); err != nil {
		p.rolloutPassLogger(ctx).Error(err, "Notification cannot be posted", "hold", h.ID, "outcome", outcome)
	}
}

// writeRolloutEvents writes the pending Events to the log and to the workload. It runs after the changes, since no step depends on it.
func (p *reconcilePass) writeRolloutEvents(ctx context.Context) {
	for _, n := range p.pendingEvents {
		p.rolloutPassLogger(ctx).Info("Hold made progress", "reason", n.reason, "message", n.message)
		if p.object == nil {
			continue
		}
		if _, err := p.Client.CoreV1().Events(p.workload.Namespace).Create(ctx, p.newRolloutEvent(n), metav1.CreateOptions{}); err != nil {
			p.rolloutPassLogger(ctx).Error(err, "Event cannot be written", "reason", n.reason)
		}
	}
	p.pendingEvents = nil
}

// maxEventMessageBytes is the API's limit of an Event's message, in bytes.
const maxEventMessageBytes = 1024

// newRolloutEvent returns an Event about the workload. It cuts a long message at the limit of the API, between two characters.
func (p *reconcilePass) newRolloutEvent(n pendingEvent) *corev1.Event {
	at := metav1.NewTime(p.now)
	text := n.message
	for len(text) > maxEventMessageBytes {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: p.workload.Name + ".", Namespace: p.workload.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: p.workload.APIVersion, Kind: p.workload.Kind, Namespace: p.workload.Namespace, Name: p.workload.Name, UID: p.object.GetUID(),
		},
		Reason: n.reason, Message: text, Type: n.eventType, Count: 1, FirstTimestamp: at, LastTimestamp: at,
		Source: corev1.EventSource{Component: hold.FieldManager}, ReportingController: domain.ScalerController, ReportingInstance: p.rolloutReportingInstance(),
	}
}

// rolloutReportingInstance returns the identity of this process for Events; the host name if the engine has no identity.
func (p *reconcilePass) rolloutReportingInstance() string {
	if p.Identity != "" {
		return p.Identity
	}
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}
