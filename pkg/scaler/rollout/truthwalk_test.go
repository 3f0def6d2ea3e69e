// The truth of a walk's world about gates: which pods there are, which were tested, and which were there before a hold. No status says it.

package rollout

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// gateTruth judges the openings of gates.
type gateTruth struct {
	passed map[testedProcess]bool           // the last verdict of each hold about each process of a pod
	old    map[types.UID]map[types.UID]bool // the pods that were there before each hold
	opened map[string]map[types.UID]bool    // the holds that were complete when a gate opened, until it is shut, by gate
	world  *memoryCluster
}

func newGateTruth(world *memoryCluster) *gateTruth {
	return &gateTruth{passed: map[testedProcess]bool{}, old: map[types.UID]map[types.UID]bool{}, opened: map[string]map[types.UID]bool{}, world: world}
}

// truthChecker notes the pods that a verification tested.
type truthChecker struct {
	*memoryChecker

	truth *gateTruth
	bench *bench
}

// testedProcess is a process of a pod that a hold tested: another hold may test something else of it. The zero hold stands for the last one.
type testedProcess struct {
	hold    types.UID
	process string
}

func (c *truthChecker) Run(ctx context.Context, spec verify.Spec, now, old []corev1.Pod) (verify.Report, error) {
	r, err := c.memoryChecker.Run(ctx, spec, now, old)
	for i := range now {
		process := processOfPod(&now[i])
		c.truth.passed[testedProcess{c.bench.verifying, process}], c.truth.passed[testedProcess{"", process}] = r.Passed, r.Passed
	}
	return r, err
}

// processOfPod identifies a pod since it became ready last.
func processOfPod(pod *corev1.Pod) string {
	return fmt.Sprint(pod.UID, " ", findRolloutPodReadyTime(pod).UTC())
}

// noteBegin is called after each write of a status: a hold that begins, or asks for more after it was open, finds the pods of this moment. A hold that
// begins again finds them if none of its own pods can be among them.
func (g *gateTruth) noteBegin(before, after *hold.Object) {
	from := before.Status.State
	if after.Status.State != hold.Received || from.IsActive() && (from != hold.Open || before.Status.ObservedGeneration == after.Status.ObservedGeneration) {
		return
	}
	found := map[types.UID]bool{}
	for _, pod := range g.listPods(after) {
		found[pod.UID] = true
	}
	if again := from == hold.RolledBack || from == hold.Released; !again || len(found) <= len(g.old[after.UID]) {
		g.old[after.UID] = found
	}
}

// listPods lists the pods of a hold's workload.
func (g *gateTruth) listPods(h *hold.Object) []corev1.Pod {
	w := g.world.workloads[h.HeldWorkload().Name]
	if w == nil || w.gone {
		return nil
	}
	return w.listPods(g.world)
}

// describeLack returns what a hold and the holds of its group lack now; empty: nothing.
func (g *gateTruth) describeLack(h *hold.Object) string {
	members := 1
	for _, m := range g.world.holds {
		if m.UID == h.UID || m.Spec.Group == nil || h.Spec.Group == nil || m.Spec.Group.Name != h.Spec.Group.Name {
			continue
		}
		members++
		if lack := g.describeOwnLack(m); lack != "" {
			return "in its group " + lack
		}
	}
	if g := h.Spec.Group; g != nil && members < g.Size {
		return fmt.Sprintf("%s has %d of %d workloads", h.Name, members, g.Size)
	}
	return g.describeOwnLack(h)
}

// describeOwnLack returns what the workload of a hold lacks for it; empty: nothing.
func (g *gateTruth) describeOwnLack(h *hold.Object) string {
	if h.IsOver(g.world.now) {
		return h.Name + " is over"
	}
	ready, verified := 0, 0
	for _, pod := range g.listPods(h) {
		if !isRolloutPodReady(&pod) {
			continue
		}
		ready++
		if h.Spec.Verify == nil || g.old[h.UID][pod.UID] || g.hasPassed(h, processOfPod(&pod)) {
			verified++
		}
	}
	if verified < int(h.Spec.Replicas) {
		return fmt.Sprintf("%s has %d verified pods of %d ready ones; %d are asked for", h.Name, verified, ready, h.Spec.Replicas)
	}
	return ""
}

// hasPassed reports whether a process passed the last test of a hold, or that of another hold if this one did not test it: it was there before.
func (g *gateTruth) hasPassed(h *hold.Object, process string) bool {
	if passed, tested := g.passed[testedProcess{h.UID, process}]; tested {
		return passed
	}
	return g.passed[testedProcess{"", process}]
}

// judgeOpening is called when a gate opens: one hold on it is complete now, or was when the gate opened and lasts.
func (g *gateTruth) judgeOpening(gate string) (lack string) {
	lack = "no hold asks for it"
	isOpenFor := false
	for _, h := range g.world.holds {
		if !slices.Contains(h.Spec.Gates, gate) || h.IsOver(g.world.now) {
			continue
		}
		switch l := g.describeLack(h); {
		case l == "":
			if g.opened[gate] == nil {
				g.opened[gate] = map[types.UID]bool{}
			}
			g.opened[gate][h.UID], isOpenFor = true, true
		case g.opened[gate][h.UID]:
			isOpenFor = true
		default:
			lack = l
		}
	}
	if isOpenFor {
		return ""
	}
	return lack
}

// hasLastingHold reports whether a hold that an open gate opened for lasts.
func (g *gateTruth) hasLastingHold(gate string) bool {
	for _, h := range g.world.holds {
		if g.opened[gate][h.UID] && !h.IsOver(g.world.now) {
			return true
		}
	}
	return false
}
