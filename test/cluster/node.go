//go:build unix

package cluster

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// ErrNoNode is the reason why this machine cannot run a cluster with a node; the control plane alone still works.
var ErrNoNode = errors.New("no node can run here")

// cniFolders are where distributions keep the CNI plugins.
func cniFolders() []string { return []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} }

// nodeTool is a program of the system that a node needs, and the Debian package that has it.
type nodeTool struct{ name, pkg string }

func nodeTools() []nodeTool {
	return []nodeTool{
		{"containerd", "containerd"},
		{"ctr", "containerd"},
		{"containerd-shim-runc-v2", "containerd"},
		{"runc", "runc"},
		{"bridge", "containernetworking-plugins"},
		{"nft", "nftables"},
		{"ip", "iproute2"},
		{"mount", "mount"},
	}
}

// CheckNode returns nil if this machine can run a cluster with a node, else an error that is ErrNoNode and says why.
func CheckNode() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: it takes Linux, this is %s", ErrNoNode, runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it takes root", ErrNoNode)
	}
	if missing := missingCapabilities(); len(missing) > 0 {
		return fmt.Errorf("%w: this root has no %s", ErrNoNode, strings.Join(missing, ", "))
	}
	_, missing := findTools(nodeTools())
	if len(missing) > 0 {
		return fmt.Errorf("%w: missing programs; %s", ErrNoNode, installHint(missing))
	}
	return nil
}

// missingCapabilities names those of a root that cannot make namespaces or networks, as in an ordinary container.
func missingCapabilities() []string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(status), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	effective, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return nil
	}
	var missing []string
	for _, capability := range []struct {
		name string
		bit  uint
	}{{"CAP_NET_ADMIN", 12}, {"CAP_SYS_ADMIN", 21}} {
		if effective&(1<<capability.bit) == 0 {
			missing = append(missing, capability.name)
		}
	}
	return missing
}

// findTools gives the path of each tool, and the packages of those that are not there.
func findTools(tools []nodeTool) (paths map[string]string, missing []string) {
	paths = map[string]string{}
	seen := map[string]bool{}
	for _, tool := range tools {
		if path := findTool(tool.name); path != "" {
			paths[tool.name] = path
		} else if !seen[tool.pkg] {
			seen[tool.pkg] = true
			missing = append(missing, tool.pkg)
		}
	}
	return paths, missing
}

func findTool(name string) string {
	if path, err := exec.LookPath(name); err == nil && name != "bridge" { // iproute2 has a bridge, too
		return path
	}
	folders := []string{"/usr/sbin", "/sbin", "/usr/local/sbin"}
	if name == "bridge" {
		folders = cniFolders()
	}
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

//go:embed node.sh
var nodeScript string

// writeNodeFiles writes the node's set-up and its components' configurations.
func (c *Cluster) writeNodeFiles() error {
	for _, dir := range []string{"kubelet", "containerd", "pod-logs", "container-logs", "cni"} {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
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
		if err := os.WriteFile(c.path(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// The paths are the usual ones: node.sh lays the cluster's own folders over them.
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
`, containerdSocket, PauseImage, snapshotter(c.dir), filepath.Dir(c.state.Tools["bridge"]), c.path("cni"))
}

const containerdSocket = "/run/containerd/containerd.sock"

func (c *Cluster) kubeletConfig() string {
	serving := c.pki("kubelet")
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
`, containerdSocket, c.pki("ca").cert, serving.cert, serving.key, c.state.CGroup)
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

// linkName is the same for the same folder, so that whoever removes the cluster removes its own link only.
func linkName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "tach" + hex.EncodeToString(sum[:4])
}

// networks is how many clusters with a node can run side by side.
const networks = 256

// chooseNetwork takes a network that nothing on this machine uses, by adding the route to its pods: of two that want the
// same one, the kernel refuses the second. The link's far end becomes the node's eth0.
func (c *Cluster) chooseNetwork(ctx context.Context) error {
	if err := c.ip(ctx, "link", "add", c.state.Link, "type", "veth", "peer", "name", c.state.Link+"n"); err != nil {
		return err
	}
	if err := c.ip(ctx, "link", "set", c.state.Link, "up"); err != nil {
		return err
	}
	var last error
	for number := range networks {
		n := nodeNetwork(number)
		busy, err := n.busy()
		if err != nil {
			return err
		}
		if busy {
			continue
		}
		last = c.ip(ctx, "route", "add", n.Pods, "via", n.Address, "dev", c.state.Link, "onlink")
		if last == nil {
			c.state.Network = n
			return errors.Join(
				c.ip(ctx, "address", "add", n.HostAddress+"/30", "dev", c.state.Link),
				c.ip(ctx, "route", "add", n.Services, "via", n.Address, "dev", c.state.Link))
		}
	}
	return fmt.Errorf("find a free network among %d: %w", networks, errors.Join(last, ctx.Err()))
}

// connect gives the link's far end to the supervisor's network namespace.
func (c *Cluster) connect(ctx context.Context, supervisorPID int) error {
	return c.ip(ctx, "link", "set", c.state.Link+"n", "netns", strconv.Itoa(supervisorPID), "name", "eth0")
}

// removeLink removes both ends of the link, if it is there, and with it every route.
func (c *Cluster) removeLink(ctx context.Context) error {
	if c.state.Link == "" {
		return nil
	}
	if _, err := os.Stat("/sys/class/net/" + c.state.Link); err != nil {
		return nil
	}
	err := c.ip(ctx, "link", "delete", c.state.Link)
	if _, gone := os.Stat("/sys/class/net/" + c.state.Link); gone != nil {
		return nil // it went with the node's end
	}
	return err
}

func (c *Cluster) ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, c.state.Tools["ip"], args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
