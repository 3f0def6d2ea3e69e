package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// enforceNetworkPolicies puts the cluster's NetworkPolicies in force until the test ends, or stop.
func enforceNetworkPolicies(t *testing.T) (stop func()) {
	t.Helper()
	end, err := s.Cluster.EnforceNetworkPolicies(t.Context(), cluster.Options{Install: true, Log: os.Stderr})
	if errors.Is(err, cluster.ErrNoPolicyEngine) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
		stopped = true
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(filepath.Dir(s.Cluster.Kubeconfig()), "logs", "kube-router.log")); t.Failed() && err == nil {
			t.Logf("kube-router:\n%s", log[max(0, len(log)-4000):])
		}
		stop()
	})
	return stop
}

// inPod runs work on a thread in the network namespace of a pod.
func inPod(pod corev1.Pod, work func() error) error {
	pids, err := podProcesses(pod)
	if err != nil {
		return err
	}
	namespace, err := os.Open(filepath.Join("/proc", strconv.Itoa(pids[0]), "ns/net"))
	if err != nil {
		return err
	}
	defer namespace.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network of pod %s: %w", pod.Name, err)
			return
		}
		done <- work()
	}()
	return <-done
}

// reach opens a TCP connection from a pod.
func reach(ctx context.Context, from corev1.Pod, address string) error {
	return inPod(from, func() error {
		c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// listenIn listens in a pod, or on this machine for nil, until the test ends, and returns an address that pods know.
func listenIn(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	var listener net.Listener
	var err error
	if pod == nil {
		listener, err = net.Listen("tcp", net.JoinHostPort(s.Cluster.HostIP(), "0"))
	} else {
		err = inPod(*pod, func() (err error) {
			listener, err = net.Listen("tcp", net.JoinHostPort(pod.Status.PodIP, "0"))
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return listener.Addr().String()
}

// way is a connection from a pod that policies leave open, or cut.
type way struct {
	name string
	from corev1.Pod
	to   string
	open bool
}

// waysAre waits until all ways are as they should be.
func waysAre(t *testing.T, ways []way) {
	t.Helper()
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		var errs []error
		for _, w := range ways {
			if err := reach(ctx, w.from, w.to); w.open && err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", w.name, err))
			} else if !w.open && err == nil {
				errs = append(errs, fmt.Errorf("%s: %s is open", w.name, w.to))
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// allOpen returns the ways without policies.
func allOpen(ways []way) []way {
	open := make([]way, len(ways))
	for i, w := range ways {
		w.open = true
		open[i] = w
	}
	return open
}

// startStranger runs a pod of another namespace until the test ends.
func startStranger(t *testing.T) corev1.Pod {
	t.Helper()
	pods := s.Client.CoreV1().Pods(metav1.NamespaceDefault)
	_, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "stranger", Labels: map[string]string{"app.kubernetes.io/name": "stranger"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "sample", Image: stack.SampleImage}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pods.Delete(context.Background(), "stranger", *metav1.NewDeleteOptions(0)); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Kubectl(t.Context(), "-n", metav1.NamespaceDefault, "wait", "--for=condition=Ready", "--timeout=60s", "pod/stranger"); err != nil {
		t.Fatal(err)
	}
	return readyPod(t, metav1.NamespaceDefault, "stranger")
}

// readyPod returns a running pod of an app.
func readyPod(t *testing.T, namespace, app string) corev1.Pod {
	t.Helper()
	pods, err := s.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + app})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			return pod
		}
	}
	t.Fatalf("no pod of %s runs in namespace %s", app, namespace)
	return corev1.Pod{}
}

// kubeAPIServers returns the addresses of kube-apiserver, as a Service and as an endpoint.
func kubeAPIServers(t *testing.T) (service, endpoint string) {
	t.Helper()
	found, err := s.Client.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(found.Spec.ClusterIP, "443"), strings.TrimPrefix(s.Cluster.Server(), "https://")
}

// TestNetworkPolicies: with the shipped NetworkPolicies in force by a real engine, adapter and scaler work, from their first connections on. A
// stranger reaches the ports that the policies open and no other, and what they do not name is cut for adapter and scaler.
func TestNetworkPolicies(t *testing.T) {
	needNode(t)
	send(t, low)
	stranger, outside := startStranger(t), listenIn(t, nil)
	stop := enforceNetworkPolicies(t)
	for _, args := range [][]string{{"restart", "deploy/tachometer-adapter"}, {"status", "deploy/tachometer-adapter", "--timeout=120s"}} {
		if _, err := s.Kubectl(t.Context(), append([]string{"-n", stack.AdapterNamespace, "rollout"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	adapter := readyPod(t, stack.AdapterNamespace, "tachometer-adapter")
	service, endpoint := kubeAPIServers(t)
	ways := []way{
		{"stranger to the adapter's API", stranger, adapter.Status.PodIP + ":6443", true},
		{"stranger to another port of the adapter", stranger, listenIn(t, &adapter), false},
		{"adapter to a pod's page", adapter, stranger.Status.PodIP + ":8080", true},
		{"adapter to another port of a pod", adapter, listenIn(t, &stranger), true},
		{"adapter to the Service of kube-apiserver", adapter, service, true},
		{"adapter to kube-apiserver", adapter, endpoint, true},
		{"adapter to the outside", adapter, outside, false},
		{"stranger to the outside", stranger, outside, true},
	}
	waysAre(t, ways)
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		got, err := s.Custom(ctx, stack.PodsMetric("request_per_second"))
		if err == nil && len(got) < 2 {
			err = fmt.Errorf("values of %d pods, want 2", len(got))
		}
		return err
	})
	if err != nil {
		t.Error("a read of the HPA's metric through kube-apiserver: ", err)
	}
	ways = append(ways, sellBehindPolicies(t, stranger)...)
	stop()
	waysAre(t, allOpen(ways)) // the policies had cut them
}

// sellBehindPolicies plays a sale of TestSale behind the scaler's policy, and returns the ways of the scaler.
func sellBehindPolicies(t *testing.T, stranger corev1.Pod) []way {
	t.Helper()
	ctx := t.Context()
	light(t)
	before, market := beginSale(t, sale.Up)
	scaler := readyPod(t, stack.AdapterNamespace, "tachometer-scaler")
	service, endpoint := kubeAPIServers(t)
	ways := []way{
		{"stranger to the scaler's events", stranger, scaler.Status.PodIP + ":8443", true},
		{"stranger to the scaler's health", stranger, scaler.Status.PodIP + ":8080", true},
		{"stranger to another port of the scaler", stranger, listenIn(t, &scaler), false},
		{"scaler to a pod", scaler, stranger.Status.PodIP + ":8080", true},
		{"scaler to the Service of kube-apiserver", scaler, service, true},
		{"scaler to kube-apiserver", scaler, endpoint, true},
		{"scaler to a broker outside", scaler, market.Broker(), false},
	}
	waysAre(t, ways)
	admitScaler(t)
	if err := market.Publish(ctx, sale.Event("policies", sale.Start, 10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	err := stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error {
		n, err := containers(ctx)
		if err == nil && n < sale.Pods {
			err = fmt.Errorf("%d containers run, want %d", n, sale.Pods)
		}
		return err
	})
	if err != nil {
		t.Fatal("the event has raised no pods: ", err)
	}
	gateSays(t, market, "true") // the scaler has verified the pods
	if err := market.Publish(ctx, sale.Event("policies-end", sale.End, 10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	gateSays(t, market, "false")
	givenBack(t, before)
	return ways
}

// admitScaler adds the rule of one's own that the shipped policy asks for: the broker and the webhook of on-call, outside of the cluster.
func admitScaler(t *testing.T) {
	t.Helper()
	policies := s.Client.NetworkingV1().NetworkPolicies(stack.AdapterNamespace)
	_, err := policies.Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "outside"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "tachometer-scaler"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress: []networkingv1.NetworkPolicyEgressRule{{
				To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: s.Cluster.HostIP() + "/32"}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := policies.Delete(context.Background(), "outside", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}
