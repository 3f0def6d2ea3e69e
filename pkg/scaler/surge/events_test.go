package surge

import (
	"context"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// keptEvent keeps the last Event.
type keptEvent struct{ corev1.Event }

func (k *keptEvent) WriteEvent(_ context.Context, e *corev1.Event) error {
	k.Event = *e
	return nil
}

// TestEventsAreHarmless: whoever writes the status of a Hold writes no control characters into an Event, nor more than an Event takes.
func TestEventsAreHarmless(t *testing.T) {
	t.Parallel()
	var kept keptEvent
	lane := New(Options{Events: &kept})
	message := "no raise: the hold was undone (\x1b[2J\u202e\nWARNING" + strings.Repeat("ä", maxEventText) + ")"
	lane.recordLaneNotice(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{}, Notice{Reason: ReasonStopped, Message: message})
	want := `no raise: the hold was undone (\x1b[2J\u202e WARNINGä`
	if !strings.HasPrefix(kept.Message, want) || len(kept.Message) > maxEventText || !strings.HasSuffix(kept.Message, "ä…") {
		t.Errorf("%d bytes: %q", len(kept.Message), kept.Message)
	}
}
