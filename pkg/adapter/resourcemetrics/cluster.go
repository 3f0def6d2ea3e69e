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

// Clients are how the cluster's pods and nodes are read. Both are required.
type Clients struct {
	// Metadata reads pods, of which names and labels are enough.
	Metadata metadata.Interface
	// Kube reads nodes, whose status has the kubelet's address.
	Kube kubernetes.Interface
}

// NewClients returns the clients for a cluster; cfg stays as it is.
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

// ClusterOptions are what a Cluster can be told.
type ClusterOptions struct {
	// Addresses are the types of a node's addresses by which its kubelet is asked, the preferred first. Empty means
	// InternalIP, ExternalIP, InternalDNS, ExternalDNS, Hostname.
	Addresses []corev1.NodeAddressType
}

// Cluster knows the pods and nodes of the cluster by watching them. It is safe for concurrent use.
type Cluster struct {
	informers  map[string]cache.SharedIndexInformer // by resource
	podLister  metadatalister.Lister
	nodeLister corelisters.NodeLister
	addresses  []corev1.NodeAddressType

	mu          sync.Mutex
	watchErrors map[string]error // the last list or watch that failed, by resource; guarded by mu
}

var _ Objects = (*Cluster)(nil)

// NewCluster returns a Cluster that knows nothing until Run.
func NewCluster(c Clients, opts ClusterOptions) (*Cluster, error) {
	byNamespace := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	gvr := corev1.SchemeGroupVersion.WithResource("pods")
	pods := metadatainformer.NewFilteredMetadataInformer(c.Metadata, gvr, metav1.NamespaceAll, 0, byNamespace, nil).Informer()
	nodes := coreinformers.NewNodeInformer(c.Kube, 0, cache.Indexers{})
	cl := &Cluster{
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
		if err := errors.Join(i.SetTransform(stripObject), i.SetWatchErrorHandlerWithContext(cl.newWatchErrorHandler(resource))); err != nil {
			return nil, fmt.Errorf("watch %s: %w", resource, err)
		}
	}
	return cl, nil
}

// stripObject keeps of an object what is read here: a cluster has tens of thousands.
func stripObject(obj any) (any, error) {
	switch o := obj.(type) {
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = stripObjectMeta(o.ObjectMeta)
	case *corev1.Node:
		o.ObjectMeta, o.Spec = stripObjectMeta(o.ObjectMeta), corev1.NodeSpec{}
		o.Status = corev1.NodeStatus{Addresses: o.Status.Addresses, DaemonEndpoints: o.Status.DaemonEndpoints}
	}
	return obj, nil
}

func stripObjectMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, Labels: m.Labels,
	}
}

func (c *Cluster) newWatchErrorHandler(resource string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *cache.Reflector, err error) {
		c.mu.Lock()
		c.watchErrors[resource] = err
		c.mu.Unlock()
		cache.DefaultWatchErrorHandler(ctx, r, err)
	}
}

// Run watches until ctx ends, and returns nil.
func (c *Cluster) Run(ctx context.Context) error {
	var watches errgroup.Group
	for _, i := range c.informers {
		watches.Go(func() error { i.RunWithContext(ctx); return nil })
	}
	return watches.Wait()
}

// SyncError returns nil once all pods and nodes are known; else what is missing, and why if that is known.
func (c *Cluster) SyncError() error {
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

// List returns the objects of Pods (of all namespaces, if it is empty) or Nodes that s selects. They are shared: the
// caller changes none.
func (c *Cluster) List(resource, namespace string, s labels.Selector) []*metav1.PartialObjectMetadata {
	if resource == Pods {
		found, _ := c.podLister.Namespace(namespace).List(s) // a list from memory does not fail
		return found
	}
	nodes, _ := c.nodeLister.List(s)
	found := make([]*metav1.PartialObjectMetadata, len(nodes))
	for i, n := range nodes {
		found[i] = &metav1.PartialObjectMetadata{ObjectMeta: n.ObjectMeta}
	}
	return found
}

// Get returns one object of Pods or Nodes, which the caller must not change; nil if there is none.
func (c *Cluster) Get(resource string, o metric.Object) *metav1.PartialObjectMetadata {
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

// ListNodes returns where the kubelets are, in no fixed order.
func (c *Cluster) ListNodes() []Node {
	all, _ := c.nodeLister.List(labels.Everything())
	nodes := make([]Node, len(all))
	for i, n := range all {
		nodes[i] = Node{Name: n.Name, Address: c.kubeletAddress(n)}
	}
	return nodes
}

// defaultKubeletPort is where a kubelet listens if its node does not say.
const defaultKubeletPort = 10250

func (c *Cluster) kubeletAddress(n *corev1.Node) string {
	port := cmp.Or(int(n.Status.DaemonEndpoints.KubeletEndpoint.Port), defaultKubeletPort)
	for _, t := range c.addresses {
		i := slices.IndexFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == t && a.Address != "" })
		if i >= 0 {
			return net.JoinHostPort(n.Status.Addresses[i].Address, strconv.Itoa(port))
		}
	}
	return ""
}
