// The answer to the read of a metric, judged by the adapter's own words.

package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// oldValue is the age at which a value is worth a warning: the HPA looks every 15 s, and four looks saw nothing new.
const oldValue = time.Minute

// The causes in the adapter's status; they are its reasons for an omission.
const (
	causeScrapeFailed metav1.CauseType = "scrape_failed"
	causeWarmingUp    metav1.CauseType = "warming_up"
	causeStale        metav1.CauseType = "stale"
	causeAbsent       metav1.CauseType = "absent"
	causeNotScraped   metav1.CauseType = "not_scraped"
)

var (
	errNoTarget = errors.New("its pods are unknown")
	// nearestMetric is how the adapter names the metric that was probably meant.
	nearestMetric = regexp.MustCompile(`; nearest: (\S+)$`)
	// absentObject matches the adapter's words about an object that does not exist.
	absentObject = regexp.MustCompile(`: the object does not exist|^pod \S+ does not exist`)
)

// checkMetricAnswer judges the answer to the i-th metric.
func (v *autoscalerDiagnosis) checkMetricAnswer(i int) {
	a := v.answers[i]
	words, other := a.Metric+": ", v.describeOtherServer(i)
	switch {
	case errors.Is(a.Err, errNoTarget), reading.IsOwnFailure(a.Err):
		v.addVisitCheck("metric", StatusUnread, words+a.Err.Error(), "")
	case len(a.Values) == 0 && v.isTargetAtZero() && isVisitedPodsMetric(v.hpa.Spec.Metrics[i]):
		v.addVisitCheck("metric", StatusOK, words+"no pod has a value, since the target is at 0 replicas", "")
	case a.Err != nil && other != "":
		v.addVisitCheck("metric", StatusFail, words+a.Err.Error()+other, "kubectl get apiservice "+checkedAPIServices[2])
	case errors.Is(a.Err, reading.ErrNoValues):
		v.addVisitCheck("metric", StatusFail, words+"the API answers without any value", v.formatRawReadCommand(a.Path))
	case a.Err != nil:
		status, fix := v.judgeAnswerError(i)
		text := words + a.Err.Error()
		if near := v.nearest[i]; near != "" {
			text += "; nearest on the pages: " + near
		}
		v.addVisitCheck("metric", status, text, fix)
	case len(a.Values) == 0 && v.hpa.Spec.Metrics[i].ContainerResource != nil:
		v.checkMetricContainer(i)
	case len(a.Values) == 0:
		v.addVisitCheck("metric", StatusFail, words+"the API answers without any value", v.formatRawReadCommand(a.Path))
	case i < len(v.decisions) && v.decisions[i].Err != nil && len(v.decisions[i].Pods.Ready) == 0 && len(v.decisions[i].Pods.Unready) > 0:
		v.addVisitCheck("metric", StatusWarning, words+"the values of starting pods do not count yet", v.formatPluginCommand("doctor", "hpa/"+v.hpa.Name))
	case i < len(v.decisions) && v.decisions[i].Err != nil:
		v.addVisitCheck("metric", StatusFail, words+v.decisions[i].Err.Error(), v.formatRequestCommand(i))
	default:
		v.checkAnswerValues(words, i)
	}
}

// describeOtherServer says that another adapter answers reads of an external metric; empty for other metrics, and where KEDA serves its own
// autoscaler.
func (v *autoscalerDiagnosis) describeOtherServer(i int) string {
	for _, s := range v.services {
		if at := s.Spec.Service; v.hpa.Spec.Metrics[i].External != nil && s.Name == checkedAPIServices[2] && at != nil && !v.isAdapterAPIService(s) && kube.FindScaledObject(v.hpa) == "" {
			return fmt.Sprintf("; %s/%s serves all external metrics of this cluster, not the adapter", at.Namespace, at.Name)
		}
	}
	return ""
}

// isTargetAtZero reports whether the scale target has been scaled to 0.
func (v *autoscalerDiagnosis) isTargetAtZero() bool {
	return v.workload != nil && len(v.pods) == 0 && (v.workload.Replicas == nil || *v.workload.Replicas == 0) && v.hpa.Status.CurrentReplicas == 0
}

