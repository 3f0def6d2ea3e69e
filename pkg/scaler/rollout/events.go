// The Events of a pass.

package rollout

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// The reasons of Events are the states of holds and these words. All but Trouble are past participles in CamelCase.
const (
	reasonApproved        = "Approved"        // a person approved the hold's gates
	reasonBoundsChanged   = "BoundsChanged"   // the scaler changed the autoscaler's bounds
	reasonOwnershipKept   = "OwnershipKept"   // the scaler stays a field manager of a number that is given back
	reasonPaused          = "Paused"          // the hold counts for nothing
	reasonResumed         = "Resumed"         // the hold counts again
	reasonReplicasChanged = "ReplicasChanged" // the scaler changed the scale
	reasonTrouble         = "Trouble"         // the workload cannot be scaled, or a gate cannot be shut
	reasonUntold          = "Untold"          // nobody got a message
	reasonUnwatched       = "Unwatched"       // the number that watches an open gate cannot be read
	reasonWatched         = "Watched"         // the number that watches an open gate is within its bound again, or was to the end
	reasonBreached        = "Breached"        // the number that watches an open gate is above its bound
	reasonYielded         = "Yielded"         // another client changed a number, and the scaler leaves it
)

// passEvent is an Event about a workload, with the keys and values that its log line has besides.
type passEvent struct {
	*corev1.Event
	logKeys []any
}

// listHoldLogKeys returns the IDs and the owners of holds for a log line: a search for the ID of an event finds all that followed from it.
func listHoldLogKeys(holds []*hold.Object) []any {
	var ids, owners []string
	for _, h := range holds {
		ids = append(ids, h.HoldID())
		if h.Spec.By != "" && !slices.Contains(owners, h.Spec.By) {
			owners = append(owners, h.Spec.By)
		}
	}
	return []any{"hold", strings.Join(ids, ", "), "by", strings.Join(owners, ", ")}
}

// listNumberHolds lists the holds that a change of the workload's numbers is about: those that count, else the one whose record is given back.
func (o *HeldWorkload) listNumberHolds(now time.Time) []*hold.Object {
	all := o.listCountedHolds("", now)
	if _, keeper := o.findHoldNumbers(); keeper != nil && len(all) == 0 {
		all = append(all, keeper)
	}
	return all
}

// writePassEvents writes the Events to the log and to the workload. It runs after the changes, since no step depends on it.
func (p *workloadPass) writePassEvents(ctx context.Context) {
	for _, e := range p.events {
		p.passLogger(ctx).Info("Hold made progress", append(e.logKeys, "reason", e.Reason, "message", e.Message)...)
		if p.observed.Scale == nil {
			continue
		}
		e.InvolvedObject.UID = p.observed.Scale.UID
		if err := p.Cluster.WriteEvent(ctx, e.Event); err != nil {
			p.passLogger(ctx).Error(err, "Event cannot be written", "reason", e.Reason)
		}
	}
	p.events = nil
}

// maxEventMessageBytes is the API's limit of an Event's message, in bytes.
const maxEventMessageBytes = 1024

// addStepEvent keeps the Event of a step about a hold; nil: about the workload's numbers.
func (p *workloadPass) addStepEvent(s Step, about *hold.Object) {
	holds := []*hold.Object{about}
	if about == nil {
		holds = p.observed.listNumberHolds(p.now)
	}
	p.events = append(p.events, passEvent{p.newStepEvent(s), listHoldLogKeys(holds)})
}

// newStepEvent returns an Event about the workload. It cuts a long message at the limit of the API, between two characters.
func (p *workloadPass) newStepEvent(s Step) *corev1.Event {
	at := metav1.NewTime(p.now)
	text, kind := plaintext.Clip(s.Message, maxEventMessageBytes), corev1.EventTypeNormal
	if s.Warning {
		kind = corev1.EventTypeWarning
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: p.workload.Name + ".", Namespace: p.workload.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: p.workload.APIVersion, Kind: p.workload.Kind, Namespace: p.workload.Namespace, Name: p.workload.Name,
		},
		Reason: s.Reason, Message: text, Type: kind, Count: 1, FirstTimestamp: at, LastTimestamp: at,
		Source: corev1.EventSource{Component: hold.Manager}, ReportingController: domain.ScalerController, ReportingInstance: p.reportingInstance(),
	}
}

// reportingInstance returns the identity of this process for Events; the host name if the engine has no identity.
func (p *workloadPass) reportingInstance() string {
	if p.Identity != "" {
		return p.Identity
	}
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}
