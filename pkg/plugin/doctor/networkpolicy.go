// NetworkPolicies between the adapter and the pods that it scrapes.

package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// checkPodNetwork looks for policies that keep the adapter from the workload's pods, on either side. Where the values arrive
// nevertheless, the network does not enforce them.
func (v *autoscalerDiagnosis) checkPodNetwork() {
	if len(v.adapter.pods) == 0 || len(v.pods) == 0 || v.objects.IsUnread("networkpolicies") {
		return
	}
	message, fix := v.findNetworkBarrier()
	switch {
	case message == "":
		v.addVisitCheck("network", StatusOK, "no NetworkPolicy keeps the adapter from the pods", "")
	case v.isScrapeBroken():
		v.addVisitCheck("network", StatusFail, message, fix)
	case slices.ContainsFunc(v.answers, func(a reading.Answer) bool { return a.Err != nil }):
		v.addVisitCheck("network", StatusWarning, message, fix)
	default:
		v.addVisitCheck("network", StatusOK, message+", and the values arrive nevertheless", "")
	}
}

// findNetworkBarrier returns the first policy between a pod of the adapter and a pod of the workload in words, and the command that opens it.
func (v *autoscalerDiagnosis) findNetworkBarrier() (message, fix string) {
	for _, pod := range v.pods {
		port, err := podpage.Port(pod.Annotations, podpage.Containers(&pod.Spec))
		if err != nil || pod.Spec.HostNetwork {
			continue // the adapter scrapes nothing, which its answer says, or no policy holds for the pod
		}
		for i := range v.adapter.pods {
			scraper := &v.adapter.pods[i]
			if into := v.findBlockingPolicy(v.objects.NetworkPolicies, networkingv1.PolicyTypeIngress, pod, scraper, port); into != "" {
				return fmt.Sprintf("networkpolicy/%s does not admit the adapter's pods to port %d", into, port.ContainerPort), v.formatAdmittingCommand(into, port)
			}
			if outOf := v.findBlockingPolicy(v.adapter.policies, networkingv1.PolicyTypeEgress, scraper, pod, port); outOf != "" {
				return fmt.Sprintf("networkpolicy/%s in namespace %s does not let the adapter out to port %d", outOf, v.adapter.namespace, port.ContainerPort),
					v.formatReleasingCommand(outOf, port)
			}
		}
	}
	return "", ""
}

// checkAdapterNetwork looks for a policy that admits only pods to the adapter: kube-apiserver is none in most clusters.
func (d *doctor) checkAdapterNetwork(ctx context.Context) {
	if len(d.adapter.pods) == 0 {
		return
	}
	subject := d.adapter.namespace + "/" + d.adapter.service
	if err := d.adapter.policiesErr; err != nil {
		d.addDoctorCheck("network", subject, StatusUnread, err.Error(), "")
		return
	}
	served := podpage.FindPort(podpage.Containers(&d.adapter.pods[0].Spec), d.adapter.podPort)
	servers := d.readAPIServerPlace(ctx).addresses
	var narrow *networkingv1.NetworkPolicy
	for i := range d.adapter.policies {
		p := &d.adapter.policies[i]
		if !isPolicyOf(p, networkingv1.PolicyTypeIngress, &d.adapter.pods[0]) {
			continue
		}
		if admitsOutsiders(p, served, servers) {
			narrow = nil
			break // policies add up
		}
		narrow = p
	}
	switch {
	case narrow == nil:
		d.addDoctorCheck("network", subject, StatusOK, "no NetworkPolicy keeps kube-apiserver from the adapter", "")
	case d.isAdapterAvailable():
		d.addDoctorCheck("network", subject, StatusOK, "networkpolicy/"+narrow.Name+" admits only pods or some addresses, and kube-apiserver gets through nevertheless", "")
	default:
		d.addDoctorCheck("network", subject, StatusFail, describeNarrowPolicy(narrow, served, servers),
			formatPolicyCommand(narrow, "ingress", len(narrow.Spec.Ingress), fmt.Sprintf(`{"ports":[{"port":%d}]}`, served.ContainerPort)))
	}
}

// readAdapterPolicies reads the NetworkPolicies of the adapter's namespace.
func (d *doctor) readAdapterPolicies(ctx context.Context) {
	list, err := d.Client.NetworkingV1().NetworkPolicies(d.adapter.namespace).List(ctx, metav1.ListOptions{})
	if d.adapter.policiesErr = err; err == nil {
		d.adapter.policies = list.Items
	}
}

