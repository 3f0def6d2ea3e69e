//go:build unix

package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/supervisor"
)

// NodeName is the only node's, in every cluster that has one.
const NodeName = "node"

// specification lists the processes of the cluster in the order of their start.
func (c *Cluster) specification(opts Options) supervisor.Spec {
	ready := c.state.Server + "/readyz"
	processes := []supervisor.Process{c.etcd(), c.apiServer(opts), c.controllerManager(opts, ready)}
	spec := supervisor.Spec{
		Logs: c.path("logs"), Status: c.path("processes.json"), CA: c.pki("ca").cert,
	}
	if c.state.Node {
		spec.Setup = []string{"/bin/sh", c.path("node.sh")}
		processes = append([]supervisor.Process{c.containerd()}, processes...)
		processes = append(processes, c.scheduler(ready), c.kubelet(opts), c.kubeProxy())
	}
	spec.Processes = processes
	return spec
}

func (c *Cluster) kube(program string, args ...string) supervisor.Process {
	return supervisor.Process{Name: program, Args: append([]string{c.state.Programs.Kube, program}, args...)}
}

func (c *Cluster) etcd() supervisor.Process {
	n := c.state.Network.Ports
	client, peer := localURL(n.Etcd), localURL(n.EtcdPeer)
	who := c.pki("etcd")
	return c.kube("etcd",
		"--name=default", "--data-dir="+c.path("etcd"), "--log-level=warn", "--logger=zap",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer,
		"--client-cert-auth", "--trusted-ca-file="+c.pki("etcd-ca").cert, "--cert-file="+who.cert, "--key-file="+who.key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+c.pki("etcd-ca").cert, "--peer-cert-file="+who.cert, "--peer-key-file="+who.key,
		"--unsafe-no-fsync", // nothing outlives a cluster, so nothing need survive a power cut
	)
}

func (c *Cluster) apiServer(opts Options) supervisor.Process {
	n := c.state.Network
	serving, kubelet, front, etcd := c.pki("apiserver"), c.pki("apiserver-kubelet"), c.pki("front-proxy"), c.pki("etcd")
	args := []string{
		"--bind-address=" + n.Bind, "--secure-port=" + strconv.Itoa(n.Ports.API), "--advertise-address=" + n.Address,
		"--service-cluster-ip-range=" + n.Services, "--cert-dir=" + c.path("pki"),
		"--tls-cert-file=" + serving.cert, "--tls-private-key-file=" + serving.key, "--client-ca-file=" + c.pki("ca").cert,
		"--etcd-servers=" + localURL(n.Ports.Etcd), "--etcd-cafile=" + c.pki("etcd-ca").cert,
		"--etcd-certfile=" + etcd.cert, "--etcd-keyfile=" + etcd.key,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--kubelet-certificate-authority=" + c.pki("ca").cert, "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + kubelet.cert, "--kubelet-client-key=" + kubelet.key,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("pki", "service-account.pub"),
		"--service-account-signing-key-file=" + c.pki("service-account").key,
		"--requestheader-client-ca-file=" + c.pki("front-proxy-ca").cert, "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + front.cert, "--proxy-client-key-file=" + front.key,
		"--enable-aggregator-routing=" + strconv.FormatBool(!c.state.ExternalName),
	}
	p := c.kube("kube-apiserver", append(args, opts.APIServerArgs...)...)
	p.After = "tcp://" + local(n.Ports.Etcd)
	return p
}

func (c *Cluster) controllerManager(opts Options, after string) supervisor.Process {
	ca := c.pki("ca")
	args := append(c.controlArgs("kube-controller-manager", c.state.Network.Ports.ControllerManager),
		"--root-ca-file="+ca.cert, "--service-account-private-key-file="+c.pki("service-account").key,
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
	p := c.kube("kube-controller-manager", append(args, opts.ControllerManagerArgs...)...)
	p.After = after
	return p
}

func (c *Cluster) scheduler(after string) supervisor.Process {
	p := c.kube("kube-scheduler", c.controlArgs("kube-scheduler", c.state.Network.Ports.Scheduler)...)
	p.After = after
	return p
}

// controlArgs are what the controller manager and the scheduler have in common. There is one of each: no election.
func (c *Cluster) controlArgs(name string, port int) []string {
	kubeconfig := c.path(name + ".kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + c.state.Network.Bind, "--secure-port=" + strconv.Itoa(port), "--cert-dir=" + c.path("pki"),
		"--leader-elect=false",
	}
}

func (c *Cluster) containerd() supervisor.Process {
	return supervisor.Process{
		Name: "containerd",
		Args: []string{c.state.Tools["containerd"], "--config=" + c.path("containerd.toml")},
	}
}

func (c *Cluster) kubelet(opts Options) supervisor.Process {
	args := []string{
		"--config=" + c.path("kubelet.yaml"), "--kubeconfig=" + c.path("node.kubeconfig"),
		"--hostname-override=" + NodeName, "--node-ip=" + c.state.Network.Address,
	}
	p := c.kube("kubelet", append(args, opts.KubeletArgs...)...)
	p.After = c.state.Server + "/readyz"
	return p
}

func (c *Cluster) kubeProxy() supervisor.Process {
	p := c.kube("kube-proxy",
		"--kubeconfig="+c.path("kube-proxy.kubeconfig"), "--hostname-override="+NodeName, "--proxy-mode=nftables",
		"--cluster-cidr="+c.state.Network.Pods, "--oom-score-adj=0",
		// The connection table's size and timeouts belong to the whole machine.
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
	)
	p.After = c.state.Server + "/readyz"
	return p
}

func local(port int) string    { return fmt.Sprintf("127.0.0.1:%d", port) }
func localURL(port int) string { return "https://" + local(port) }

// path is one of a file in the cluster's folder.
func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.dir}, elements...)...)
}

func (c *Cluster) pki(name string) pair {
	return pair{cert: c.path("pki", name+".crt"), key: c.path("pki", name+".key")}
}
