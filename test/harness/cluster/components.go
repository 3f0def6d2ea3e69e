//go:build unix

// The processes of a cluster, from etcd to kube-proxy, with their arguments.

package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/supervisor"
)

// NodeName is the name of the only node, in every cluster with a node.
const NodeName = "node"

// specifyProcesses lists the processes of the cluster in the order of their start.
func (c *Cluster) specifyProcesses(opts Options) supervisor.Spec {
	ready := c.state.Server + "/readyz"
	processes := []supervisor.Process{c.etcdProcess(), c.apiServerProcess(opts), c.controllerManagerProcess(opts, ready)}
	spec := supervisor.Spec{
		Logs: c.clusterFilePath("logs"), Status: c.clusterFilePath("processes.json"), CA: c.pkiPair("ca").cert,
	}
	if c.state.Node {
		spec.Setup = []string{"/bin/sh", c.clusterFilePath("node.sh")}
		processes = append([]supervisor.Process{c.containerdProcess()}, processes...)
		processes = append(processes, c.schedulerProcess(ready), c.kubeletProcess(), c.kubeProxyProcess())
	}
	spec.Processes = processes
	return spec
}

func (c *Cluster) kubeProcess(program string, args ...string) supervisor.Process {
	return supervisor.Process{Name: program, Args: append([]string{c.state.Programs.Kube, program}, args...)}
}

func (c *Cluster) etcdProcess() supervisor.Process {
	n := c.state.Network.Ports
	client, peer := localClusterURL(n.Etcd), localClusterURL(n.EtcdPeer)
	who := c.pkiPair("etcd")
	return c.kubeProcess("etcd",
		"--name=default", "--data-dir="+c.clusterFilePath("etcd"), "--log-level=warn", "--logger=zap",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer,
		"--client-cert-auth", "--trusted-ca-file="+c.pkiPair("etcd-ca").cert, "--cert-file="+who.cert, "--key-file="+who.key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+c.pkiPair("etcd-ca").cert, "--peer-cert-file="+who.cert, "--peer-key-file="+who.key,
		"--unsafe-no-fsync", // the data of a cluster need not survive a power cut
	)
}

func (c *Cluster) apiServerProcess(opts Options) supervisor.Process {
	n := c.state.Network
	serving, kubelet, front, etcd := c.pkiPair("apiserver"), c.pkiPair("apiserver-kubelet"), c.pkiPair("front-proxy"), c.pkiPair("etcd")
	args := []string{
		"--bind-address=" + n.Bind, "--secure-port=" + strconv.Itoa(n.Ports.API), "--advertise-address=" + n.Address,
		"--service-cluster-ip-range=" + n.Services, "--cert-dir=" + c.clusterFilePath("pki"),
		"--tls-cert-file=" + serving.cert, "--tls-private-key-file=" + serving.key, "--client-ca-file=" + c.pkiPair("ca").cert,
		"--etcd-servers=" + localClusterURL(n.Ports.Etcd), "--etcd-cafile=" + c.pkiPair("etcd-ca").cert,
		"--etcd-certfile=" + etcd.cert, "--etcd-keyfile=" + etcd.key,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--kubelet-certificate-authority=" + c.pkiPair("ca").cert, "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + kubelet.cert, "--kubelet-client-key=" + kubelet.key,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.clusterFilePath("pki", "service-account.pub"),
		"--service-account-signing-key-file=" + c.pkiPair("service-account").key,
		"--requestheader-client-ca-file=" + c.pkiPair("front-proxy-ca").cert, "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + front.cert, "--proxy-client-key-file=" + front.key,
		"--enable-aggregator-routing=" + strconv.FormatBool(!c.state.ExternalName),
	}
	p := c.kubeProcess("kube-apiserver", append(args, opts.APIServerArgs...)...)
	p.After = "tcp://" + localClusterAddress(n.Ports.Etcd)
	return p
}

func (c *Cluster) controllerManagerProcess(opts Options, after string) supervisor.Process {
	ca := c.pkiPair("ca")
	args := append(c.controlArgs("kube-controller-manager", c.state.Network.Ports.ControllerManager),
		"--root-ca-file="+ca.cert, "--service-account-private-key-file="+c.pkiPair("service-account").key,
		"--cluster-signing-cert-file="+ca.cert, "--cluster-signing-key-file="+ca.key,
		// Controllers act as their own ServiceAccounts, the HPA's among them: its rights are the real ones.
		"--use-service-account-credentials",
	)
	for flag, value := range map[string]time.Duration{
		"--horizontal-pod-autoscaler-sync-period":               opts.HPASyncPeriod,
		"--horizontal-pod-autoscaler-initial-readiness-delay":   opts.HPAInitialReadinessDelay,
		"--horizontal-pod-autoscaler-cpu-initialization-period": opts.HPACPUInitializationPeriod,
	} {
		if value > 0 {
			args = append(args, flag+"="+value.String())
		}
	}
	slices.Sort(args)
	p := c.kubeProcess("kube-controller-manager", append(args, opts.ControllerManagerArgs...)...)
	p.After = after
	return p
}

func (c *Cluster) schedulerProcess(after string) supervisor.Process {
	p := c.kubeProcess("kube-scheduler", c.controlArgs("kube-scheduler", c.state.Network.Ports.Scheduler)...)
	p.After = after
	return p
}

// controlArgs returns the arguments shared by the controller manager and the scheduler. Each runs once: no leader election.
func (c *Cluster) controlArgs(name string, port int) []string {
	kubeconfig := c.clusterFilePath(name + ".kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + c.state.Network.Bind, "--secure-port=" + strconv.Itoa(port), "--cert-dir=" + c.clusterFilePath("pki"),
		"--leader-elect=false",
	}
}

func (c *Cluster) containerdProcess() supervisor.Process {
	return supervisor.Process{
		Name: "containerd",
		Args: []string{c.state.Tools["containerd"], "--config=" + c.clusterFilePath("containerd.toml")},
	}
}

func (c *Cluster) kubeletProcess() supervisor.Process {
	p := c.kubeProcess("kubelet",
		"--config="+c.clusterFilePath("kubelet.yaml"), "--kubeconfig="+c.clusterFilePath("node.kubeconfig"),
		"--hostname-override="+NodeName, "--node-ip="+c.state.Network.Address,
	)
	p.After = c.state.Server + "/readyz"
	return p
}

func (c *Cluster) kubeProxyProcess() supervisor.Process {
	p := c.kubeProcess("kube-proxy",
		"--kubeconfig="+c.clusterFilePath("kube-proxy.kubeconfig"), "--hostname-override="+NodeName, "--proxy-mode=nftables",
		"--cluster-cidr="+c.state.Network.Pods, "--oom-score-adj=0",
		// The connection table's size and timeouts belong to the whole machine.
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
	)
	p.After = c.state.Server + "/readyz"
	return p
}

func localClusterAddress(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
func localClusterURL(port int) string     { return "https://" + localClusterAddress(port) }

// clusterFilePath returns the path of a file in the cluster's folder.
func (c *Cluster) clusterFilePath(elements ...string) string {
	return filepath.Join(append([]string{c.dir}, elements...)...)
}

func (c *Cluster) pkiPair(name string) pair {
	return pair{cert: c.clusterFilePath("pki", name+".crt"), key: c.clusterFilePath("pki", name+".key")}
}
