// The answer to the read of a metric, judged by the adapter's own words.

package doctor

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

const (
	// oldValue is the age at which a value is worth a warning: the HPA looks every 15 s, and four looks saw nothing new.
	oldValue = time.Minute
	// clockSkew is how far a value may lie in the future before the clocks are worth a look.
	clockSkew = 5 * time.Second
	// portAnnotation names the port of a pod's metrics page.
	portAnnotation = "prometheus.io/port"
)

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
)

// checkVisitedAnswer judges the answer to the i-th metric.
func (v *autoscalerVisit) checkVisitedAnswer(i int) {
	a := v.answers[i]
	words := a.Metric + ": "
	switch {
	case errors.Is(a.Err, errNoTarget), apierrors.IsForbidden(a.Err):
		v.addVisitCheck("metric", StatusUnread, words+a.Err.Error(), "")
	case a.Err != nil:
		status, fix := v.judgeVisitedError(i)
		v.addVisitCheck("metric", status, words+a.Err.Error(), fix)
	case len(a.Values) == 0:
		v.addVisitCheck("metric", StatusFail, words+"the API answers without any value", v.formatRawReadCommand(a.Path))
	default:
		v.checkVisitedValues(words, a)
	}
}

// checkVisitedValues judges the age and the completeness of values.
func (v *autoscalerVisit) checkVisitedValues(words string, a reading.Answer) {
	age := v.Now.Sub(a.Oldest()).Round(time.Second)
	text := fmt.Sprintf("%s%d values, the oldest is %s old", words, len(a.Values), age)
	switch {
	case age > oldValue:
		v.addVisitCheck("metric", StatusWarning, text+": the pods are not scraped any more, or this clock is wrong", v.formatRawReadCommand(a.Path))
	case age < -clockSkew:
		v.addVisitCheck("metric", StatusWarning, fmt.Sprintf("%sthe oldest value lies %s in the future: this machine's clock and the adapter's differ", words, -age), "date -u")
	case a.Values[0].Object != "" && strings.HasSuffix(a.Metric, " of pods") && len(a.Values) < len(v.pods):
		v.addVisitCheck("metric", StatusWarning, fmt.Sprintf("%s; %d of %d pods have none", text, len(v.pods)-len(a.Values), len(v.pods)),
			v.formatRawReadCommand(a.Path))
	default:
		v.addVisitCheck("metric", StatusOK, text, "")
	}
}

// formatPluginCommand returns a command of this plugin. kubectl wants the flags of a plugin behind its name.
func (v *autoscalerVisit) formatPluginCommand(command, subject string) string {
	return strings.Join(strings.Fields("kubectl tachometer "+command+" "+subject+" -n "+v.hpa.Namespace), " ")
}

func (v *autoscalerVisit) formatRawReadCommand(path string) string {
	return "kubectl get --raw '" + path + "'"
}

// judgeVisitedError returns the outcome for an error, and the command that mends its cause.
func (v *autoscalerVisit) judgeVisitedError(i int) (status Status, fix string) {
	a := v.answers[i]
	if near := nearestMetric.FindStringSubmatch(a.Err.Error()); near != nil {
		return StatusFail, v.formatVisitCommand(`patch hpa %s --type=json -p '[{"op":"replace","path":%q,"value":%q}]'`,
			v.hpa.Name, metricNamePath(i, v.hpa.Spec.Metrics[i]), near[1])
	}
	cause := mainStatusCause(a.Err)
	switch cause {
	case causeWarmingUp:
		return StatusWarning, v.formatPluginCommand("doctor", "hpa/"+v.hpa.Name)
	case causeScrapeFailed, causeNotScraped:
		if fix := v.formatPortCommand(); fix != "" {
			return StatusFail, fix
		}
		return StatusFail, v.formatPageCommand(a.Path)
	case causeStale:
		return StatusFail, v.formatPageCommand(a.Path)
	case causeAbsent:
		return StatusFail, v.formatPluginCommand("metrics", v.formatVisitedTarget())
	}
	if apierrors.IsNotFound(a.Err) {
		return StatusFail, v.formatPluginCommand("metrics", v.formatVisitedTarget())
	}
	return StatusFail, v.formatRawReadCommand(a.Path)
}

func (v *autoscalerVisit) formatVisitedTarget() string {
	if v.workload == nil {
		return ""
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

// formatPortCommand returns the command that mends a port annotation that no container declares, or nothing.
func (v *autoscalerVisit) formatPortCommand() string {
	if v.workload == nil {
		return ""
	}
	annotated := v.workload.Template.Annotations[portAnnotation]
	declared := listDeclaredPorts(v.workload.Template.Spec)
	for _, p := range declared {
		if strconv.Itoa(int(p.ContainerPort)) == annotated {
			return ""
		}
	}
	if annotated == "" || len(declared) == 0 {
		return ""
	}
	best := declared[0]
	for _, p := range declared {
		if p.Name == "metrics" || p.Name == "http-metrics" {
			best = p
		}
	}
	return v.formatVisitCommand(`patch %s -p '{"spec":{"template":{"metadata":{"annotations":{%q:"%d"}}}}}'`,
		v.workload.Ref(), portAnnotation, best.ContainerPort)
}

// listDeclaredPorts returns the TCP ports of all containers.
func listDeclaredPorts(spec corev1.PodSpec) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for _, c := range spec.Containers {
		for _, p := range c.Ports {
			if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
				ports = append(ports, p)
			}
		}
	}
	return ports
}

// formatPageCommand returns the command that shows the metrics page of a pod, or the read of path where no pod is known.
func (v *autoscalerVisit) formatPageCommand(path string) string {
	if len(v.pods) == 0 {
		return v.formatRawReadCommand(path)
	}
	port := v.workload.Template.Annotations[portAnnotation]
	if declared := listDeclaredPorts(v.workload.Template.Spec); port == "" && len(declared) > 0 {
		port = strconv.Itoa(int(declared[0].ContainerPort))
	}
	return fmt.Sprintf("kubectl get --raw /api/v1/namespaces/%s/pods/%s:%s/proxy/metrics", v.hpa.Namespace, v.pods[0].Name, port)
}