// isUsageMetric reports whether a metric is CPU or memory, of metrics.k8s.io.
func isUsageMetric(m autoscalingv2.MetricSpec) bool {
	return m.Resource != nil || m.ContainerResource != nil
}

func isVisitedPodsMetric(m autoscalingv2.MetricSpec) bool {
	return m.Object == nil && m.External == nil
}

// formatRequestCommand returns the command that gives a container of the workload the request that the i-th metric lacks. The amount is an
// example. For another error, or a container that the template does not have, it is the command that shows the autoscaler.
func (v *autoscalerDiagnosis) formatRequestCommand(i int) string {
	m := v.hpa.Spec.Metrics[i]
	name, container := corev1.ResourceName(""), ""
	switch {
	case m.Resource != nil:
		name = m.Resource.Name
	case m.ContainerResource != nil:
		name, container = m.ContainerResource.Name, m.ContainerResource.Container
	}
	amount := map[corev1.ResourceName]string{corev1.ResourceCPU: "100m", corev1.ResourceMemory: "128Mi"}[name]
	isMissing := strings.Contains(v.decisions[i].Err.Error(), "missing request") && amount != "" && v.workload.Group == ""
	for _, c := range v.workload.Template.Spec.Containers {
		if _, ok := c.Resources.Requests[name]; !ok && isMissing && (container == "" || c.Name == container) {
			return v.formatVisitReadCommand("set resources %s -c %s --requests=%s=%s", v.workload.Ref(), c.Name, name, amount)
		}
	}
	return formatDescribeHPACommand(v.hpa)
}

// checkMetricContainer says that no pod reports the container of the i-th metric, and which containers there are.
func (v *autoscalerDiagnosis) checkMetricContainer(i int) {
	message, fix := v.answers[i].Metric+": no pod reports this container", v.formatRawReadCommand(v.answers[i].Path)
	if v.workload != nil && len(v.workload.Template.Spec.Containers) > 0 {
		var names []string
		for _, c := range podpage.Containers(&v.workload.Template.Spec) {
			names = append(names, c.Name)
		}
		message += fmt.Sprintf("; %s has %s", v.workload.Ref(), strings.Join(names, ", "))
		if len(names) == 1 && names[0] != v.hpa.Spec.Metrics[i].ContainerResource.Container {
			fix = v.formatVisitReadCommand(`patch hpa %s --type=json -p '[{"op":"replace","path":"/spec/metrics/%d/containerResource/container","value":%q}]'`, v.hpa.Name, i, names[0])
		}
	}
	v.addVisitCheck("metric", StatusFail, message, fix)
}

// checkAnswerValues judges the age and the completeness of the values of the i-th metric.
func (v *autoscalerDiagnosis) checkAnswerValues(words string, i int) {
	a, spec := v.answers[i], v.hpa.Spec.Metrics[i]
	age := v.Now().Add(v.ahead).Sub(a.Oldest()).Round(time.Second)
	text := fmt.Sprintf("%s%s, the oldest is %s old", words, output.Count(len(a.Values), "value"), age)
	switch {
	case age > oldValue && isUsageMetric(spec):
		v.addVisitCheck("metric", StatusWarning, text+": metrics-server measures no more, or this clock is wrong", "kubectl get apiservice "+usageAPIService)
	case age > oldValue:
		v.addVisitCheck("metric", StatusWarning, text+": the pods are not scraped any more, or this clock is wrong", v.formatRawReadCommand(a.Path))
	case age < -reading.ClockSkew:
		v.addVisitCheck("metric", StatusWarning, fmt.Sprintf("%sthe oldest value lies %s in the future: this machine's clock and the adapter's differ", words, -age), "date -u")
	case isVisitedPodsMetric(spec) && len(a.Values) < len(v.pods):
		fix := v.formatPageCommand(v.findPodsWithoutValue(a), a.Path)
		if isUsageMetric(spec) { // the kubelet measures it, and no page of a pod has it
			fix = v.formatRawReadCommand(a.Path)
		}
		v.addVisitCheck("metric", StatusWarning, fmt.Sprintf("%s; %d of %d pods without a value", text, len(v.pods)-len(a.Values), len(v.pods)), fix)
	case v.isTargetOfThousandths(i):
		v.addThousandthsCheck(i)
	default:
		v.addVisitCheck("metric", StatusOK, text, "")
	}
}

