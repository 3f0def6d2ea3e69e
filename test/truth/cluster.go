package truth

// The fake cluster: the lists, watches and selectors that discovery reads from kube-apiserver.

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/scale"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
)

// namespace is the namespace of all services.
const namespace = "shop"

// fakeCluster holds the API objects. It is safe for concurrent use.
type fakeCluster struct {
	mu       sync.Mutex // guards the fields below
	version  int
	pods     map[string]*corev1.Pod
	hpas     map[string]*autoscalingv2.HorizontalPodAutoscaler
	services map[string]*corev1.Service
	watches  []*objectWatch
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{
		pods: map[string]*corev1.Pod{}, hpas: map[string]*autoscalingv2.HorizontalPodAutoscaler{},
		services: map[string]*corev1.Service{},
	}
}

func (c *fakeCluster) discoveryClients() discovery.Clients {
	return discovery.Clients{Kube: kubeClient{cluster: c}, Scale: scaleClient{}, Mapper: newClusterMapper()}
}

// storePod makes p the state of its pod, and tells the watches.
func (c *fakeCluster) storePod(p *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	p.ResourceVersion = strconv.Itoa(c.version)
	event := watch.Modified
	if _, ok := c.pods[p.Name]; !ok {
		event = watch.Added
	}
	c.pods[p.Name] = p
	c.sendEvent(event, p)
}

// removePod removes a pod; a pod that is not there stays away.
func (c *fakeCluster) removePod(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pods[name]
	if !ok {
		return
	}
	delete(c.pods, name)
	c.version++
	last := p.DeepCopy()
	last.ResourceVersion = strconv.Itoa(c.version)
	c.sendEvent(watch.Deleted, last)
}

func (c *fakeCluster) storeAutoscaler(a *autoscalingv2.HorizontalPodAutoscaler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	a.ResourceVersion = strconv.Itoa(c.version)
	c.hpas[a.Name] = a
	c.sendEvent(watch.Added, a)
}

func (c *fakeCluster) removeAutoscaler(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.hpas[name]
	if !ok {
		return
	}
	delete(c.hpas, name)
	c.version++
	last := a.DeepCopy()
	last.ResourceVersion = strconv.Itoa(c.version)
	c.sendEvent(watch.Deleted, last)
}

// storeService makes a Service select the pods of an app.
func (c *fakeCluster) storeService(name, app string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: strconv.Itoa(c.version)},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}},
	}
	event := watch.Modified
	if c.services[name] == nil {
		event = watch.Added
	}
	c.services[name] = s
	c.sendEvent(event, s)
}

// sendEvent tells the watches of the object's type. The caller holds c.mu.
func (c *fakeCluster) sendEvent(t watch.EventType, object runtime.Object) {
	for _, w := range c.watches {
		if fmt.Sprintf("%T", w.example) == fmt.Sprintf("%T", object) {
			w.events <- watch.Event{Type: t, Object: object}
		}
	}
}

// openWatch returns a watch of objects of the example's type.
func (c *fakeCluster) openWatch(example runtime.Object) (watch.Interface, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &objectWatch{cluster: c, example: example, events: make(chan watch.Event, 1000)}
	c.watches = append(c.watches, w)
	return w, nil
}

// listMeta returns the version of a list. The caller holds c.mu.
func (c *fakeCluster) listMeta() metav1.ListMeta {
	return metav1.ListMeta{ResourceVersion: strconv.Itoa(c.version + 1)}
}

// objectWatch is one watch.
type objectWatch struct {
	cluster *fakeCluster
	example runtime.Object
	events  chan watch.Event
}

func (w *objectWatch) ResultChan() <-chan watch.Event { return w.events }

// Stop ends the watch; its channel closes.
func (w *objectWatch) Stop() {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	if i := slices.Index(w.cluster.watches, w); i >= 0 {
		w.cluster.watches = slices.Delete(w.cluster.watches, i, i+1)
		close(w.events)
	}
}

// kubeClient is the part of the Kubernetes client that discovery uses.
type kubeClient struct {
	kubernetes.Interface
	cluster *fakeCluster
}

// IsWatchListSemanticsUnSupported makes client-go list before it watches.
func (kubeClient) IsWatchListSemanticsUnSupported() bool { return true }

