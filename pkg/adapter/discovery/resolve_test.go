package discovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	scalefake "k8s.io/client-go/scale/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// testMapper knows deployments, daemon sets, services, namespaces and a custom resource.
func testMapper() *meta.DefaultRESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}, {Group: "example.com", Version: "v1"}})
	for _, kind := range []schema.GroupVersionKind{
		{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "apps", Version: "v1", Kind: "DaemonSet"},
		{Version: "v1", Kind: "Service"}, {Version: "v1", Kind: "Pod"}, {Version: "v1", Kind: "Namespace"},
		{Group: "example.com", Version: "v1", Kind: "Worker"}, {Group: "batch", Version: "v1", Kind: "Job"},
		{Group: "monitoring.coreos.com", Version: "v1", Kind: "ServiceMonitor"},
	} {
		m.Add(kind, meta.RESTScopeNamespace)
	}
	return m
}

// newFakeScales answers for scale subresources what lookup has for "namespace/name": a selector or an error; nil is
// not found.
func newFakeScales(lookup func(string) any) *scalefake.FakeScaleClient {
	c := &scalefake.FakeScaleClient{}
	c.AddReactor("get", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		get := action.(clienttesting.GetAction)
		switch s := lookup(get.GetNamespace() + "/" + get.GetName()).(type) {
		case string:
			return true, &autoscalingv1.Scale{Status: autoscalingv1.ScaleStatus{Selector: s}}, nil
		case error:
			return true, nil, s
		default:
			return true, nil, apierrors.NewNotFound(get.GetResource().GroupResource(), get.GetName())
		}
	})
	return c
}

func newSelectorObject(kind, name string, selector any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": kind, "metadata": map[string]any{"namespace": "shop", "name": name},
		"spec": map[string]any{},
	}}
	if selector != nil {
		u.Object["spec"] = map[string]any{"selector": selector}
	}
	return u
}

func manyLabels(n int) map[string]any {
	all := map[string]any{}
	for i := range n {
		all[fmt.Sprintf("k%d", i)] = "v"
	}
	return all
}

func manyValues(n int) (all []any) {
	for i := range n {
		all = append(all, fmt.Sprintf("v%d", i))
	}
	return all
}

