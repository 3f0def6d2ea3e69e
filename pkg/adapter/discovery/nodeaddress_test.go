package discovery

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// TestAddressesOfNode: what is not a pod's own is not scraped, with a reason, whatever the pod's status and annotations say.
func TestAddressesOfNode(t *testing.T) {
	t.Parallel()
	onPort := func(port string) func(*corev1.Pod) { return withAnnotations(podpage.AnnotationPort, port) }
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		reason string // without the key
		always bool   // with the key too
	}{
		"pod":                     {change: withAddress("10.1.2.3")},
		"pod's undeclared port":   {change: onPort("10250")},
		"metadata service":        {change: withAddress("169.254.169.254"), reason: "link-local", always: true},
		"IPv6 link-local":         {change: withAddress("fe80::1"), reason: "link-local", always: true},
		"unspecified":             {change: withAddress("0.0.0.0"), reason: "unspecified", always: true},
		"shared address space":    {change: withAddress("100.100.100.200")},
		"NAT64 of link-local":     {change: withAddress("64:ff9b::a9fe:a9fe"), reason: "link-local", always: true},
		"address with a zone":     {change: withAddress("fe80::1%eth0"), reason: "link-local", always: true},
		"IPv6 unspecified":        {change: withAddress("::"), reason: "unspecified", always: true},
		"multicast":               {change: withAddress("224.0.0.1"), reason: "multicast", always: true},
		"broadcast":               {change: withAddress("255.255.255.255"), reason: "multicast", always: true},
		"name":                    {change: withAddress("kubernetes.default.svc"), reason: "not an IP address", always: true},
		"loopback":                {change: withAddress("127.0.0.1"), reason: "loopback"},
		"IPv6 loopback":           {change: withAddress("::1"), reason: "loopback"},
		"mapped loopback":         {change: withAddress("::ffff:127.0.0.1"), reason: "loopback"},
		"host's declared port":    {change: onHostNetwork},
		"host's undeclared port":  {change: combine(onHostNetwork, onPort("9999")), reason: "not a container port"},
		"kubelet":                 {change: combine(onHostNetwork, onPort("10250")), reason: "a service of the node"},
		"kubelet, declared":       {change: combine(onHostNetwork, withContainers(newContainer("metrics:10250"), corev1.Container{})), reason: "a service of the node"},
		"etcd":                    {change: combine(onHostNetwork, onPort("2379")), reason: "a service of the node"},
		"scheme that is a scheme": {change: withAnnotations(podpage.AnnotationScheme, "gopher"), reason: "neither", always: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, allow := range []bool{false, true} {
				p, err := endpointPolicy{allowHostNetwork: allow}.stripPod(apiPod("shop", "web-1", tc.change))
				if err != nil {
					t.Fatal(err)
				}
				rejected := tc.reason != "" && (!allow || tc.always)
				if (p.url == "") != rejected || rejected && !strings.Contains(p.skipReason, tc.reason) {
					t.Errorf("allowed %v: url %q, reason %q; want %q", allow, p.url, p.skipReason, tc.reason)
				}
			}
		})
	}
}
