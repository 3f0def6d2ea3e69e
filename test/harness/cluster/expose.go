//go:build unix

// Services for processes of this machine.

package cluster

import (
	"context"
	"fmt"
	"strconv"
)

// Expose creates a Service, and its namespace, for a process on this machine, so that an APIService can name it. The process listens
// on port, on HostIP or on every address. Expose returns the port for the APIService: 443, the default, if the Service has endpoints.
// With ExternalNameRouting the Service has type ExternalName, and the port is the process's own. In both cases the process's
// certificate must be valid for NAME.NAMESPACE.svc.
func (c *Cluster) Expose(ctx context.Context, namespace, name string, port int) (int, error) {
	if _, err := c.Kubectl(ctx, "get", "namespace", namespace); err != nil {
		if _, err := c.Kubectl(ctx, "create", "namespace", namespace); err != nil {
			return 0, err
		}
	}
	head := fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %[2]s, namespace: %[1]s}\n", namespace, name)
	if c.state.ExternalName {
		return port, c.Apply(ctx, head+"spec: {type: ExternalName, externalName: "+strconv.Quote(c.HostIP())+"}\n")
	}
	const slice = `spec: {ports: [{name: https, port: 443, targetPort: %[4]d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s-process, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{name: https, port: %[4]d, protocol: TCP}]
endpoints: [{addresses: [%[3]q], conditions: {ready: true}}]
`
	return 443, c.Apply(ctx, head+fmt.Sprintf(slice, namespace, name, c.HostIP(), port))
}