// checkAdapterEgress looks for a policy that keeps the adapter from kube-apiserver. Its pods are not ready then, for that reason.
func (d *doctor) checkAdapterEgress(ctx context.Context) {
	if d.podTroubleStatus() != StatusFail {
		return
	}
	server, pod := d.readAPIServerPlace(ctx), &d.adapter.pods[0]
	var narrow *networkingv1.NetworkPolicy
	for i := range d.adapter.policies {
		p := &d.adapter.policies[i]
		if !isPolicyOf(p, networkingv1.PolicyTypeEgress, pod) {
			continue
		}
		if letsOutToServer(p, server) {
			return // policies add up
		}
		narrow = p
	}
	if narrow == nil {
		return
	}
	d.addDoctorCheck("network", d.adapter.namespace+"/"+d.adapter.service, StatusFail,
		fmt.Sprintf("networkpolicy/%s does not let the adapter out to %s, port %d", narrow.Name, describeAPIServer(server.addresses), server.port),
		formatPolicyCommand(narrow, "egress", len(narrow.Spec.Egress), fmt.Sprintf(`{"ports":[{"port":%d}]}`, server.port)))
}

// letsOutToServer reports whether a policy admits one of kube-apiserver's addresses; any block, where they are unknown.
func letsOutToServer(p *networkingv1.NetworkPolicy, server apiServerPlace) bool {
	return slices.ContainsFunc(p.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
		return isPeerOutsideAdapter(r.To, server.addresses) && admitsPolicyPort(r.Ports, corev1.ContainerPort{ContainerPort: server.port})
	})
}

// isPeerOutsideAdapter reports whether peers, none of them meaning all, contain one of kube-apiserver's addresses; any block, where they are unknown.
func isPeerOutsideAdapter(peers []networkingv1.NetworkPolicyPeer, servers []string) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(peer networkingv1.NetworkPolicyPeer) bool {
		return isPolicyOfAddresses(peer) && (len(servers) == 0 || slices.ContainsFunc(servers, func(address string) bool { return isInPolicyBlock(peer.IPBlock, address) }))
	})
}

// apiServerPlace is where kube-apiserver listens.
type apiServerPlace struct {
	addresses []string // none: unknown
	port      int32
}

// defaultServerPort is kube-apiserver's --secure-port.
const defaultServerPort = 6443

// readAPIServerPlace returns where kube-apiserver listens by its own endpoints.
func (d *doctor) readAPIServerPlace(ctx context.Context) apiServerPlace {
	place := apiServerPlace{port: defaultServerPort}
	list, err := d.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return place // a block of addresses then counts as one of kube-apiserver
	}
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			place.addresses = append(place.addresses, e.Addresses...)
		}
		for _, p := range slice.Ports {
			if p.Port != nil {
				place.port = *p.Port
			}
		}
	}
	return place
}

// describeAPIServer names kube-apiserver with its addresses.
func describeAPIServer(addresses []string) string {
	if len(addresses) == 0 {
		return "kube-apiserver"
	}
	return "kube-apiserver (" + strings.Join(addresses, ", ") + ")"
}

// describeNarrowPolicy names the pods that a policy keeps from the adapter.
func describeNarrowPolicy(p *networkingv1.NetworkPolicy, port corev1.ContainerPort, servers []string) string {
	for _, rule := range p.Spec.Ingress {
		if slices.ContainsFunc(rule.From, isPolicyOfAddresses) {
			return fmt.Sprintf("networkpolicy/%s does not admit %s to port %d", p.Name, describeAPIServer(servers), port.ContainerPort)
		}
	}
	return fmt.Sprintf("networkpolicy/%s admits only pods to port %d, and kube-apiserver is none", p.Name, port.ContainerPort)
}

func isPolicyOfAddresses(peer networkingv1.NetworkPolicyPeer) bool { return peer.IPBlock != nil }

// formatPolicyCommand returns the command that adds a rule to the rules of a policy in a direction.
func formatPolicyCommand(p *networkingv1.NetworkPolicy, direction string, rules int, rule string) string {
	first := ""
	if rules == 0 {
		first = fmt.Sprintf(`{"op":"add","path":"/spec/%s","value":[]},`, direction)
	}
	return fmt.Sprintf(`kubectl -n %s patch networkpolicy %s --type=json -p '[%s{"op":"add","path":"/spec/%s/-","value":%s}]'`, p.Namespace, p.Name, first, direction, rule)
}

// admitsOutsiders reports whether a policy admits one of kube-apiserver's addresses to the port; any block, where they are unknown.
func admitsOutsiders(p *networkingv1.NetworkPolicy, port corev1.ContainerPort, servers []string) bool {
	for _, rule := range p.Spec.Ingress {
		if isPeerOutsideAdapter(rule.From, servers) && admitsPolicyPort(rule.Ports, port) {
			return true
		}
	}
	return false
}

// formatAdmittingCommand returns the command that adds a rule for the adapter to a policy.
func (v *autoscalerDiagnosis) formatAdmittingCommand(policy string, port corev1.ContainerPort) string {
	i := slices.IndexFunc(v.objects.NetworkPolicies, func(p networkingv1.NetworkPolicy) bool { return p.Namespace == v.hpa.Namespace && p.Name == policy })
	p := &v.objects.NetworkPolicies[i]
	return formatPolicyCommand(p, "ingress", len(p.Spec.Ingress), fmt.Sprintf(`{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":%q}}}],"ports":[{"port":%d}]}`,
		v.adapter.namespace, port.ContainerPort))
}

