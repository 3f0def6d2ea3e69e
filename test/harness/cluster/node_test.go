//go:build linux

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster/internal/process"
)

const probeManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: probe}
spec:
  replicas: 2
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec:
      containers:
      - name: probe
        image: tachometer/probe:test
        imagePullPolicy: Never
        args: [serve]
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: probe}
spec: {selector: {app: probe}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: paused}
spec:
  selector: {matchLabels: {app: paused}}
  template:
    metadata: {labels: {app: paused}}
    spec: {containers: [{name: paused, image: "tachometer/pause:1", imagePullPolicy: Never}]}
`

// TestNode uses the features of a node, then kills half of it and looks for remains after Down.
func TestNode(t *testing.T) {
	needNode(t)
	before := traces(t)
	archive, _ := probeImage(t)
	dir := t.TempDir()
	c := startCluster(t, Options{Dir: dir, Node: true})
	if err := c.LoadImage(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	apply(t, c, probeManifest)
	kubectl(t, c, "rollout", "status", "deployment/probe", "--timeout=60s")
	kubectl(t, c, "rollout", "status", "deployment/paused", "--timeout=60s")
	pod := kubectl(t, c, "get", "pods", "-l", "app=probe", "-o", "jsonpath={.items[0].metadata.name}")

	t.Run("logs", func(t *testing.T) {
		if got, wanted := kubectl(t, c, "logs", pod), "serving as "+pod; got != wanted {
			t.Errorf("got %q, want %q", got, wanted)
		}
	})
	t.Run("pod from here", func(t *testing.T) {
		ip := kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
		expectHello(t, "http://"+net.JoinHostPort(ip, "8080"))
	})
	service := kubectl(t, c, "get", "service", "probe", "-o", "jsonpath={.spec.clusterIP}")
	t.Run("Service from here", func(t *testing.T) { expectHello(t, "http://"+service) })
	t.Run("Service from a pod, by exec", func(t *testing.T) {
		for range 4 { // both endpoints, the pod itself among them
			if got := kubectl(t, c, "exec", pod, "--", "/probe", "get", "http://"+service); !strings.Contains(got, "hello from probe-") {
				t.Errorf("got %q", got)
			}
		}
	})
	t.Run("API from a pod, as its ServiceAccount", func(t *testing.T) {
		got := kubectl(t, c, "exec", pod, "--", "/probe", "get", "/api/v1/namespaces/default/pods")
		if wanted := `User \"system:serviceaccount:default:default\" cannot list resource`; !strings.Contains(got, wanted) {
			t.Errorf("got %q, want %q in it", got, wanted)
		}
	})
	t.Run("this machine from a pod", func(t *testing.T) { askBack(t, c, pod) })
	t.Run("port-forward", func(t *testing.T) { portForward(t, c, pod) })
	t.Run("second cluster", func(t *testing.T) { sideBySide(t, c, dir) })
	t.Run("nothing left", func(t *testing.T) { nothingLeft(t, c, before) })
}

func expectHello(t *testing.T, url string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		client := &http.Client{Timeout: time.Second}
		defer client.CloseIdleConnections()
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && !strings.HasPrefix(string(body), "hello from probe-") {
			err = fmt.Errorf("got %q", body)
		}
		return err
	})
}

