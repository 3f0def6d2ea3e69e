// An autoscaler: its target, the answers to its metrics, its limits and its neighbours.

package doctor

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// maxParallelVisits bounds how many autoscalers have their metrics read at a time: kube-apiserver serves others too.
const maxParallelVisits = 8

// autoscalerDiagnosis is the check of one autoscaler.
type autoscalerDiagnosis struct {
	*doctor
	hpa      *autoscalingv2.HorizontalPodAutoscaler
	subject  string
	workload *inventory.Workload
	pods     []*corev1.Pod
	answers  []reading.Answer            // one for each metric of the spec
	nearest  []string                    // for each metric that no page has, the served one that was probably meant; else empty
	usageAPI *apiregistration.APIService // of CPU and memory, where a read of them failed; nil: not read
	// decisions are the HPA's own on the answers; none at 0 or unknown pods.
	decisions []hpa.MetricDecision
}

// readAutoscalerVisits reads the metrics of the chosen autoscalers, several at a time.
func (d *doctor) readAutoscalerVisits(ctx context.Context) []*autoscalerDiagnosis {
	visits := make([]*autoscalerDiagnosis, len(d.hpas))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallelVisits)
	for i, hpa := range d.hpas {
		v := &autoscalerDiagnosis{doctor: d, hpa: hpa, subject: hpa.Namespace + "/" + hpa.Name, workload: d.objects.WorkloadOf(hpa)}
		visits[i] = v
		group.Go(func() error {
			v.pods = d.objects.PodsOf(v.workload)
			v.readVisitedMetricAnswers(ctx)
			return nil
		})
	}
	_ = group.Wait() // no read fails the report: a check shows the failure
	return visits
}

// checkVisitedAutoscaler judges an autoscaler after its metrics were read.
func (v *autoscalerDiagnosis) checkVisitedAutoscaler() {
	v.checkScaleTarget()
	v.checkRivalAutoscalers()
	v.checkTargetPods()
	v.checkUsageAPI()
	v.checkPodNetwork()
	for i := range v.answers {
		v.checkMetricAnswer(i)
	}
	v.checkScalingBehavior()
	v.checkHPAConditions()
	v.checkPodBudgets()
	v.checkKEDAOwner()
}

// formatVisitReadCommand returns a kubectl command in the autoscaler's namespace.
func (v *autoscalerDiagnosis) formatVisitReadCommand(format string, args ...any) string {
	return "kubectl -n " + v.hpa.Namespace + " " + fmt.Sprintf(format, args...)
}

func formatDescribeHPACommand(hpa *autoscalingv2.HorizontalPodAutoscaler) string {
	return fmt.Sprintf("kubectl -n %s describe hpa %s", hpa.Namespace, hpa.Name)
}

func (v *autoscalerDiagnosis) addVisitCheck(name string, status Status, message, fix string) {
	v.addDoctorCheck(name, v.subject, status, message, fix)
}

// checkScaleTarget checks that the scale target exists and has pods.
func (v *autoscalerDiagnosis) checkScaleTarget() {
	ref := v.hpa.Spec.ScaleTargetRef
	if inventory.LacksAppsGroup(ref) {
		v.addVisitCheck("target", StatusFail, fmt.Sprintf("the apiVersion of its target is %q, and %s is in apps/v1", ref.APIVersion, ref.Kind),
			v.formatVisitReadCommand(`patch hpa %s --type=merge -p '{"spec":{"scaleTargetRef":{"apiVersion":"apps/v1"}}}'`, v.hpa.Name))
		return
	}
	if v.workload != nil && v.objects.IsUnread("pods") {
		v.addVisitCheck("target", StatusUnread, v.workload.Ref()+", and its pods could not be read", "")
		return
	}
	if v.workload != nil {
		v.addVisitCheck("target", StatusOK, v.workload.Ref()+", "+output.Count(len(v.pods), "pod"), "")
		return
	}
	if fault := v.objects.TargetFaultOf(v.hpa); fault != "" {
		v.addVisitCheck("target", StatusFail, fmt.Sprintf("%s %s %s", ref.Kind, ref.Name, fault), v.formatTargetsReadCommand(fault))
		return
	}
	resource := map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets"}[ref.Kind]
	switch {
	case resource == "":
		v.addVisitCheck("target", StatusUnread, fmt.Sprintf("the pods of %s %s are unknown", ref.Kind, ref.Name), "")
	case v.objects.IsUnread(resource):
		v.addVisitCheck("target", StatusUnread, resource+" could not be read", "")
	default:
		v.addAbsentTargetCheck(resource)
	}
}

