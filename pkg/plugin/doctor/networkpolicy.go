// NetworkPolicies between the adapter and the pods that it scrapes.

package doctor

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
)

// checkVisitedNetwork looks for policies that keep the adapter from the workload's pods. Where the values arrive nevertheless, the
// network does not enforce them.
func (v *autoscalerVisit) checkVisitedNetwork() {
	if len(v.adapter.pods) == 0 || len(v.pods) == 0 || v.isDoctorResourceUnread("networkpolicies") {
		return
	}
	scraper := &v.adapter.pods[0]
	port, err := inventory.ScrapedPort(v.pods[0].Annotations, v.pods[0].Spec)
	if err != nil {
		return // the adapter scrapes nothing; its answer says so
	}
	blocking := v.findBlockingPolicy(scraper, v.pods[0], port)
	switch {
	case blocking == "":
		v.addVisitCheck("network", StatusOK, "no NetworkPolicy keeps the adapter from the pods", "")
	case v.hasVisitedValues():
		v.addVisitCheck("network", StatusOK, fmt.Sprintf("networkpolicy/%s does not admit the adapter, and the values arrive nevertheless", blocking), "")
	default:
		v.addVisitCheck("network", StatusFail, fmt.Sprintf("networkpolicy/%s does not admit the adapter's pods to port %d", blocking, port.ContainerPort),
			v.formatAdmittingCommand(blocking, port))
	}
}

// formatAdmittingCommand returns the command that adds a rule for the adapter to a policy.
func (v *autoscalerVisit) formatAdmittingCommand(policy string, port corev1.ContainerPort) string {
	path, first := "/spec/ingress/-", ""
	for i := range v.objects.NetworkPolicies {
		if p := &v.objects.NetworkPolicies[i]; p.Namespace == v.hpa.Namespace && p.Name == policy && len(p.Spec.Ingress) == 0 {
			first = `{"op":"add","path":"/spec/ingress","value":[]},`
		}
	}
	return v.formatVisitCommand(`patch networkpolicy %s --type=json -p '[%s{"op":"add","path":%q,"value":`+
		`{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":%q}}}],"ports":[{"port":%d}]}}]'`,
		policy, first, path, v.adapter.namespace, port.ContainerPort)
}

// findBlockingPolicy returns the first policy that isolates the pod, if none of its policies admits the scraper; else nothing.
func (v *autoscalerVisit) findBlockingPolicy(scraper, pod *corev1.Pod, port corev1.ContainerPort) string {
	blocking := ""
	for i := range v.objects.NetworkPolicies {
		p := &v.objects.NetworkPolicies[i]
		if p.Namespace != pod.Namespace || !matchesPolicySelector(&p.Spec.PodSelector, pod.Labels) || !isIngressPolicy(p) {
			continue
		}
		if v.admitsScraper(p, scraper, port) {
			return "" // policies add up
		}
		if blocking == "" {
			blocking = p.Name
		}
	}
	return blocking
}

func isIngressPolicy(p *networkingv1.NetworkPolicy) bool {
	for _, t := range p.Spec.PolicyTypes {
		if t == networkingv1.PolicyTypeIngress {
			return true
		}
	}
	return len(p.Spec.PolicyTypes) == 0
}

// admitsScraper reports whether a rule of the policy admits the scraper to the port.
func (v *autoscalerVisit) admitsScraper(p *networkingv1.NetworkPolicy, scraper *corev1.Pod, port corev1.ContainerPort) bool {
	for _, rule := range p.Spec.Ingress {
		if !admitsPolicyPort(rule.Ports, port) {
			continue
		}
		if len(rule.From) == 0 {
			return true
		}
		for _, peer := range rule.From {
			if v.isPolicyPeer(peer, p.Namespace, scraper) {
				return true
			}
		}
	}
	return false
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
func (v *autoscalerVisit) isPolicyPeer(peer networkingv1.NetworkPolicyPeer, namespace string, pod *corev1.Pod) bool {
	if peer.IPBlock != nil {
		return isInPolicyBlock(peer.IPBlock, pod.Status.PodIP)
	}
	if peer.NamespaceSelector == nil && pod.Namespace != namespace {
		return false
	}
	space := v.objects.Namespaces[pod.Namespace]
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
