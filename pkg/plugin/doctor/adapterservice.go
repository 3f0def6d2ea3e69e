// The Service of the adapter and its endpoints.

package doctor

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Where the manifests install the adapter: used where no APIService says otherwise.
const (
	defaultAdapterNamespace = "tachometer"
	defaultAdapterService   = "tachometer-adapter"
)

// applyAdapterCommand installs the adapter from a checkout.
const applyAdapterCommand = "kubectl apply -k manifests/adapter"

// checkAdapterService checks the Service and all behind it. The certificate and the way to kube-apiserver come before the pods: a pod with an
// expired certificate, or without that way, is not ready for that reason.
func (d *doctor) checkAdapterService(ctx context.Context) {
	a := &d.adapter
	subject := a.namespace + "/" + a.service
	service, err := d.Client.CoreV1().Services(a.namespace).Get(ctx, a.service, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		d.addDoctorCheck("service", subject, StatusFail, "does not exist", applyAdapterCommand)
		return
	case err != nil:
		d.addDoctorCheck("service", subject, StatusUnread, err.Error(), "")
		return
	}
	port := findServicePort(service, a.port)
	if port == nil {
		d.addDoctorCheck("service", subject, StatusFail, fmt.Sprintf("has no port %d, which the APIServices name", a.port), applyAdapterCommand)
		return
	}
	d.addDoctorCheck("service", subject, StatusOK, fmt.Sprintf("port %d goes to port %s of the pods", a.port, port.TargetPort.String()), "")
	if len(service.Spec.Selector) == 0 { // its endpoints are written by hand
		d.checkAdapterEndpoints(ctx, service)
		return
	}
	list, err := d.Client.CoreV1().Pods(a.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.FormatLabels(service.Spec.Selector)})
	if err != nil {
		d.addDoctorCheck("pods", subject, StatusUnread, err.Error(), "")
	} else if a.pods = slices.DeleteFunc(list.Items, isAdapterPodOver); len(a.pods) > 0 {
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

// checkAdapterEndpoints checks that the Service has a ready address.
func (d *doctor) checkAdapterEndpoints(ctx context.Context, service *corev1.Service) {
	subject := service.Namespace + "/" + service.Name
	list, err := d.Client.DiscoveryV1().EndpointSlices(service.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
	if err != nil {
		d.addDoctorCheck("endpoints", subject, StatusUnread, err.Error(), "")
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
		d.addDoctorCheck("endpoints", subject, StatusFail, "it has no address, and the Service no selector", applyAdapterCommand)
	case ready == 0 && isByHand:
		d.addDoctorCheck("endpoints", subject, StatusFail, fmt.Sprintf("none of %d addresses is ready", all),
			fmt.Sprintf("kubectl -n %s get endpointslices -l %s=%s -o yaml", service.Namespace, discoveryv1.LabelServiceName, service.Name))
	case ready == 0:
		d.addDoctorCheck("endpoints", subject, StatusFail, fmt.Sprintf("none of %d addresses is ready", all),
			fmt.Sprintf("kubectl -n %s get pods -l %s", service.Namespace, labels.FormatLabels(service.Spec.Selector)))
	default:
		d.addDoctorCheck("endpoints", subject, StatusOK, fmt.Sprintf("%d of %d addresses are ready", ready, all), "")
	}
}