// addAbsentTargetCheck says that the scale target does not exist, and names the workload that was probably meant.
func (v *autoscalerDiagnosis) addAbsentTargetCheck(resource string) {
	ref := v.hpa.Spec.ScaleTargetRef
	message, fix := fmt.Sprintf("%s %s does not exist", ref.Kind, ref.Name), v.formatVisitReadCommand("get %s", resource)
	if near := v.findNearestTarget(); near != "" {
		message += "; nearest: " + near
		fix = v.formatVisitReadCommand(`patch hpa %s --type=merge -p '{"spec":{"scaleTargetRef":{"name":%q}}}'`, v.hpa.Name, near)
	}
	v.addVisitCheck("target", StatusFail, message, fix)
}

// checkRivalAutoscalers checks that no other autoscaler has the same target: the two would undo each other's work.
func (v *autoscalerDiagnosis) checkRivalAutoscalers() {
	for _, rival := range v.objects.RivalsOf(v.hpa) {
		ref := v.hpa.Spec.ScaleTargetRef
		v.addVisitCheck("rival", StatusFail, fmt.Sprintf("hpa/%s scales %s %s too: put the metrics of both into one autoscaler",
			rival.Name, ref.Kind, ref.Name), v.formatVisitReadCommand("delete hpa %s", chooseSuperfluousAutoscaler(v.hpa, rival).Name))
	}
}

// chooseSuperfluousAutoscaler returns the autoscaler to delete of two, in either order: KEDA would make its own anew, and
// the older is probably the original.
func chooseSuperfluousAutoscaler(a, b *autoscalingv2.HorizontalPodAutoscaler) *autoscalingv2.HorizontalPodAutoscaler {
	byKEDA, age := kube.FindScaledObject(a) != "", a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	switch {
	case byKEDA != (kube.FindScaledObject(b) != ""):
		if byKEDA {
			return b
		}
		return a
	case age > 0, age == 0 && a.Name > b.Name:
		return a
	}
	return b
}

// readVisitedMetricAnswers reads each metric as the HPA controller does.
func (v *autoscalerDiagnosis) readVisitedMetricAnswers(ctx context.Context) {
	v.answers = make([]reading.Answer, len(v.hpa.Spec.Metrics))
	for i, m := range v.hpa.Spec.Metrics {
		words := inventory.DescribeMetric(m)
		if v.workload == nil && m.Object == nil && m.External == nil {
			v.answers[i] = reading.Answer{Metric: words, Err: errNoTarget}
			continue
		}
		selector := ""
		if v.workload != nil {
			selector = v.workload.PodSelector().String()
		}
		v.answers[i] = v.Metrics.ReadMetric(ctx, v.hpa.Namespace, selector, m, words)
	}
	v.readUsageAPI(ctx)
	v.readNearestMetrics(ctx)
	if v.workload == nil || v.objects.IsUnread("pods") {
		return
	}
	in := reading.NewDecisionInput(v.hpa, v.answers, v.objects.SelectedPodsOf(v.workload), v.Now().Add(v.ahead))
	if in.SpecReplicas == 0 { // the controller has not looked yet, or the target is at 0
		in.SpecReplicas, in.StatusReplicas = int32(len(v.pods)), int32(len(v.pods)) //nolint:gosec // pods of one workload
	}
	v.decisions = reading.DecideMetrics(in)
}

// isScrapeBroken reports whether a metric lacks values because its pods are not scraped, or for a reason that may be that.
func (v *autoscalerDiagnosis) isScrapeBroken() bool {
	for i, a := range v.answers {
		m := v.hpa.Spec.Metrics[i]
		if a.Err == nil || m.Resource != nil || m.ContainerResource != nil || apierrors.IsNotFound(a.Err) {
			continue // the kubelet measures CPU and memory, and a metric that is unknown needs no scrape
		}
		if m.Pods != nil || mainStatusCause(a.Err) != "" {
			return true
		}
	}
	return false
}