// askBack lets a pod send a request to a process of this machine.
func askBack(t *testing.T, c *Cluster, pod string) {
	listener, err := net.Listen("tcp", net.JoinHostPort(c.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello pod") })}
	go server.Serve(listener)
	defer server.Close()
	if got := kubectl(t, c, "exec", pod, "--", "/probe", "get", "http://"+listener.Addr().String()); !strings.Contains(got, "hello pod") {
		t.Errorf("got %q", got)
	}
}

func portForward(t *testing.T, c *Cluster, pod string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := c.KubectlCommand(ctx, "port-forward", "pod/"+pod, ":8080")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	line := make([]byte, 200)
	n, _ := stdout.Read(line)
	match := regexp.MustCompile(`127\.0\.0\.1:\d+`).Find(line[:n])
	if match == nil {
		t.Fatalf("kubectl port-forward says %q", line[:n])
	}
	expectHello(t, "http://"+string(match))
}

// sideBySide starts and ends another cluster beside c; c must keep working.
func sideBySide(t *testing.T, c *Cluster, dir string) {
	other, err := Start(t.Context(), Options{Dir: dir, Node: true, Log: logWriter{t}})
	if err != nil {
		t.Fatal(err)
	}
	if other.NodeIP() == c.NodeIP() || other.PodCIDR() == c.PodCIDR() || other.ServiceCIDR() == c.ServiceCIDR() {
		t.Errorf("both clusters have %s, %s or %s", c.NodeIP(), c.PodCIDR(), c.ServiceCIDR())
	}
	apply(t, other, pausedDeployment)
	kubectl(t, other, "rollout", "status", "deployment/paused", "--timeout=60s")
	if err := other.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := kubectl(t, c, "get", "node", NodeName, "-o", "name"); got != "node/"+NodeName {
		t.Errorf("got %q", got)
	}
}

// nothingLeft kills some of the cluster as a crash would, removes it, and compares the machine with its earlier state.
func nothingLeft(t *testing.T, c *Cluster, before map[string][]string) {
	pids, err := c.Processes()
	if err != nil {
		t.Fatal(err)
	}
	namespaces := namespacesOf(pids["supervisor"])
	if len(namespaces) != 4 { // the node's own and one for each of three pods
		t.Errorf("network namespaces of the running cluster: %v", namespaces)
	}
	for _, victim := range []string{"containerd", "kube-proxy", "kubelet", "etcd"} {
		if err := process.Identify(pids[victim]).Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(filepath.Dir(c.Dir()), c.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	for kind, now := range traces(t) {
		for _, trace := range now {
			if !slices.Contains(before[kind], trace) && !foreign(trace, c.state.Link) {
				t.Errorf("left behind, %s: %s", kind, trace)
			}
		}
	}
	if left := processesNaming(c.Dir()); len(left) > 0 {
		t.Errorf("left behind, processes: %v", left)
	}
	for _, namespace := range namespaces {
		if users := usersOf(namespace); len(users) > 0 {
			t.Errorf("left behind, namespace %s of %v", namespace, users)
		}
	}
	if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
		t.Errorf("left behind, folder %s: %v", c.Dir(), err)
	}
}

// traces returns the possible remains of a node on the machine, by kind.
func traces(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for kind, command := range map[string]string{
		"mounts":          "cat /proc/self/mounts",
		"links":           "ls /sys/class/net",
		"routes":          "ip route",
		"nftables tables": "nft list tables",
		"cgroups":         "find /sys/fs/cgroup -type d -name 'tach*'",
		"shims":           "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -a '[s]him-runc' || true",
		"settings":        "cd /proc/sys && head -n1 kernel/panic kernel/panic_on_oops vm/overcommit_memory net/ipv4/ip_forward",
		"folders":         "ls -d /run/containerd /run/runc /run/netns/* /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers 2>/dev/null || true",
	} {
		cmd := exec.Command("/bin/sh", "-c", command)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		for line := range bytes.Lines(out) {
			found[kind] = append(found[kind], strings.TrimSpace(string(line)))
		}
	}
	return found
}

// foreign reports whether a trace belongs to another cluster that was started meanwhile.
func foreign(trace, link string) bool {
	name := regexp.MustCompile(`tach[0-9a-f]{8}`).FindString(trace)
	return name != "" && name != link
}

// namespacesOf returns the network namespaces of a process and of its descendants.
func namespacesOf(first int) []string {
	parents := map[int]int{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		status, _ := os.ReadFile(folder + "/status")
		_, rest, _ := strings.Cut(string(status), "\nPPid:")
		line, _, _ := strings.Cut(rest, "\n")
		pid, _ := strconv.Atoi(filepath.Base(folder))
		parents[pid], _ = strconv.Atoi(strings.TrimSpace(line))
	}
	var namespaces []string
	for pid := range parents {
		ancestor := pid
		for ancestor != first && ancestor != 0 {
			ancestor = parents[ancestor]
		}
		namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if ancestor == first && err == nil && !slices.Contains(namespaces, namespace) {
			namespaces = append(namespaces, namespace)
		}
	}
	return namespaces
}

// usersOf returns the processes in a network namespace.
func usersOf(namespace string) []string {
	var users []string
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == namespace {
			users = append(users, link)
		}
	}
	return users
}