// formatPluginCommand returns a command of this plugin. kubectl wants the flags of a plugin behind its name.
func (v *autoscalerDiagnosis) formatPluginCommand(command, subject string) string {
	return strings.Join(strings.Fields("kubectl tachometer "+command+" "+subject+" -n "+v.hpa.Namespace), " ")
}

func (v *autoscalerDiagnosis) formatRawReadCommand(path string) string {
	if path == "" { // its object is of a kind that the cluster does not serve
		return "kubectl api-resources"
	}
	return "kubectl get --raw '" + path + "'"
}

// judgeAnswerError returns the outcome for an error, and the command that mends its cause.
func (v *autoscalerDiagnosis) judgeAnswerError(i int) (status Status, fix string) {
	a := v.answers[i]
	if near := nearestMetric.FindStringSubmatch(a.Err.Error()); near != nil && plaintext.IsShellWord(near[1]) {
		return StatusFail, v.formatVisitReadCommand(`patch hpa %s --type=json -p '[{"op":"replace","path":%q,"value":%q}]'`,
			v.hpa.Name, metricNamePath(i, v.hpa.Spec.Metrics[i]), near[1])
	}
	cause := mainStatusCause(a.Err)
	switch cause {
	case causeWarmingUp:
		return StatusWarning, v.formatPluginCommand("doctor", "hpa/"+v.hpa.Name)
	case causeScrapeFailed, causeNotScraped:
		if fix := cmp.Or(v.formatSchemeCommand(a.Err.Error()), v.formatScrapeCommand()); fix != "" {
			return StatusFail, fix
		}
		return StatusFail, v.formatPageCommand(v.pods, a.Path)
	case causeStale:
		return StatusFail, v.formatPageCommand(v.pods, a.Path)
	case causeAbsent:
		if strings.Contains(a.Metric, "{") { // the page shows the labels that its selector may mistype
			return StatusFail, v.formatPageCommand(v.pods, a.Path)
		}
		return StatusFail, v.formatPluginCommand("metrics", v.formatScaleTarget())
	}
	if apierrors.IsNotFound(a.Err) && isUsageMetric(v.hpa.Spec.Metrics[i]) {
		return StatusFail, "kubectl get apiservice v1beta1." + reading.ResourceGroup // the adapter's metrics do not help
	}
	if o := v.hpa.Spec.Metrics[i].Object; o != nil && strings.HasSuffix(a.Err.Error(), "has no pods") && plaintext.IsShellWord(o.DescribedObject.Kind) {
		return StatusFail, v.formatVisitReadCommand("describe %s %s", strings.ToLower(o.DescribedObject.Kind), o.DescribedObject.Name) // its selector
	}
	if o := v.hpa.Spec.Metrics[i].Object; o != nil && apierrors.IsNotFound(a.Err) && absentObject.MatchString(a.Err.Error()) {
		if plural, err := v.Metrics.FindResource(o.DescribedObject); err == nil {
			return StatusFail, v.formatVisitReadCommand("get %s", plural)
		}
	}
	if apierrors.IsNotFound(a.Err) {
		return StatusFail, v.formatPluginCommand("metrics", v.formatScaleTarget())
	}
	if a.Path == "" && v.hpa.Spec.Metrics[i].Object == nil { // the spec itself is faulty: an unknown type, an invalid selector
		return StatusFail, v.formatVisitReadCommand("edit hpa %s", v.hpa.Name)
	}
	return StatusFail, v.formatRawReadCommand(a.Path)
}

// formatScaleTarget returns the argument of the command metrics: a workload of its kinds, else a pod.
func (v *autoscalerDiagnosis) formatScaleTarget() string {
	switch {
	case v.workload == nil, v.workload.Group != "" && len(v.pods) == 0:
		return ""
	case v.workload.Group != "":
		return v.pods[0].Name
	}
	return v.workload.Ref()
}

