// Watches of pods and nodes: the objects of the API, and the addresses of kubelets.

package resourcemetrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/metadata/metadatalister"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/kube"
)

// Clients read the cluster's pods and nodes. Both are required.
type Clients struct {
	// Metadata reads pods: names and labels are enough.
	Metadata metadata.Interface
	// Kube reads nodes: their status has the kubelet's address.
	Kube kubernetes.Interface
}

// NewClients returns the clients for a cluster. It does not change cfg.
func NewClients(cfg *rest.Config) (Clients, error) {
	pods, err := metadata.NewForConfig(metadata.ConfigFor(cfg))
	if err != nil {
		return Clients{}, fmt.Errorf("make metadata client: %w", err)
	}
	kube, err := kube.NewClient(cfg)
	if err != nil {
		return Clients{}, err
	}
	return Clients{Metadata: pods, Kube: kube}, nil
}

// ClusterOptions are the settings of a MeasuredCluster.
type ClusterOptions struct {
	// Addresses are the types of node addresses for requests to kubelets, the preferred type first. Empty means
	// InternalIP, ExternalIP, InternalDNS, ExternalDNS, Hostname.
	Addresses []corev1.NodeAddressType
}

// MeasuredCluster watches the pods and nodes of the cluster. It is safe for concurrent use.
type MeasuredCluster struct {
	informers  map[string]cache.SharedIndexInformer // by resource
	podLister  metadatalister.Lister
	nodeLister corelisters.NodeLister
	addresses  []corev1.NodeAddressType

	mu          sync.Mutex
	watchErrors map[string]error // the last failure of a list or watch, by resource; guarded by mu
}

var _ Objects = (*MeasuredCluster)(nil)

// NewMeasuredCluster returns a MeasuredCluster without objects; Run fills it.
func NewMeasuredCluster(c Clients, opts ClusterOptions) (*MeasuredCluster, error) {
	byNamespace := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	gvr := corev1.SchemeGroupVersion.WithResource("pods")
	pods := metadatainformer.NewFilteredMetadataInformer(c.Metadata, gvr, metav1.NamespaceAll, 0, byNamespace, nil).Informer()
	nodes := coreinformers.NewNodeInformer(c.Kube, 0, cache.Indexers{})
	cl := &MeasuredCluster{
		informers:   map[string]cache.SharedIndexInformer{Pods: pods, Nodes: nodes},
		podLister:   metadatalister.New(pods.GetIndexer(), gvr),
		nodeLister:  corelisters.NewNodeLister(nodes.GetIndexer()),
		addresses:   opts.Addresses,
		watchErrors: map[string]error{},
	}
	if len(cl.addresses) == 0 {
		cl.addresses = []corev1.NodeAddressType{
			corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeInternalDNS, corev1.NodeExternalDNS, corev1.NodeHostName,
		}
	}
	for resource, i := range cl.informers {
		if err := errors.Join(i.SetTransform(stripWatchedObject), i.SetWatchErrorHandlerWithContext(cl.newWatchErrorHandler(resource))); err != nil {
			return nil, fmt.Errorf("watch %s: %w", resource, err)
		}
	}
	return cl, nil
}

// stripWatchedObject drops the fields that this package does not read: a cluster has tens of thousands of objects.
func stripWatchedObject(obj any) (any, error) {
	switch o := obj.(type) {
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = stripObjectMetadata(o.ObjectMeta)
	case *corev1.Node:
		o.ObjectMeta, o.Spec = stripObjectMetadata(o.ObjectMeta), corev1.NodeSpec{}
		o.Status = corev1.NodeStatus{Addresses: o.Status.Addresses, DaemonEndpoints: o.Status.DaemonEndpoints}
	}
	return obj, nil
}

func stripObjectMetadata(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, Labels: m.Labels,
	}
}

func (c *MeasuredCluster) newWatchErrorHandler(resource string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *cache.Reflector, err error) {
		c.mu.Lock()
		c.watchErrors[resource] = err
		c.mu.Unlock()
		cache.DefaultWatchErrorHandler(ctx, r, err)
	}
}

// Run watches until ctx ends, and returns nil.
func (c *MeasuredCluster) Run(ctx context.Context) error {
	var watches errgroup.Group
	for _, i := range c.informers {
		watches.Go(func() error { i.RunWithContext(ctx); return nil })
	}
	return watches.Wait()
}

// SyncError returns nil once all pods and nodes are known; else an error with the missing resource and the last failure.
func (c *MeasuredCluster) SyncError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range []string{Pods, Nodes} {
		if c.informers[resource].HasSynced() {
			continue
		}
		if err := c.watchErrors[resource]; err != nil {
			return fmt.Errorf("%s have not been listed yet: %w", resource, err)
		}
		return fmt.Errorf("%s have not been listed yet", resource)
	}
	return nil
}

// List returns the objects of Pods (namespace empty: of all namespaces) or Nodes that s selects. They are shared: the caller
// must not change them.
func (c *MeasuredCluster) List(resource, namespace string, s labels.Selector) []*metav1.PartialObjectMetadata {
	if resource == Pods {
		found, _ := c.podLister.Namespace(namespace).List(s) // a list from memory cannot fail
		return found
	}
	nodes, _ := c.nodeLister.List(s)
	found := make([]*metav1.PartialObjectMetadata, len(nodes))
	for i, n := range nodes {
		found[i] = &metav1.PartialObjectMetadata{ObjectMeta: n.ObjectMeta}
	}
	return found
}

// Get returns an object of Pods or Nodes, or nil. The caller must not change it.
func (c *MeasuredCluster) Get(resource string, o metric.Object) *metav1.PartialObjectMetadata {
	if resource == Pods {
		found, err := c.podLister.Namespace(o.Namespace).Get(o.Name)
		if err != nil {
			return nil
		}
		return found
	}
	n, err := c.nodeLister.Get(o.Name)
	if err != nil {
		return nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: n.ObjectMeta}
}

// ListNodes returns the nodes with the addresses of their kubelets, in no fixed order.
func (c *MeasuredCluster) ListNodes() []Node {
	all, _ := c.nodeLister.List(labels.Everything())
	nodes := make([]Node, len(all))
	for i, n := range all {
		nodes[i] = Node{Name: n.Name, UID: string(n.UID), Address: c.findKubeletAddress(n)}
	}
	return nodes
}

// defaultKubeletPort is the port of a kubelet if its node does not state one.
const defaultKubeletPort = 10250

// findKubeletAddress returns the kubelet's host:port; empty if the node has no address of the types.
func (c *MeasuredCluster) findKubeletAddress(n *corev1.Node) string {
	port := cmp.Or(int(n.Status.DaemonEndpoints.KubeletEndpoint.Port), defaultKubeletPort)
	for _, t := range c.addresses {
		i := slices.IndexFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == t && a.Address != "" })
		if i >= 0 {
			return net.JoinHostPort(n.Status.Addresses[i].Address, strconv.Itoa(port))
		}
	}
	return ""
}
