package kube

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestMapper: a kind that is installed after the first look is found, and one that is not there does not cost a look each time.
func TestMapper(t *testing.T) {
	t.Parallel()
	api := &fake.FakeDiscovery{Fake: &clienttesting.Fake{}}
	list := func(version, kind, plural string) *metav1.APIResourceList {
		return &metav1.APIResourceList{GroupVersion: version, APIResources: []metav1.APIResource{{Name: plural, Kind: kind, Namespaced: true}}}
	}
	api.Resources = []*metav1.APIResourceList{list("apps/v1", "Deployment", "deployments")}
	m := NewDeferredMapper(api)
	if _, err := m.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "v1"); err != nil {
		t.Fatal(err)
	}
	api.Resources = append(api.Resources, list("example.com/v1", "Route", "routes"))
	route := schema.GroupKind{Group: "example.com", Kind: "Route"}
	mapping, err := m.RESTMapping(route, "v1")
	if err != nil || mapping.Resource.Resource != "routes" {
		t.Fatalf("%+v, %v", mapping, err)
	}
	asked := len(api.Actions())
	for range 10 {
		if _, err := m.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Nothing"}, "v1"); !meta.IsNoMatchError(err) {
			t.Fatal(err)
		}
	}
	if more := len(api.Actions()) - asked; more > 0 {
		t.Errorf("asked %d times for a kind that is not there", more)
	}
	if m.allowRefresh(time.Now()) || !m.allowRefresh(time.Now().Add(missRefreshInterval)) {
		t.Error("it asks again too soon, or never")
	}
}