func newService(name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{Selector: selector}}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "x", errors.New("no rule"))
	daemonSet := func(name string, selector any) *unstructured.Unstructured {
		return newSelectorObject("DaemonSet", name, selector)
	}
	objects := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(),
		daemonSet("agent", map[string]any{"matchLabels": map[string]any{"app": "agent"}, "matchExpressions": []any{
			map[string]any{"key": "tier", "operator": "In", "values": []any{"a", "b"}},
		}}),
		daemonSet("plain", map[string]any{"app": "plain"}),
		daemonSet("none", nil),
		daemonSet("wide", map[string]any{"matchLabels": manyLabels(101)}),
		daemonSet("many values", map[string]any{"matchExpressions": []any{map[string]any{"key": "tier", "operator": "In", "values": manyValues(3000)}}}),
		daemonSet("empty", map[string]any{"matchLabels": map[string]any{}}),
		daemonSet("text", "app=web"),
		daemonSet("near", map[string]any{"matchExpressions": []any{map[string]any{"key": "tier", "operator": "Near"}}}),
		daemonSet("numbers", map[string]any{"app": int64(1)}),
	)
	for _, custom := range []struct{ apiVersion, kind, name string }{
		{"monitoring.coreos.com/v1", "ServiceMonitor", "front"}, {"example.com/v1", "Worker", "idle"},
	} {
		o := newSelectorObject(custom.kind, custom.name, map[string]any{"matchLabels": map[string]any{"app": "web"}})
		o.SetAPIVersion(custom.apiVersion)
		if err := objects.Tracker().Add(o); err != nil {
			t.Fatal(err)
		}
	}
	objects.PrependReactor("get", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, forbidden
	})
	r := newPodSelectorResolver(Clients{
		Kube: fake.NewClientset(newService("front", map[string]string{"app": "web"}), newService("headless", nil), newService("long", map[string]string{"app": strings.Repeat("x", 5000)})),
		Scale: newFakeScales(func(name string) any {
			return map[string]any{
				"shop/web": "app=web", "shop/unselective": "", "shop/malformed": "a b c",
				"shop/long": "app in (" + strings.Repeat("x,", 2500) + "x)", "shop/wide": strings.Repeat("a!=b,", 100) + "a=b",
				"shop/long and malformed": strings.Repeat("(", 900_000),
				"shop/secret":             forbidden, "shop/slow": apierrors.NewTimeoutError("slow", 1),
			}[name]
		}),
		Dynamic: objects, Mapper: testMapper(),
	})
	services, deployments := schema.GroupResource{Resource: "services"}, schema.GroupResource{Group: "apps", Resource: "deployments"}
	daemonSets, jobs := schema.GroupResource{Group: "apps", Resource: "daemonsets"}, schema.GroupResource{Group: "batch", Resource: "jobs"}
	workers, monitors := schema.GroupResource{Group: "example.com", Resource: "workers"}, schema.GroupResource{Group: "monitoring.coreos.com", Resource: "servicemonitors"}
	for name, tc := range map[string]struct {
		resource schema.GroupResource
		object   string
		want     string
		wantKind metric.Kind
		outcome  string
	}{
		"service":                       {services, "front", "app=web", 0, "success"},
		"service without selector":      {services, "headless", "", metric.KindInvalid, "no_selector"},
		"no such service":               {services, "gone", "", metric.KindNotFound, "not_found"},
		"scale":                         {deployments, "web", "app=web", 0, "success"},
		"scale without selector":        {deployments, "unselective", "", metric.KindInvalid, "no_selector"},
		"scale with malformed selector": {deployments, "malformed", "", metric.KindInvalid, "no_selector"},
		"scale with long selector":      {deployments, "long", "", metric.KindInvalid, "no_selector"},
		"scale with 101 requirements":   {deployments, "wide", "", metric.KindInvalid, "no_selector"},
		"scale with long malformed one": {deployments, "long and malformed", "", metric.KindInvalid, "no_selector"},
		"service with long selector":    {services, "long", "", metric.KindInvalid, "no_selector"},
		"label selector of 101 labels":  {daemonSets, "wide", "", metric.KindInvalid, "no_selector"},
		"label selector of many values": {daemonSets, "many values", "", metric.KindInvalid, "no_selector"},
		"scale forbidden":               {deployments, "secret", "", metric.KindUnavailable, "forbidden"},
		"scale slow":                    {deployments, "slow", "", metric.KindUnavailable, "error"},
		"no such deployment":            {deployments, "gone", "", metric.KindNotFound, "not_found"},
		"label selector":                {daemonSets, "agent", "app=agent,tier in (a,b)", 0, "success"},
		"map of labels":                 {daemonSets, "plain", "", metric.KindInvalid, "no_selector"},
		"no selector":                   {daemonSets, "none", "", metric.KindInvalid, "no_selector"},
		"empty label selector":          {daemonSets, "empty", "", metric.KindInvalid, "no_selector"},
		"selector is a text":            {daemonSets, "text", "", metric.KindInvalid, "no_selector"},
		"unknown operator":              {daemonSets, "near", "", metric.KindInvalid, "no_selector"},
		"selector of numbers":           {daemonSets, "numbers", "", metric.KindInvalid, "no_selector"},
		"no such daemon set":            {daemonSets, "gone", "", metric.KindNotFound, "not_found"},
		"no right":                      {jobs, "any", "", metric.KindUnavailable, "forbidden"},
		"custom kind without scale":     {workers, "idle", "", metric.KindNotFound, "not_found"},
		"selector of services":          {monitors, "front", "", metric.KindNotFound, "not_found"},
		"no such resource":              {schema.GroupResource{Resource: "dreams"}, "any", "", metric.KindNotFound, "not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := r.fetchPodSelector(t.Context(), objectKey{tc.resource, "shop", tc.object})
			if outcome := classifySelectorLookup(err); outcome != tc.outcome {
				t.Errorf("outcome = %q (%v), want %q", outcome, err, tc.outcome)
			}
			if err != nil && metric.KindOf(err) != tc.wantKind {
				t.Errorf("kind = %v (%v), want %v", metric.KindOf(err), err, tc.wantKind)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if canonicalDemandSelector(got) != tc.want {
				t.Errorf("selector = %v, want %q", got, tc.want)
			}
		})
	}
}

func TestResolveKind(t *testing.T) {
	t.Parallel()
	mapper := testMapper()
	r := newPodSelectorResolver(Clients{Mapper: mapper})
	late := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Late"}
	if _, err := r.mapDemandedKind(late.GroupKind()); !meta.IsNoMatchError(errors.Unwrap(err)) {
		t.Errorf("resource of an unknown kind = %v, want no match", err)
	}
	mapper.Add(late, meta.RESTScopeNamespace)
	got, err := r.mapDemandedKind(late.GroupKind())
	if want := (schema.GroupResource{Group: "example.com", Resource: "lates"}); got != want || err != nil {
		t.Errorf("resource of a kind added later = %v, %v; want %v", got, err, want)
	}
}

func TestNewClients(t *testing.T) {
	t.Parallel()
	cfg := &rest.Config{Host: "https://127.0.0.1:1", QPS: 5, Burst: 10}
	clients, err := NewClients(cfg, testMapper())
	if err != nil || clients.Kube == nil || clients.Dynamic == nil || clients.Scale == nil || clients.Mapper == nil {
		t.Errorf("NewClients = %+v, %v; want all", clients, err)
	}
	if cfg.QPS != 5 || cfg.ContentType != "" || cfg.GroupVersion != nil {
		t.Errorf("NewClients changed the configuration: %+v", cfg)
	}
	bad := &rest.Config{Host: "https://127.0.0.1:1", TLSClientConfig: rest.TLSClientConfig{CAFile: "/does/not/exist"}}
	if _, err := NewClients(bad, testMapper()); err == nil {
		t.Error("NewClients with an unreadable CA = nil error")
	}
}
