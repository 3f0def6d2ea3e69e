// The hops between kube-apiserver and the adapter: APIServices, Service, endpoints, pods and discovery.

package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// Where the manifests install the adapter: used where no APIService says otherwise.
const (
	defaultAdapterNamespace = "tachometer"
	defaultAdapterService   = "tachometer-adapter"
)

// checkedAPIServices are the APIServices of the two APIs that the adapter serves.
var checkedAPIServices = []string{
	reading.CustomVersion + "." + reading.CustomGroup,
	"v1beta1." + reading.CustomGroup,
	"v1beta1." + reading.ExternalGroup,
}

// applyAdapterCommand installs the adapter from a checkout.
const applyAdapterCommand = "kubectl apply -k manifests/adapter"

// explainAPIService is the APIService of the API that no other adapter serves.
const explainAPIService = "v1alpha1." + domain.ExplainGroup

// checkAPIServices checks that each APIService is registered. It learns where the adapter runs from the APIService that is the adapter's
// alone, or else from the first.
func (d *doctor) checkAPIServices(ctx context.Context) {
	d.adapter = adapterPlace{namespace: defaultAdapterNamespace, service: defaultAdapterService, port: 443}
	own, err := d.readAPIService(ctx, explainAPIService)
	isLocated := err == nil && d.locateAdapter(own)
	defer d.checkExplainAPIService(own, err)
	for _, name := range checkedAPIServices {
		service, err := d.readAPIService(ctx, name)
		if apierrors.IsNotFound(err) {
			d.addMissingAPIServiceCheck(name)
			continue
		}
		if err != nil {
			d.addReportCheck("apiservice", name, StatusUnread, err.Error(), "")
			continue
		}
		if !isLocated && len(d.services) == 0 {
			d.locateAdapter(service)
		}
		d.services = append(d.services, service)
		d.checkAPIRegistration(service)
	}
}

// checkExplainAPIService checks the APIService of the records. The HPA does without them, so a fault is a warning.
func (d *doctor) checkExplainAPIService(own *apiregistration.APIService, err error) {
	switch {
	case apierrors.IsNotFound(err):
		d.addReportCheck("apiservice", explainAPIService, StatusWarning,
			"not registered: explain --since, replay, budget and try have no record to read; the HPA needs none", applyAdapterCommand)
	case err != nil:
		d.addReportCheck("apiservice", explainAPIService, StatusUnread, err.Error(), "")
	case own.Spec.Service == nil:
		d.addReportCheck("apiservice", explainAPIService, StatusWarning, "names no Service: kube-apiserver would serve this API itself", applyAdapterCommand)
	default:
		d.explain = own
		d.addReportCheck("apiservice", explainAPIService, StatusOK, fmt.Sprintf("registered for %s/%s", own.Spec.Service.Namespace, own.Spec.Service.Name), "")
	}
}

func (d *doctor) readAPIService(ctx context.Context, name string) (*apiregistration.APIService, error) {
	data, err := d.Metrics.Reader.Read(ctx, "/apis/apiregistration.k8s.io/v1/apiservices/"+name)
	if err != nil {
		return nil, err
	}
	service := &apiregistration.APIService{}
	return service, json.Unmarshal(data, service)
}

// locateAdapter learns from an APIService where the adapter runs. It reports whether the APIService says so.
func (d *doctor) locateAdapter(service *apiregistration.APIService) bool {
	s := service.Spec.Service
	if s == nil {
		return false
	}
	d.adapter.namespace, d.adapter.service = s.Namespace, s.Name
	if s.Port != nil {
		d.adapter.port = *s.Port
	}
	return true
}

// addMissingAPIServiceCheck judges a missing APIService. v1beta1 of custom metrics is for old clients: the HPA takes v1beta2.
func (d *doctor) addMissingAPIServiceCheck(name string) {
	switch {
	case name == "v1beta1."+reading.CustomGroup && len(d.services) > 0:
		d.addReportCheck("apiservice", name, StatusOK, "not registered; v1beta2 is enough for the HPA", "")
	case strings.HasSuffix(name, "."+reading.ExternalGroup) && !d.usesExternalMetric():
		d.addReportCheck("apiservice", name, StatusOK, "not registered, and no autoscaler here needs it", "")
	case name == checkedAPIServices[1] && slices.ContainsFunc(d.report.Checks, func(c Check) bool { return c.Subject == checkedAPIServices[0] && c.Status == StatusUnread }):
		d.addReportCheck("apiservice", name, StatusUnread, "not registered; v1beta2 would be enough for the HPA", "")
	default:
		d.addReportCheck("apiservice", name, StatusFail, "not registered: kube-apiserver knows no server for this API", applyAdapterCommand)
	}
}

