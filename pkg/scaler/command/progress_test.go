package command

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// TestD11EndedBeforeItWasUp: a hold that ends, is released or is paused before it is up is no success of set: nobody is told that its pods are up.
func TestD11EndedBeforeItWasUp(t *testing.T) {
	t.Parallel()
	in := func(s hold.State) hold.Object {
		return hold.Object{ObjectMeta: metav1.ObjectMeta{Name: "shop-a", UID: "a", Generation: 1}, Spec: hold.Spec{ID: "set/a"}, Status: hold.Status{State: s, ObservedGeneration: 1}}
	}
	over, paused, givingBack := in(hold.Released), in(hold.Released), in(hold.Scaled)
	over.Spec.Until, paused.Spec.Paused, givingBack.Spec.Until = &metav1.Time{Time: time.Unix(1, 0)}, true, &metav1.Time{Time: time.Unix(1, 0)}
	for name, c := range map[string]struct {
		passes   []rollout.Result
		wait     bool
		finished bool
		fails    bool
	}{
		"up":                     {[]rollout.Result{{Holds: []hold.Object{in(hold.Open)}}}, true, true, false},
		"scaled, without --wait": {[]rollout.Result{{Holds: []hold.Object{in(hold.Scaled)}}}, false, true, false},
		"scaled, with --wait":    {[]rollout.Result{{Holds: []hold.Object{in(hold.Scaled)}}}, true, false, true},
		"over":                   {[]rollout.Result{{EndedHolds: []hold.Object{over}}}, true, true, true},
		"over, it stays":         {[]rollout.Result{{Holds: []hold.Object{over}}}, true, true, true},
		"over, not given back":   {[]rollout.Result{{Holds: []hold.Object{givingBack}}}, true, false, true},
		"paused":                 {[]rollout.Result{{Holds: []hold.Object{paused}}}, true, true, true},
		"released by another":    {[]rollout.Result{{Holds: []hold.Object{in(hold.Scaled)}}, {}}, true, true, true},
		"... before it began":    {[]rollout.Result{{Holds: []hold.Object{in(hold.Received)}}, {}}, false, true, true},
	} {
		f := &holdProgressPrinter{outputPrinter: &outputPrinter{out: &strings.Builder{}}, holdID: "set/a", isEnough: func(s hold.State) bool { return s == hold.Open || !c.wait && s == hold.Scaled }}
		finished := false
		for _, r := range c.passes {
			f.showHoldResult(r)
			finished = f.isHoldFinished(r)
		}
		err := f.finalHoldError(t.Context(), nil)
		if finished != c.finished || (err != nil) != c.fails {
			t.Errorf("%s: finished %t, %v", name, finished, err)
		}
	}
}