// mainStatusCause returns the first cause of a status; an error without any has the cause "warming_up" only by its text.
func mainStatusCause(err error) metav1.CauseType {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return ""
	}
	if d := status.ErrStatus.Details; d != nil && len(d.Causes) > 0 {
		return d.Causes[0].Type
	}
	if strings.HasPrefix(status.ErrStatus.Message, "warming up") {
		return causeWarmingUp
	}
	return ""
}

// formatSchemeCommand returns the command that annotates the scheme that the target speaks, by the adapter's words about a failed scrape; else nothing.
func (v *autoscalerDiagnosis) formatSchemeCommand(failure string) string {
	switch {
	case v.workload == nil:
		return ""
	case strings.Contains(failure, "the target speaks TLS"):
		return v.formatAnnotationCommand(podpage.AnnotationScheme, `"https"`)
	case strings.Contains(failure, "the target speaks plain HTTP"):
		return v.formatAnnotationCommand(podpage.AnnotationScheme, "null")
	}
	return ""
}

// formatScrapeCommand returns the command that mends the annotations by which the adapter does not scrape the pods, or scrapes a port that no
// container declares, or that chooses the first of several ports; else nothing.
func (v *autoscalerDiagnosis) formatScrapeCommand() string {
	if v.workload == nil {
		return ""
	}
	annotations, containers := v.workload.Template.Annotations, podpage.Containers(&v.workload.Template.Spec)
	if text := podpage.Annotation(annotations, podpage.AnnotationScrape); text != "" && text != "true" {
		return v.formatAnnotationCommand(podpage.AnnotationScrape, "null")
	}
	if _, err := podpage.Scheme(annotations); err != nil {
		return v.formatAnnotationCommand(podpage.AnnotationScheme, "null")
	}
	declared := podpage.DeclaredPorts(containers, "")
	port, err := podpage.Port(annotations, containers)
	isDeclared := err == nil && podpage.Declares(containers, port.ContainerPort)
	isAmbiguous := err != nil && len(declared) > 1
	if len(declared) == 0 || isDeclared || podpage.Annotation(annotations, podpage.AnnotationPort) == "" && !isAmbiguous {
		return ""
	}
	best, err := podpage.Port(nil, containers) // without the annotation
	if err != nil {
		best = declared[0]
	}
	return v.formatAnnotationCommand(podpage.AnnotationPort, fmt.Sprintf(`"%d"`, best.ContainerPort))
}

// formatAnnotationCommand returns the command that sets an annotation of the target's pods to a value in JSON; null removes it.
func (v *autoscalerDiagnosis) formatAnnotationCommand(name, value string) string {
	how := ""
	if v.workload.Group != "" {
		how = " --type=merge" // custom resources know no other
	}
	return v.formatVisitReadCommand(`patch %s%s -p '{"spec":{"template":{"metadata":{"annotations":{%q:%s}}}}}'`, v.workload.Ref(), how, name, value)
}

// findPodsWithoutValue returns the pods that an answer leaves out, ready ones first.
func (v *autoscalerDiagnosis) findPodsWithoutValue(a reading.Answer) []*corev1.Pod {
	pods := slices.DeleteFunc(slices.Clone(v.pods), func(p *corev1.Pod) bool {
		return slices.ContainsFunc(a.Values, func(value reading.Value) bool { return value.Object == p.Name })
	})
	slices.SortStableFunc(pods, func(x, y *corev1.Pod) int {
		switch ready := inventory.IsReady(x); {
		case ready == inventory.IsReady(y):
			return 0
		case ready:
			return -1
		}
		return 1
	})
	return pods
}

// formatPageCommand returns the command that shows the metrics page of the first pod, or the read of path where no pod is known.
func (v *autoscalerDiagnosis) formatPageCommand(pods []*corev1.Pod, path string) string {
	if len(pods) == 0 {
		return v.formatRawReadCommand(path)
	}
	page, err := inventory.ScrapedPage(pods[0])
	if err != nil || strings.ContainsRune(page, '\'') || pods[0].Status.Phase == corev1.PodPending { // which has no page yet
		return v.formatVisitReadCommand("describe pod %s", pods[0].Name)
	}
	if plaintext.IsShellWord(strings.NewReplacer("/", "", ":", "").Replace(page)) {
		return "kubectl get --raw " + page
	}
	return v.formatRawReadCommand(page)
}