func (d *doctor) usesExternalMetric() bool {
	for _, hpa := range d.hpas {
		for _, m := range hpa.Spec.Metrics {
			if m.External != nil {
				return true
			}
		}
	}
	return false
}

// checkAPIRegistration checks that an APIService names the adapter: one adapter serves all APIs.
func (d *doctor) checkAPIRegistration(service *apiregistration.APIService) {
	name, at := service.Name, service.Spec.Service
	switch {
	case at == nil:
		d.addReportCheck("apiservice", name, StatusFail, "names no Service: kube-apiserver would serve this API itself", applyAdapterCommand)
	case !d.isAdapterAPIService(service) && name == checkedAPIServices[0]:
		d.addReportCheck("apiservice", name, StatusFail, fmt.Sprintf("served by another adapter, %s/%s: the HPA controller asks that one", at.Namespace, at.Name), applyAdapterCommand)
	case !d.isAdapterAPIService(service) && name == checkedAPIServices[1] && d.needsAPIService(service):
		d.addReportCheck("apiservice", name, StatusFail, fmt.Sprintf("served by another adapter, %s/%s, and its versionPriority %d puts it before v1beta2: the HPA controller asks that one",
			at.Namespace, at.Name, service.Spec.VersionPriority), applyAdapterCommand)
	case !d.isAdapterAPIService(service) && name == checkedAPIServices[1]:
		d.addReportCheck("apiservice", name, StatusWarning, fmt.Sprintf("served by another adapter, %s/%s; the HPA controller takes v1beta2", at.Namespace, at.Name), applyAdapterCommand)
	case !d.isAdapterAPIService(service): // such as KEDA: a metric that it does not serve has a check of its own
		d.addReportCheck("apiservice", name, StatusOK, fmt.Sprintf("served by another adapter, %s/%s", at.Namespace, at.Name), "")
	default:
		d.addReportCheck("apiservice", name, StatusOK, fmt.Sprintf("registered for %s/%s", at.Namespace, at.Name), "")
	}
}

// needsAPIService reports whether the HPA controller reads a registered version: of custom metrics only the version with the higher priority.
func (d *doctor) needsAPIService(service *apiregistration.APIService) bool {
	switch service.Name {
	case checkedAPIServices[1]:
		preferred := d.services[0] // v1beta2, if it is registered
		return preferred.Name == service.Name || service.Spec.VersionPriority > preferred.Spec.VersionPriority
	case checkedAPIServices[2]:
		return d.usesExternalMetric()
	}
	return true
}

// brokenServiceStatus is a warning for an API that the HPA controller does not read.
func (d *doctor) brokenServiceStatus(service *apiregistration.APIService) Status {
	if d.needsAPIService(service) {
		return StatusFail
	}
	return StatusWarning
}

// checkAPIAvailability checks kube-apiserver's condition about its connection to the adapter.
func (d *doctor) checkAPIAvailability() {
	for _, s := range d.services {
		d.addAvailabilityCheck(s, d.brokenServiceStatus(s))
	}
	if d.explain != nil {
		d.addAvailabilityCheck(d.explain, StatusWarning)
	}
}

// addAvailabilityCheck checks one APIService; broken is the status where kube-apiserver does not reach it.
func (d *doctor) addAvailabilityCheck(s *apiregistration.APIService, broken Status) {
	condition := findAvailableCondition(s)
	switch {
	case condition == nil:
		d.addReportCheck("available", s.Name, StatusWarning, "kube-apiserver has not judged it yet", "kubectl get apiservice "+s.Name)
	case condition.Status == apiregistration.ConditionTrue:
		d.addReportCheck("available", s.Name, StatusOK, "kube-apiserver reaches it", "")
	case condition.Reason == "ServiceNotFound" && !d.isAdapterAPIService(s):
		d.addReportCheck("available", s.Name, broken, fmt.Sprintf("%s: %s; another adapter left the APIService behind", condition.Reason, condition.Message), applyAdapterCommand)
	default:
		d.addReportCheck("available", s.Name, broken, fmt.Sprintf("%s: %s%s", condition.Reason, condition.Message, d.describeAPIPath(s, condition.Message)),
			"kubectl describe apiservice "+s.Name)
	}
}

