package rollout

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestLogLinesNameTheEvent: each log line about a hold that an event made has the event's ID, from the raise to the return of the original numbers.
func TestLogLinesNameTheEvent(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	var lines []string
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	pass := func() {
		t.Helper()
		ctx := klog.NewContext(t.Context(), log)
		for range 4 {
			r, err := b.engine.ReconcileOnce(ctx, memoryRef("shop"), b.now)
			if err != nil {
				t.Fatal(err)
			}
			if r.HoldToVerify != "" {
				b.engine.VerifyHold(ctx, memoryRef("shop"), r.HoldToVerify, b.now)
			}
		}
	}
	h := saleHold()
	h.By = "event flash-42"
	b.apply(t, "shop", h)
	pass()
	w.ready = 20
	pass()
	b.release(t, "shop", "event/sale")
	pass()
	for _, reason := range []string{"Received", reasonBoundsChanged, reasonReplicasChanged, "Ready", "Verified", "Open", "Released"} {
		if !strings.Contains(strings.Join(lines, "\n"), `"reason"="`+reason+`"`) {
			t.Errorf("no line about %s", reason)
		}
	}
	for _, line := range lines {
		if !strings.Contains(line, `"hold"="event/sale" "by"="event flash-42"`) {
			t.Errorf("a line without the event: %s", line)
		}
	}
}