// hasBrokenAnswer reports whether a metric has no value for another reason than that its pods are warming up.
func (v *autoscalerDiagnosis) hasBrokenAnswer() bool {
	for i, a := range v.answers {
		if a.Err == nil {
			continue
		}
		if status, _ := v.judgeAnswerError(i); status == StatusFail {
			return true
		}
	}
	return false
}

// checkPodBudgets checks that each budget of the workload lets a node drain while the autoscaler is at its minimum.
func (v *autoscalerDiagnosis) checkPodBudgets() {
	budgets := v.objects.BudgetsOf(v.workload)
	for _, b := range budgets {
		if words := describeBlockingBudget(b, int(inventory.MinReplicasOf(v.hpa))); words != "" {
			v.addVisitCheck("budget", StatusWarning, words,
				v.formatVisitReadCommand(`patch pdb %s --type=merge -p '{"spec":{"minAvailable":null,"maxUnavailable":1}}'`, b.Name))
			continue
		}
		v.checkBudgetDisruptions(b)
	}
	if len(budgets) > 1 {
		v.addVisitCheck("budget", StatusWarning, fmt.Sprintf("pdb/%s and pdb/%s select the same pods, and the eviction API evicts no pod of two budgets",
			budgets[0].Name, budgets[1].Name), v.formatVisitReadCommand("delete pdb %s", budgets[1].Name))
	}
}

// describeBlockingBudget says why a budget never permits a disruption while the autoscaler is at its minimum, or nothing.
func describeBlockingBudget(b *policyv1.PodDisruptionBudget, least int) string {
	if most := b.Spec.MaxUnavailable; most != nil {
		if n, err := intstr.GetScaledValueFromIntOrPercent(most, 100, true); err == nil && n == 0 {
			return fmt.Sprintf("pdb/%s has maxUnavailable: %s: no node can be drained", b.Name, most.String())
		}
	}
	if b.Spec.MinAvailable == nil || least == 0 { // without pods there is nothing to drain
		return ""
	}
	kept, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MinAvailable, least, true)
	if err != nil || kept < least {
		return ""
	}
	amount := b.Spec.MinAvailable.StrVal + " of the pods"
	if b.Spec.MinAvailable.Type == intstr.Int {
		amount = output.Count(kept, "pod")
	}
	return fmt.Sprintf("pdb/%s keeps %s and the autoscaler's minReplicas is %d: at the minimum no node can be drained", b.Name, amount, least)
}

// checkBudgetDisruptions checks that a budget permits a disruption now.
func (v *autoscalerDiagnosis) checkBudgetDisruptions(b *policyv1.PodDisruptionBudget) {
	if b.Status.ExpectedPods == 0 || b.Status.DisruptionsAllowed > 0 {
		v.addVisitCheck("budget", StatusOK, fmt.Sprintf("pdb/%s permits %s", b.Name, output.Count(int(b.Status.DisruptionsAllowed), "disruption")), "")
		return
	}
	v.addVisitCheck("budget", StatusWarning, fmt.Sprintf("pdb/%s permits no disruption: %d of %s healthy, %d wanted",
		b.Name, b.Status.CurrentHealthy, output.Count(int(b.Status.ExpectedPods), "pod"), b.Status.DesiredHealthy), v.formatVisitReadCommand("describe pdb %s", b.Name))
}

// checkKEDAOwner warns that KEDA overwrites manual changes of its autoscaler.
func (v *autoscalerDiagnosis) checkKEDAOwner() {
	owner, fix := kube.FindScaledObject(v.hpa), ""
	if owner == "" {
		return
	}
	if plaintext.IsShellWord(owner) {
		fix = v.formatVisitReadCommand("edit scaledobject %s", owner)
	}
	v.addVisitCheck("owner", StatusWarning, "KEDA owns this autoscaler and overwrites changes to it: edit its ScaledObject "+owner, fix)
}

// metricNamePath returns the path of a metric's name within its spec, for a JSON patch.
func metricNamePath(i int, m autoscalingv2.MetricSpec) string {
	return fmt.Sprintf("/spec/metrics/%d/%s/metric/name", i, strings.ToLower(string(m.Type)))
}
