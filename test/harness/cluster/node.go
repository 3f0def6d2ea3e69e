//go:build unix

// The conditions for a node on this machine: root, capabilities and system programs.

package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// ErrNoNode means that this machine cannot run a cluster with a node; the control plane alone still works.
var ErrNoNode = errors.New("no node can run here")

// cniFolders returns the folders of the CNI plugins in several distributions.
func cniFolders() []string { return []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} }

// nodeTool is a system program that a node needs, and its Debian package.
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

// CheckNode returns nil if this machine can run a cluster with a node, else an ErrNoNode with the reason.
func CheckNode() error {
	_, missing := findNodeTools(nodeTools())
	status, _ := os.ReadFile("/proc/self/status") // without a status, the kernel reports the missing right later
	return machine{os: runtime.GOOS, user: os.Geteuid(), status: string(status), missing: missing}.checkMachine()
}

// machine has the properties of this machine that decide whether a node can run.
type machine struct {
	os      string
	user    int
	status  string   // of this process, as in /proc/self/status
	missing []string // packages
}

func (m machine) checkMachine() error {
	if m.os != "linux" {
		return fmt.Errorf("%w: it takes Linux, this is %s", ErrNoNode, m.os)
	}
	if m.user != 0 {
		return fmt.Errorf("%w: it takes root", ErrNoNode)
	}
	if missing := missingCapabilities(m.status); len(missing) > 0 {
		return fmt.Errorf("%w: this root has no %s", ErrNoNode, strings.Join(missing, ", "))
	}
	if len(m.missing) > 0 {
		return fmt.Errorf("%w: missing programs; %s", ErrNoNode, installHint(m.missing))
	}
	return nil
}

// missingCapabilities returns the missing capabilities for namespaces and networks; root in an ordinary container lacks them.
func missingCapabilities(status string) []string {
	_, rest, _ := strings.Cut(status, "CapEff:")
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

// findNodeTools returns the path of each tool, and the packages of the missing tools.
func findNodeTools(tools []nodeTool) (paths map[string]string, missing []string) {
	paths = map[string]string{}
	seen := map[string]bool{}
	for _, tool := range tools {
		if path := findNodeTool(tool.name); path != "" {
			paths[tool.name] = path
		} else if !seen[tool.pkg] {
			seen[tool.pkg] = true
			missing = append(missing, tool.pkg)
		}
	}
	return paths, missing
}

func findNodeTool(name string) string {
	if path, err := exec.LookPath(name); err == nil && name != "bridge" { // iproute2 also has a bridge
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