// rejectedProxy matches the status of an aggregated server that does not accept kube-apiserver as a proxy.
var rejectedProxy = regexp.MustCompile(`bad status from \S+: 40[13]`)

// describeAPIPath describes the rest of the way from kube-apiserver to a ready adapter; it is empty if another hop is broken.
func (d *doctor) describeAPIPath(s *apiregistration.APIService, message string) string {
	switch {
	case d.adapter.podPort == 0, !d.isAdapterAPIService(s), slices.ContainsFunc(d.report.Checks, func(c Check) bool { return c.Status == StatusFail && c.Name != "available" }):
		return ""
	case rejectedProxy.MatchString(message):
		return "; the adapter does not accept kube-apiserver's --proxy-client-cert-file: --requestheader-client-ca-file must hold the authority of that certificate"
	}
	return fmt.Sprintf("; the adapter is ready: look at the network from kube-apiserver to port %d of its pods, such as a firewall, konnectivity or --enable-aggregator-routing", d.adapter.podPort)
}

// isAdapterAvailable reports whether kube-apiserver reaches the adapter.
func (d *doctor) isAdapterAvailable() bool {
	for _, s := range d.services {
		if c := findAvailableCondition(s); d.isAdapterAPIService(s) && c != nil {
			return c.Status == apiregistration.ConditionTrue
		}
	}
	return false
}

func findAvailableCondition(s *apiregistration.APIService) *apiregistration.APIServiceCondition {
	for i := range s.Status.Conditions {
		if s.Status.Conditions[i].Type == apiregistration.Available {
			return &s.Status.Conditions[i]
		}
	}
	return nil
}

// checkAdapterService checks the Service and all behind it. The certificate and the way to kube-apiserver come before the pods: a pod with an
// expired certificate, or without that way, is not ready for that reason.
func (d *doctor) checkAdapterService(ctx context.Context) {
	a := &d.adapter
	subject := a.namespace + "/" + a.service
	service, err := d.Client.CoreV1().Services(a.namespace).Get(ctx, a.service, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		d.addReportCheck("service", subject, StatusFail, "does not exist", applyAdapterCommand)
		return
	case err != nil:
		d.addReportCheck("service", subject, StatusUnread, err.Error(), "")
		return
	}
	port := findServicePort(service, a.port)
	if port == nil {
		d.addReportCheck("service", subject, StatusFail, fmt.Sprintf("has no port %d, which the APIServices name", a.port), applyAdapterCommand)
		return
	}
	d.addReportCheck("service", subject, StatusOK, fmt.Sprintf("port %d goes to port %s of the pods", a.port, port.TargetPort.String()), "")
	if len(service.Spec.Selector) == 0 { // its endpoints are written by hand
		d.checkAdapterEndpoints(ctx, service)
		return
	}
	list, err := d.Client.CoreV1().Pods(a.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.FormatLabels(service.Spec.Selector)})
	if err != nil {
		d.addReportCheck("pods", subject, StatusUnread, err.Error(), "")
	} else if a.pods = slices.DeleteFunc(list.Items, isPodOver); len(a.pods) > 0 {
		d.takeAdapterPods(port.TargetPort)
		d.checkAdapterCertificate(ctx)
		d.readAdapterPolicies(ctx)
		d.checkAdapterEgress(ctx)
	}
	if err == nil {
		d.checkAdapterPods(ctx, service, *port)
	}
	d.checkAdapterEndpoints(ctx, service)
}

func findServicePort(service *corev1.Service, number int32) *corev1.ServicePort {
	for i := range service.Spec.Ports {
		if service.Spec.Ports[i].Port == number {
			return &service.Spec.Ports[i]
		}
	}
	return nil
}

// takeAdapterPods keeps the pods with the Service's port, the adapter's: another program's may have its labels. Without any it keeps all.
func (d *doctor) takeAdapterPods(target intstr.IntOrString) {
	a := &d.adapter
	var own, foreign []corev1.Pod
	for i := range a.pods {
		if port := findPodPort(&a.pods[i], target); port != 0 {
			a.podPort = port
			own = append(own, a.pods[i])
		} else {
			foreign = append(foreign, a.pods[i])
		}
	}
	if len(own) == 0 {
		return
	}
	a.pods = own
	for i := range foreign {
		d.addReportCheck("pods", a.namespace+"/"+foreign[i].Name, StatusWarning,
			fmt.Sprintf("it has the labels of the Service and no port %s: it belongs to another program", target.String()),
			fmt.Sprintf("kubectl -n %s get pod %s --show-labels", a.namespace, foreign[i].Name))
	}
}

