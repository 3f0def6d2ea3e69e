//go:build unix

// The set-up script of a node, and the configuration of its containerd, kubelet and CNI plugins.

package cluster

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed node.sh
var nodeScript string

// writeNodeFiles writes the node's set-up and its components' configurations.
func (c *Cluster) writeNodeFiles() error {
	for _, dir := range []string{"kubelet", "containerd", "pod-logs", "container-logs", "cni"} {
		if err := os.MkdirAll(c.clusterFilePath(dir), 0o755); err != nil {
			return err
		}
	}
	n := c.state.Network
	head := fmt.Sprintf("cluster=%s\ncgroup=%s\nnode_ip=%s\nhost_ip=%s\nservices=%s\n", shellQuote(c.dir), c.state.CGroup, n.Address, n.HostAddress, n.Services)
	files := map[string]string{
		"node.sh":                "set -eu\n" + head + nodeScript,
		"containerd.toml":        c.containerdConfig(),
		"kubelet.yaml":           c.kubeletConfig(),
		"cni/10-bridge.conflist": c.cniConfig(),
	}
	for name, content := range files {
		if err := os.WriteFile(c.clusterFilePath(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// The paths are the usual paths: node.sh mounts the cluster's own folders over them.
func (c *Cluster) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true # a root without CAP_SYS_RESOURCE cannot lower a score
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, containerdSocket, PauseImage, chooseSnapshotter(c.dir), filepath.Dir(c.state.Tools["bridge"]), c.clusterFilePath("cni"))
}

const containerdSocket = "/run/containerd/containerd.sock"

func (c *Cluster) kubeletConfig() string {
	serving := c.pkiPair("kubelet")
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%s
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
cgroupDriver: cgroupfs
cgroupRoot: /%s
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxPods: 200
evictionHard: {}
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
registryPullQPS: 0
serializeImagePulls: false
resolvConf: ""
`, containerdSocket, c.pkiPair("ca").cert, serving.cert, serving.key, c.state.CGroup)
}

func (c *Cluster) cniConfig() string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`, c.state.Network.Pods)
}