func (k kubeClient) CoreV1() coreclient.CoreV1Interface { return coreClient{cluster: k.cluster} }
func (k kubeClient) AutoscalingV2() autoscalingclient.AutoscalingV2Interface {
	return autoscalerGroup{cluster: k.cluster}
}

type coreClient struct {
	coreclient.CoreV1Interface
	cluster *fakeCluster
}

func (c coreClient) Pods(string) coreclient.PodInterface { return podClient{cluster: c.cluster} }
func (c coreClient) Services(string) coreclient.ServiceInterface {
	return serviceClient{cluster: c.cluster}
}

func (c coreClient) Events(string) coreclient.EventInterface { return eventClient{} }

// eventClient accepts Events and drops them.
type eventClient struct{ coreclient.EventInterface }

func (eventClient) CreateWithEventNamespaceWithContext(_ context.Context, e *corev1.Event) (*corev1.Event, error) {
	return e, nil
}

func (eventClient) PatchWithEventNamespaceWithContext(_ context.Context, e *corev1.Event, _ []byte) (*corev1.Event, error) {
	return e, nil
}

type podClient struct {
	coreclient.PodInterface
	cluster *fakeCluster
}

func (c podClient) List(context.Context, metav1.ListOptions) (*corev1.PodList, error) {
	c.cluster.mu.Lock()
	defer c.cluster.mu.Unlock()
	list := &corev1.PodList{ListMeta: c.cluster.listMeta()}
	for _, p := range c.cluster.pods {
		list.Items = append(list.Items, *p)
	}
	return list, nil
}

func (c podClient) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return c.cluster.openWatch(&corev1.Pod{})
}

type serviceClient struct {
	coreclient.ServiceInterface
	cluster *fakeCluster
}

func (c serviceClient) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Service, error) {
	c.cluster.mu.Lock()
	defer c.cluster.mu.Unlock()
	if s, ok := c.cluster.services[name]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("no service %q", name)
}

func (c serviceClient) List(context.Context, metav1.ListOptions) (*corev1.ServiceList, error) {
	c.cluster.mu.Lock()
	defer c.cluster.mu.Unlock()
	list := &corev1.ServiceList{ListMeta: c.cluster.listMeta()}
	for _, s := range c.cluster.services {
		list.Items = append(list.Items, *s)
	}
	return list, nil
}

func (c serviceClient) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return c.cluster.openWatch(&corev1.Service{})
}

type autoscalerGroup struct {
	autoscalingclient.AutoscalingV2Interface
	cluster *fakeCluster
}

func (g autoscalerGroup) HorizontalPodAutoscalers(string) autoscalingclient.HorizontalPodAutoscalerInterface {
	return autoscalerClient{cluster: g.cluster}
}

type autoscalerClient struct {
	autoscalingclient.HorizontalPodAutoscalerInterface
	cluster *fakeCluster
}

func (c autoscalerClient) List(context.Context, metav1.ListOptions) (*autoscalingv2.HorizontalPodAutoscalerList, error) {
	c.cluster.mu.Lock()
	defer c.cluster.mu.Unlock()
	list := &autoscalingv2.HorizontalPodAutoscalerList{ListMeta: c.cluster.listMeta()}
	for _, a := range c.cluster.hpas {
		list.Items = append(list.Items, *a)
	}
	return list, nil
}

func (c autoscalerClient) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return c.cluster.openWatch(&autoscalingv2.HorizontalPodAutoscaler{})
}

// scaleClient gives each object the selector app=NAME.
type scaleClient struct{ scale.ScaleInterface }

func (c scaleClient) Scales(string) scale.ScaleInterface { return c }

func (scaleClient) Get(_ context.Context, _ schema.GroupResource, name string, _ metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return &autoscalingv1.Scale{Status: autoscalingv1.ScaleStatus{Selector: "app=" + name}}, nil
}

func newClusterMapper() meta.RESTMapper {
	core, apps := schema.GroupVersion{Version: "v1"}, schema.GroupVersion{Group: "apps", Version: "v1"}
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{core, apps})
	m.Add(core.WithKind("Pod"), meta.RESTScopeNamespace)
	m.Add(core.WithKind("Service"), meta.RESTScopeNamespace)
	m.Add(core.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(core.WithKind("Node"), meta.RESTScopeRoot)
	m.Add(apps.WithKind("Deployment"), meta.RESTScopeNamespace)
	return m
}