// checkAdapterPods checks that the Service selects pods, that they have its port and that they are ready.
func (d *doctor) checkAdapterPods(ctx context.Context, service *corev1.Service, port corev1.ServicePort) {
	a := &d.adapter
	subject := a.namespace + "/" + a.service
	if len(a.pods) == 0 {
		cause, command := d.explainMissingPods(ctx, service)
		d.addReportCheck("pods", subject, StatusFail, "no pod has the labels "+labels.FormatLabels(service.Spec.Selector)+cause, command)
		return
	}
	if a.podPort == 0 {
		d.addReportCheck("pods", subject, StatusFail,
			fmt.Sprintf("the Service goes to port %s, and the pods have no such port", port.TargetPort.String()), applyAdapterCommand)
		return
	}
	for i := range a.pods {
		if reason := describePodTrouble(&a.pods[i]); reason != "" {
			d.addReportCheck("pods", a.namespace+"/"+a.pods[i].Name, d.podTroubleStatus(), reason,
				formatPodCommand(&a.pods[i]))
			continue
		}
		d.addReportCheck("pods", a.namespace+"/"+a.pods[i].Name, StatusOK, "ready", "")
	}
}

// isPodOver reports whether a pod has ended, by an eviction for example: no Service goes to it.
func isPodOver(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// explainMissingPods returns why a Service has no pods, as far as the adapter's Deployment says it, and the command that gives it some.
func (d *doctor) explainMissingPods(ctx context.Context, service *corev1.Service) (cause, command string) {
	deployment, err := d.Client.AppsV1().Deployments(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", applyAdapterCommand
	case err != nil, deployment.Spec.Replicas != nil && *deployment.Spec.Replicas == 0:
		return "", fmt.Sprintf("kubectl -n %s scale deployment/%s --replicas=2", service.Namespace, service.Name)
	case !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(deployment.Spec.Template.Labels)):
		return "", applyAdapterCommand // one of the two has other labels
	}
	failure := inventory.DescribeReplicaFailure(deployment)
	if failure != "" {
		cause = ", and kube-apiserver rejects new ones: " + failure
	}
	return cause, fmt.Sprintf("kubectl -n %s %s", service.Namespace, chooseRejectionCommand(failure))
}

// chooseRejectionCommand returns the command that shows why kube-apiserver rejects new pods.
func chooseRejectionCommand(failure string) string {
	if strings.Contains(failure, "exceeded quota") {
		return "describe resourcequotas"
	}
	return "describe replicasets"
}

// podTroubleStatus is a warning while another pod of the adapter is ready.
func (d *doctor) podTroubleStatus() Status {
	for i := range d.adapter.pods {
		if describePodTrouble(&d.adapter.pods[i]) == "" {
			return StatusWarning
		}
	}
	return StatusFail
}

// findPodPort returns the number of a Service's target port in a pod, or 0.
func findPodPort(pod *corev1.Pod, target intstr.IntOrString) int32 {
	if target.Type == intstr.Int {
		return target.IntVal
	}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == target.StrVal {
				return p.ContainerPort
			}
		}
	}
	return 0
}

// describePodTrouble says why a pod is not ready, or nothing.
func describePodTrouble(pod *corev1.Pod) string {
	for _, s := range listContainerStatuses(pod) {
		if w := s.State.Waiting; w != nil {
			text := strings.TrimSuffix(fmt.Sprintf("container %s is waiting: %s: %s", s.Name, w.Reason, w.Message), ": ")
			if last := s.LastTerminationState.Terminated; last != nil {
				text += "; it " + describeContainerEnd(last)
			}
			return text
		}
	}
	switch {
	case inventory.IsReady(pod):
		return ""
	case pod.DeletionTimestamp != nil:
		return "not ready: it is being deleted"
	}
	if s := findRestartedContainer(pod); s != nil {
		return fmt.Sprintf("not ready: container %s %s after %s", s.Name, describeContainerEnd(s.LastTerminationState.Terminated), output.Count(int(s.RestartCount), "restart"))
	}
	for _, c := range pod.Status.Conditions {
		if c.Status == corev1.ConditionFalse && c.Message != "" {
			return "not ready: " + c.Message
		}
	}
	return "not ready, in phase " + string(pod.Status.Phase)
}

