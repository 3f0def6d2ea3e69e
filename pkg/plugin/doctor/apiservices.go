// The APIs as kube-apiserver knows them: APIServices, its connection to their server, and discovery.

package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// checkedAPIServices are the APIServices of the two APIs that the adapter serves.
var checkedAPIServices = []string{
	reading.CustomVersion + "." + reading.CustomGroup,
	"v1beta1." + reading.CustomGroup,
	"v1beta1." + reading.ExternalGroup,
}

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
			d.addDoctorCheck("apiservice", name, StatusUnread, err.Error(), "")
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
		d.addDoctorCheck("apiservice", explainAPIService, StatusWarning,
			"not registered: explain --since, replay, budget and try have no record to read; the HPA needs none", applyAdapterCommand)
	case err != nil:
		d.addDoctorCheck("apiservice", explainAPIService, StatusUnread, err.Error(), "")
	case own.Spec.Service == nil:
		d.addDoctorCheck("apiservice", explainAPIService, StatusWarning, "names no Service: kube-apiserver would serve this API itself", applyAdapterCommand)
	default:
		d.explain = own
		d.addDoctorCheck("apiservice", explainAPIService, StatusOK, fmt.Sprintf("registered for %s/%s", own.Spec.Service.Namespace, own.Spec.Service.Name), "")
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
		d.addDoctorCheck("apiservice", name, StatusOK, "not registered; v1beta2 is enough for the HPA", "")
	case strings.HasSuffix(name, "."+reading.ExternalGroup) && !d.usesExternalMetric():
		d.addDoctorCheck("apiservice", name, StatusOK, "not registered, and no autoscaler here needs it", "")
	case name == checkedAPIServices[1] && slices.ContainsFunc(d.report.Checks, func(c Check) bool { return c.Subject == checkedAPIServices[0] && c.Status == StatusUnread }):
		d.addDoctorCheck("apiservice", name, StatusUnread, "not registered; v1beta2 would be enough for the HPA", "")
	default:
		d.addDoctorCheck("apiservice", name, StatusFail, "not registered: kube-apiserver knows no server for this API", applyAdapterCommand)
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
		d.addDoctorCheck("apiservice", name, StatusFail, "names no Service: kube-apiserver would serve this API itself", applyAdapterCommand)
	case !d.isAdapterAPIService(service) && name == checkedAPIServices[0]:
		d.addDoctorCheck("apiservice", name, StatusFail, fmt.Sprintf("served by another adapter, %s/%s: the HPA controller asks that one", at.Namespace, at.Name), applyAdapterCommand)
	case !d.isAdapterAPIService(service) && name == checkedAPIServices[1] && d.needsAPIService(service):
		d.addDoctorCheck("apiservice", name, StatusFail, fmt.Sprintf("served by another adapter, %s/%s, and its versionPriority %d puts it before v1beta2: the HPA controller asks that one",
			at.Namespace, at.Name, service.Spec.VersionPriority), applyAdapterCommand)
	case !d.isAdapterAPIService(service) && name == checkedAPIServices[1]:
		d.addDoctorCheck("apiservice", name, StatusWarning, fmt.Sprintf("served by another adapter, %s/%s; the HPA controller takes v1beta2", at.Namespace, at.Name), applyAdapterCommand)
	case !d.isAdapterAPIService(service): // such as KEDA: a metric that it does not serve has a check of its own
		d.addDoctorCheck("apiservice", name, StatusOK, fmt.Sprintf("served by another adapter, %s/%s", at.Namespace, at.Name), "")
	default:
		d.addDoctorCheck("apiservice", name, StatusOK, fmt.Sprintf("registered for %s/%s", at.Namespace, at.Name), "")
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
		d.addDoctorCheck("available", s.Name, StatusWarning, "kube-apiserver has not judged it yet", "kubectl get apiservice "+s.Name)
	case condition.Status == apiregistration.ConditionTrue:
		d.addDoctorCheck("available", s.Name, StatusOK, "kube-apiserver reaches it", "")
	case condition.Reason == "ServiceNotFound" && !d.isAdapterAPIService(s):
		d.addDoctorCheck("available", s.Name, broken, fmt.Sprintf("%s: %s; another adapter left the APIService behind", condition.Reason, condition.Message), applyAdapterCommand)
	default:
		path, fix := d.describeAPIPath(s, condition.Message)
		d.addDoctorCheck("available", s.Name, broken, fmt.Sprintf("%s: %s%s", condition.Reason, condition.Message, path), fix)
	}
}

var (
	// rejectedProxy matches the status of an aggregated server that does not accept kube-apiserver as a proxy.
	rejectedProxy = regexp.MustCompile(`bad status from \S+: 40[13]`)
	// answeredStatus matches any other status of one: kube-apiserver reaches it.
	answeredStatus = regexp.MustCompile(`bad status from \S+: \d`)
)

// describeAPIPath describes the rest of the way from kube-apiserver to a ready adapter, with a command. The text is empty if another hop is broken.
func (d *doctor) describeAPIPath(s *apiregistration.APIService, message string) (text, fix string) {
	fix = "kubectl describe apiservice " + s.Name
	switch {
	case !d.isAdapterAPIService(s), slices.ContainsFunc(d.report.Checks, func(c Check) bool { return c.Status == StatusFail && c.Name != "available" }):
		return "", fix
	case strings.Contains(message, "x509: "):
		return "; the caBundle does not verify the adapter's certificate", d.formatRestartCommand()
	case rejectedProxy.MatchString(message):
		return "; the adapter does not accept kube-apiserver's --proxy-client-cert-file: --requestheader-client-ca-file must hold the authority of that certificate", fix
	case answeredStatus.MatchString(message):
		return "; kube-apiserver reaches the adapter, which answers with an error", fmt.Sprintf("kubectl -n %s logs deployment/%s --tail=50", d.adapter.namespace, d.adapter.service)
	case d.adapter.podPort == 0:
		return "", fix
	}
	return fmt.Sprintf("; the adapter is ready: look at the network from kube-apiserver to port %d of its pods, such as a firewall, konnectivity or --enable-aggregator-routing", d.adapter.podPort), fix
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

func formatAPIPath(s *apiregistration.APIService) string {
	return "/apis/" + s.Spec.Group + "/" + s.Spec.Version
}

// checkAPIDiscovery checks that kube-apiserver gets the list of metrics from the adapter.
func (d *doctor) checkAPIDiscovery(ctx context.Context) {
	for _, s := range d.services {
		path := formatAPIPath(s)
		data, err := d.Metrics.Reader.Read(ctx, path)
		if reading.IsOwnFailure(err) {
			d.addDoctorCheck("discovery", path, StatusUnread, err.Error(), "")
			continue
		}
		var list metav1.APIResourceList
		if err == nil {
			err = json.Unmarshal(data, &list)
		}
		if err != nil {
			d.addDoctorCheck("discovery", path, d.brokenServiceStatus(s), err.Error(), "kubectl get --raw "+path)
			continue
		}
		d.addDoctorCheck("discovery", path, StatusOK, "answers, "+output.Count(len(list.APIResources), "resource"), "")
	}
}
