// Package cluster runs a real Kubernetes on this machine: etcd, kube-apiserver and kube-controller-manager, the HPA controller
// among its controllers; with Options.Node also a scheduler and a node that runs pods. Tests and the demo use it in place of a
// cluster in a data centre, without Docker and without an image registry.
//
//	c, err := cluster.Start(ctx, cluster.Options{Node: true, Log: os.Stderr})
//	...
//	defer c.Down(ctx)
//	err = c.LoadImage(ctx, "out/adapter.tar")
//	out, err := c.Kubectl(ctx, "apply", "-k", "manifests/adapter")
//
// The same by hand is the command cmd/cluster: `cluster up --node`, `eval "$(cluster env)"`, `cluster down`.
//
// # Two sizes
//
// Without a node, pods are objects only: a test writes their status. It takes no root. Components listen on loopback. A process that the
// API server must reach listens on Cluster.HostIP and is registered with Cluster.Expose.
//
// With a node (root and Linux) everything runs in process, mount and network namespaces of its own, with its own
// /run and /var. When their first process, the supervisor, ends, the kernel removes containers, mounts, bridge and nftables
// tables, after any crash. Clusters do not see each other. On this machine a cluster uses one veth link
// (tachXXXXXXXX) with the routes to its pods and Services, a cgroup of that name, and its folder; Down removes them.
// From this machine the API server, pods and Services are reached by their addresses, and pods reach this
// machine at Cluster.HostIP. Pods cannot reach other networks: no default route, no DNS. Images come from LoadImage, never from a
// registry. Network policies are enforced only by EnforceNetworkPolicies; hostPort is not supported.
//
// # Programs
//
// Kubernetes is compiled from its Go modules (the nested module kube, which pins its version) on first use, for minutes, and kept
// in the user's cache folder, tachometer/kubernetes. It is 1.37; the environment variable TACHOMETER_KUBERNETES=1.36 selects the version
// before. A node also takes Debian's containerd, runc, containernetworking-plugins and nftables; Options.Install installs the missing
// packages.
package cluster