// formatReleasingCommand returns the command that adds a rule for the autoscaler's namespace to a policy of the adapter.
func (v *autoscalerDiagnosis) formatReleasingCommand(policy string, port corev1.ContainerPort) string {
	i := slices.IndexFunc(v.adapter.policies, func(p networkingv1.NetworkPolicy) bool { return p.Name == policy })
	p := &v.adapter.policies[i]
	return formatPolicyCommand(p, "egress", len(p.Spec.Egress), fmt.Sprintf(`{"to":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":%q}}}],"ports":[{"port":%d}]}`,
		v.hpa.Namespace, port.ContainerPort))
}

// findBlockingPolicy returns the first policy that isolates the pod in a direction, if none of its policies admits the peer; else nothing.
func (d *doctor) findBlockingPolicy(policies []networkingv1.NetworkPolicy, direction networkingv1.PolicyType, pod, peer *corev1.Pod, port corev1.ContainerPort) string {
	blocking := ""
	for i := range policies {
		p := &policies[i]
		if !isPolicyOf(p, direction, pod) {
			continue
		}
		if d.admitsPolicyPeer(p, direction, peer, port) {
			return "" // policies add up
		}
		if blocking == "" {
			blocking = p.Name
		}
	}
	return blocking
}

// isPolicyOf reports whether a policy isolates the pod in a direction. Without policyTypes a policy is for ingress, and for egress only
// if it has such rules.
func isPolicyOf(p *networkingv1.NetworkPolicy, direction networkingv1.PolicyType, pod *corev1.Pod) bool {
	if p.Namespace != pod.Namespace || !matchesPolicySelector(&p.Spec.PodSelector, pod.Labels) {
		return false
	}
	if len(p.Spec.PolicyTypes) == 0 {
		return direction == networkingv1.PolicyTypeIngress || len(p.Spec.Egress) > 0
	}
	return slices.Contains(p.Spec.PolicyTypes, direction)
}

// admitsPolicyPeer reports whether a rule of the policy admits traffic with the peer to the port.
func (d *doctor) admitsPolicyPeer(p *networkingv1.NetworkPolicy, direction networkingv1.PolicyType, peer *corev1.Pod, port corev1.ContainerPort) bool {
	admits := func(ports []networkingv1.NetworkPolicyPort, peers []networkingv1.NetworkPolicyPeer) bool {
		return admitsPolicyPort(ports, port) && (len(peers) == 0 || slices.ContainsFunc(peers, func(o networkingv1.NetworkPolicyPeer) bool {
			return d.isPolicyPeer(o, p.Namespace, peer)
		}))
	}
	if direction == networkingv1.PolicyTypeEgress {
		return slices.ContainsFunc(p.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool { return admits(r.Ports, r.To) })
	}
	return slices.ContainsFunc(p.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool { return admits(r.Ports, r.From) })
}

// admitsPolicyPort reports whether ports, none of them meaning all, contain the port by number, range or name.
func admitsPolicyPort(ports []networkingv1.NetworkPolicyPort, port corev1.ContainerPort) bool {
	for _, p := range ports {
		switch {
		case p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP:
		case p.Port == nil, p.Port.Type == intstr.String && p.Port.StrVal == port.Name:
			return true
		case p.Port.Type == intstr.String:
		case p.Port.IntVal == port.ContainerPort, p.EndPort != nil && p.Port.IntVal <= port.ContainerPort && port.ContainerPort <= *p.EndPort:
			return true
		}
	}
	return len(ports) == 0
}

// isPolicyPeer reports whether a peer of a policy in the namespace is the pod. A namespace with unknown labels has the label of its name,
// which kube-apiserver gives to each.
func (d *doctor) isPolicyPeer(peer networkingv1.NetworkPolicyPeer, namespace string, pod *corev1.Pod) bool {
	if peer.IPBlock != nil {
		return isInPolicyBlock(peer.IPBlock, pod.Status.PodIP)
	}
	if peer.NamespaceSelector == nil && pod.Namespace != namespace {
		return false
	}
	space := d.objects.Namespaces[pod.Namespace]
	if space == nil {
		space = map[string]string{corev1.LabelMetadataName: pod.Namespace}
	}
	if peer.NamespaceSelector != nil && !matchesPolicySelector(peer.NamespaceSelector, space) {
		return false
	}
	return peer.PodSelector == nil || matchesPolicySelector(peer.PodSelector, pod.Labels)
}

func isInPolicyBlock(block *networkingv1.IPBlock, ip string) bool {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	contains := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(address)
	}
	for _, except := range block.Except {
		if contains(except) {
			return false
		}
	}
	return contains(block.CIDR)
}

func matchesPolicySelector(s *metav1.LabelSelector, set map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(set))
}
