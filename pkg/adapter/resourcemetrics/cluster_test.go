package resourcemetrics

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func testNode(name string, port int32, addresses ...corev1.NodeAddress) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u", Labels: map[string]string{"zone": "z"}}}
	n.Status.Addresses = addresses
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = port
	n.Status.Images = []corev1.ContainerImage{{Names: []string{"large"}}}
	return n
}

// newWatchedCluster returns a running MeasuredCluster of nodes and one pod.
func newWatchedCluster(t *testing.T, opts ClusterOptions, fail error, nodes ...runtime.Object) *MeasuredCluster {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	pod := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a": "b"}},
	}
	pods := metadatafake.NewSimpleMetadataClient(scheme, pod)
	if fail != nil {
		pods.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, fail })
	}
	c, err := NewMeasuredCluster(Clients{Metadata: pods, Kube: fake.NewClientset(nodes...)}, opts)
	if err != nil {
		t.Fatal(err)
	}
	if c.SyncError() == nil {
		t.Error("synced before Run")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	<-time.After(5 * time.Second)
	synctest.Wait()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return c
}

func TestCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newWatchedCluster(t, ClusterOptions{}, nil,
			testNode("a", 10251, corev1.NodeAddress{Type: corev1.NodeHostName, Address: "host"}, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "fd00::1"}),
			testNode("b", 0, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "192.0.2.1"}),
			testNode("c", 0))
		if err := c.SyncError(); err != nil {
			t.Fatal(err)
		}
		nodes := c.ListNodes()
		slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
		want := []Node{{Name: "a", UID: "u", Address: "[fd00::1]:10251"}, {Name: "b", UID: "u", Address: "192.0.2.1:10250"}, {Name: "c", UID: "u"}}
		if diff := cmp.Diff(want, nodes); diff != "" {
			t.Errorf("nodes (-want +got):\n%s", diff)
		}
		everything, web, none := labels.Everything(), labels.SelectorFromSet(labels.Set{"app": "web"}), labels.SelectorFromSet(labels.Set{"app": "none"})
		for _, tc := range []struct {
			resource, namespace string
			selector            labels.Selector
			want                int
		}{
			{Pods, "", everything, 1}, {Pods, "n", web, 1}, {Pods, "m", everything, 0}, {Pods, "n", none, 0},
			{Nodes, "", everything, 3}, {Nodes, "", web, 0},
		} {
			if got := c.List(tc.resource, tc.namespace, tc.selector); len(got) != tc.want {
				t.Errorf("List(%s, %q, %s) = %d, want %d", tc.resource, tc.namespace, tc.selector, len(got), tc.want)
			}
		}
		if p := c.Get(Pods, metric.Object{Namespace: "n", Name: "p"}); p == nil || p.Labels["app"] != "web" || p.Annotations != nil {
			t.Errorf("pod %v", p)
		}
		if n := c.Get(Nodes, metric.Object{Name: "a"}); n == nil || n.Labels["zone"] != "z" {
			t.Errorf("node %v", n)
		}
		if c.Get(Pods, metric.Object{Namespace: "n", Name: "q"}) != nil || c.Get(Nodes, metric.Object{Name: "q"}) != nil {
			t.Error("finds what is not there")
		}
	})
}

func TestClusterPrefersAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newWatchedCluster(t, ClusterOptions{Addresses: []corev1.NodeAddressType{corev1.NodeHostName}}, nil,
			testNode("a", 1, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}, corev1.NodeAddress{Type: corev1.NodeHostName, Address: "host"}))
		if diff := cmp.Diff([]Node{{Name: "a", UID: "u", Address: "host:1"}}, c.ListNodes()); diff != "" {
			t.Errorf("nodes (-want +got):\n%s", diff)
		}
	})
}

func TestClusterSaysWhatItMayNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newWatchedCluster(t, ClusterOptions{}, errors.New("pods is forbidden"), testNode("a", 0))
		if err := c.SyncError(); err == nil || !strings.Contains(err.Error(), "pods have not been listed yet: ") || !strings.Contains(err.Error(), "pods is forbidden") {
			t.Errorf("SyncError = %v", err)
		}
	})
}
