//go:build unix

// The enforcement of network policies on a node, by the firewall of kube-router.

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ErrNoPolicyEngine means that this machine cannot enforce network policies.
var ErrNoPolicyEngine = errors.New("network policies cannot be enforced here")

// policyTools are the system programs of the network policies' engine.
func policyTools() []nodeTool {
	return []nodeTool{{"iptables", "iptables"}, {"ipset", "ipset"}, {"nsenter", "util-linux"}}
}

// engineStopTimeout is for the engine to end by itself.
const engineStopTimeout = 10 * time.Second

// EnforceNetworkPolicies puts the NetworkPolicies of the cluster in force on its node, until stop. The engine is the firewall of kube-router,
// whose version the nested module policyengine pins. It enforces new and changed policies within seconds, and writes into the folder of logs.
// Without its programs, or the kernel for it, the error is an ErrNoPolicyEngine.
func (c *Cluster) EnforceNetworkPolicies(ctx context.Context, opts Options) (stop func() error, err error) {
	if !c.state.Node {
		return nil, errors.New("enforce network policies: the cluster has no node")
	}
	engine, err := ensurePolicyEngine(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("build the engine of network policies: %w", err)
	}
	tools, _ := findNodeTools(policyTools())
	if out, err := c.nodeCommand(ctx, tools["ipset"], "list", "-name").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: ipset list: %w: %s; load the kernel's modules ip_set and xt_set", ErrNoPolicyEngine, err, out)
	}
	log, err := os.Create(c.clusterFilePath("logs", "kube-router.log"))
	if err != nil {
		return nil, err
	}
	cmd := c.nodeCommand(context.WithoutCancel(ctx), engine, "--kubeconfig="+c.Kubeconfig(), "--hostname-override="+NodeName,
		"--run-firewall", "--run-router=false", "--run-service-proxy=false", "--enable-cni=false",
		"--service-cluster-ip-range="+c.state.Network.Services, "--health-port=0", "--metrics-port=0", "-v=1")
	if err := startPolicyEngine(cmd, log); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return func() error {
		err := stopPolicyEngine(cmd, engineStopTimeout)
		return errors.Join(err, c.removePolicyRules(context.WithoutCancel(ctx)), log.Close())
	}, nil
}

// startPolicyEngine starts the engine below nsenter, which passes no signal on: they are one process group.
func startPolicyEngine(cmd *exec.Cmd, log io.Writer) error {
	output := io.MultiWriter(log) // not a file: so Wait lasts until the engine has ended, and not only nsenter
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

// stopPolicyEngine ends the engine, and kills it after a timeout.
func stopPolicyEngine(cmd *exec.Cmd, timeout time.Duration) error {
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the engine of network policies: %w", err)
	}
	kill := time.AfterFunc(timeout, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	_ = cmd.Wait() // the signal is an error too
	return nil
}

// removePolicyRules removes the rules of the engine, which leaves them in force. Beside them the table has only rules of the kubelet, which it
// adds again.
func (c *Cluster) removePolicyRules(ctx context.Context) error {
	if out, err := c.nodeCommand(ctx, c.state.Tools["nft"], "delete", "table", "ip", "filter").CombinedOutput(); err != nil {
		return fmt.Errorf("remove the rules of network policies: %w: %s", err, out)
	}
	return nil
}

// nodeCommand returns a command in the node's namespaces.
func (c *Cluster) nodeCommand(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(c.state.Supervisor.PID), "--mount", "--net", "--pid", "--"}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// ensurePolicyEngine returns the path of the engine, built unless it is in the cache, and checks its system programs.
func ensurePolicyEngine(ctx context.Context, opts Options) (string, error) {
	if opts.Install {
		if err := installTools(ctx, opts.Log, policyTools()); err != nil {
			return "", err
		}
	}
	if _, missing := findNodeTools(policyTools()); len(missing) > 0 {
		return "", fmt.Errorf("%w: missing programs; %s", ErrNoPolicyEngine, installHint(missing))
	}
	source, err := kubeSourceDir()
	if err != nil {
		return "", err
	}
	cache, err := clusterCacheDir()
	if err != nil {
		return "", err
	}
	module := filepath.Join(source, "policyengine")
	sum, err := hashSourceFiles(module, "go.mod", "go.sum")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "policyengine", sum)
	return filepath.Join(dir, "kube-router"), buildProgramOnce(ctx, dir, func(target string) error {
		cmd := goBuildCommand(ctx, module, "-o", target+"/", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
}