func describeContainerEnd(end *corev1.ContainerStateTerminated) string {
	return fmt.Sprintf("ended with %s, exit code %d", cmp.Or(end.Reason, "an error"), end.ExitCode)
}

// findRestartedContainer returns a container that is not ready and ran before, or nil.
func findRestartedContainer(pod *corev1.Pod) *corev1.ContainerStatus {
	for _, s := range listContainerStatuses(pod) {
		if !s.Ready && s.LastTerminationState.Terminated != nil {
			return &s
		}
	}
	return nil
}

// listContainerStatuses returns the states of a pod's init containers, then of its containers.
func listContainerStatuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// formatPodCommand returns the command that shows the cause of a pod's trouble: the logs of a container that ran, else the pod's events.
func formatPodCommand(pod *corev1.Pod) string {
	for _, s := range listContainerStatuses(pod) {
		switch {
		case s.State.Waiting != nil && s.LastTerminationState.Terminated != nil:
			return fmt.Sprintf("kubectl -n %s logs %s -c %s --previous --tail=50", pod.Namespace, pod.Name, s.Name)
		case s.State.Waiting != nil:
			return fmt.Sprintf("kubectl -n %s describe pod %s", pod.Namespace, pod.Name)
		}
	}
	if s := findRestartedContainer(pod); s != nil {
		return fmt.Sprintf("kubectl -n %s logs %s -c %s --previous --tail=50", pod.Namespace, pod.Name, s.Name)
	}
	if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
		return fmt.Sprintf("kubectl -n %s describe pod %s", pod.Namespace, pod.Name)
	}
	return fmt.Sprintf("kubectl -n %s logs %s --tail=50", pod.Namespace, pod.Name)
}

// checkAdapterEndpoints checks that the Service has a ready address.
func (d *doctor) checkAdapterEndpoints(ctx context.Context, service *corev1.Service) {
	subject := service.Namespace + "/" + service.Name
	list, err := d.Client.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
	if err != nil {
		d.addReportCheck("endpoints", subject, StatusUnread, err.Error(), "")
		return
	}
	ready, all := 0, 0
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			all++
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				ready++
			}
		}
	}
	isByHand := len(service.Spec.Selector) == 0
	switch {
	case all == 0 && isByHand:
		d.addReportCheck("endpoints", subject, StatusFail, "it has no address, and the Service no selector", applyAdapterCommand)
	case ready == 0 && isByHand:
		d.addReportCheck("endpoints", subject, StatusFail, fmt.Sprintf("none of %d addresses is ready", all),
			fmt.Sprintf("kubectl -n %s get endpointslices -l %s=%s -o yaml", service.Namespace, discoveryv1.LabelServiceName, service.Name))
	case ready == 0:
		d.addReportCheck("endpoints", subject, StatusFail, fmt.Sprintf("none of %d addresses is ready", all),
			fmt.Sprintf("kubectl -n %s get pods -l %s", service.Namespace, labels.FormatLabels(service.Spec.Selector)))
	default:
		d.addReportCheck("endpoints", subject, StatusOK, fmt.Sprintf("%d of %d addresses are ready", ready, all), "")
	}
}

// checkAPIDiscovery checks that kube-apiserver gets the list of metrics from the adapter.
func (d *doctor) checkAPIDiscovery(ctx context.Context) {
	for _, s := range d.services {
		path := "/apis/" + s.Spec.Group + "/" + s.Spec.Version
		data, err := d.Metrics.Reader.Read(ctx, path)
		if reading.IsOwnFailure(err) {
			d.addReportCheck("discovery", path, StatusUnread, err.Error(), "")
			continue
		}
		var list metav1.APIResourceList
		if err == nil {
			err = json.Unmarshal(data, &list)
		}
		if err != nil {
			d.addReportCheck("discovery", path, d.brokenServiceStatus(s), err.Error(), "kubectl get --raw "+path)
			continue
		}
		d.addReportCheck("discovery", path, StatusOK, "answers, "+output.Count(len(list.APIResources), "resource"), "")
	}
}
