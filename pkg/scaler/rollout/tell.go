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

// remark is an Event to be.
type remark struct{ kind, reason, text string }

func (p *pass) say(reason, format string, args ...any) {
	p.said = append(p.said, remark{corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...)})
}

func (p *pass) warn(reason, format string, args ...any) {
	p.said = append(p.said, remark{corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...)})
}

// announce tells those whom the hold names, and shows it on the target.
func (p *pass) announce(ctx context.Context, h *hold.Hold, outcome string) {
	p.say("Outcome", "hold %s: %s", h.ID, outcome)
	report := p.reports.take(p.target, h.ID)
	if len(h.Notify) == 0 {
		return
	}
	m := notify.Message{
		Time: p.now, Outcome: outcome, Workload: p.target, Hold: h.ID, Reason: h.Reason, By: h.By, Why: h.Why, Report: report,
	}
	if err := p.Notifier.Post(h.Notify, m); err != nil {
		p.log(ctx).Error(err, "Nobody can be told", "hold", h.ID, "outcome", outcome)
	}
}

// tell writes what was said, after all that was to be done: to the log, and as Events on the target, which nothing depends on.
func (p *pass) tell(ctx context.Context) {
	for _, n := range p.said {
		p.log(ctx).Info("Step", "reason", n.reason, "message", n.text)
		if p.object == nil {
			continue
		}
		if _, err := p.Client.CoreV1().Events(p.target.Namespace).Create(ctx, p.event(n), metav1.CreateOptions{}); err != nil {
			p.log(ctx).Error(err, "Event cannot be written", "reason", n.reason)
		}
	}
	p.said = nil
}

// maxNote is the API's bound of an Event's text, in bytes.
const maxNote = 1024

func (p *pass) event(n remark) *corev1.Event {
	at := metav1.NewTime(p.now)
	text := n.text
	for len(text) > maxNote {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: p.target.Name + ".", Namespace: p.target.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: p.target.APIVersion, Kind: p.target.Kind, Namespace: p.target.Namespace, Name: p.target.Name, UID: p.object.GetUID(),
		},
		Reason: n.reason, Message: text, Type: n.kind, Count: 1, FirstTimestamp: at, LastTimestamp: at,
		Source: corev1.EventSource{Component: hold.FieldManager}, ReportingController: domain.ScalerController, ReportingInstance: p.instance(),
	}
}

func (p *pass) instance() string {
	if p.Identity != "" {
		return p.Identity
	}
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}
