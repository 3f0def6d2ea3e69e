package kube

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"
)

var widgets = schema.GroupVersionResource{Resource: "widgets", Group: "example.com"}

// changingCluster is the discovery of a cluster that a test changes.
type changingCluster struct {
	discovery.DiscoveryInterface
	resources atomic.Pointer[[]*metav1.APIResourceList]
	down      atomic.Pointer[error] // returned in place of the resources, unless nil
	reads     atomic.Int32
}

func newChangingCluster() *changingCluster {
	c := &changingCluster{}
	c.resources.Store(&[]*metav1.APIResourceList{{
		GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}},
	}})
	return c
}

func (c *changingCluster) addWidgets() {
	more := append(slices.Clone(*c.resources.Load()), &metav1.APIResourceList{
		GroupVersion: "example.com/v1",
		APIResources: []metav1.APIResource{{Name: "widgets", SingularName: "widget", Kind: "Widget", Namespaced: true}},
	})
	c.resources.Store(&more)
}

func (c *changingCluster) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	c.reads.Add(1)
	if err := c.down.Load(); err != nil {
		return nil, nil, *err
	}
	of := &fake.FakeDiscovery{Fake: &clienttesting.Fake{Resources: *c.resources.Load()}}
	return of.ServerGroupsAndResources()
}

// runMapper runs m in the bubble until the test ends.
func runMapper(t *testing.T, m *RESTMapper) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	synctest.Wait()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func waitFor(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestBackgroundFindsWhatIsAddedLater(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		asked bool
		wait  time.Duration
	}{
		"by the regular refresh": {false, 10*time.Minute + 10*time.Second},
		"soon after a miss":      {true, 21 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newChangingCluster()
				m := NewRESTMapper(f, 10*time.Minute)
				runMapper(t, m)
				m.Wait(t.Context())
				if kind, err := m.KindFor(schema.GroupVersionResource{Resource: "pods"}); err != nil || kind.Kind != "Pod" {
					t.Fatalf("KindFor(pods) = %v, %v", kind, err)
				}
				f.addWidgets()
				if tc.asked {
					if _, err := m.ResourceFor(widgets); !meta.IsNoMatchError(err) {
						t.Fatalf("ResourceFor before the refresh: %v", err)
					}
				}
				waitFor(tc.wait)
				resource, err := m.ResourceFor(widgets)
				if err != nil || resource.Version != "v1" {
					t.Errorf("ResourceFor = %v, %v", resource, err)
				}
				if s, err := m.ResourceSingularizer("widgets"); err != nil || s != "widget" {
					t.Errorf("ResourceSingularizer = %q, %v", s, err)
				}
			})
		})
	}
}

// TestBackgroundBoundsRefreshes: steady lookups of unknown resources cost one refresh in ten seconds.
func TestBackgroundBoundsRefreshes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newChangingCluster()
		m := NewRESTMapper(f, time.Hour)
		runMapper(t, m)
		for range 1000 {
			_, _ = m.ResourcesFor(widgets)
			_, _ = m.RESTMapping(schema.GroupKind{Kind: "Nonsense"})
			waitFor(100 * time.Millisecond)
		}
		if refreshes := f.reads.Load(); refreshes == 0 || refreshes > 11 {
			t.Errorf("%d refreshes in 100 s, want at most 11", refreshes)
		}
	})
}

func TestBackgroundOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newChangingCluster()
		down := errors.New("connection refused")
		f.down.Store(&down)
		m := NewRESTMapper(f, time.Hour)
		runMapper(t, m)
		if _, err := m.KindsFor(widgets); err == nil || m.Loaded() == nil {
			t.Error("claims to know the resources of a cluster that it never read")
		}
		ended, end := context.WithCancel(t.Context())
		end()
		m.Wait(ended) // returns
		f.down.Store(nil)
		waitFor(time.Second + time.Millisecond)
		if err := m.Loaded(); err != nil {
			t.Errorf("not read a second after the outage: %v", err)
		}
	})
}

// TestLazyMapper: a lookup finds a kind that was added after the first read, and an unknown kind does not cost a read each time.
func TestLazyMapper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChangingCluster()
		m := NewLazyRESTMapper(c)
		if _, err := m.RESTMapping(schema.GroupKind{Kind: "Pod"}, "v1"); err != nil {
			t.Fatal(err)
		}
		c.addWidgets()
		mapping, err := m.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Widget"}, "v1")
		if err != nil || mapping.Resource.Resource != "widgets" {
			t.Fatalf("%+v, %v", mapping, err)
		}
		for _, step := range []struct {
			wait  time.Duration
			reads int32
		}{{0, 2}, {lazyMissInterval - time.Millisecond, 2}, {time.Millisecond, 3}} {
			waitFor(step.wait)
			for range 10 {
				if _, err := m.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Unknown"}, "v1"); !meta.IsNoMatchError(err) {
					t.Fatal(err)
				}
			}
			if reads := c.reads.Load(); reads != step.reads {
				t.Errorf("%d reads after another %s, want %d", reads, step.wait, step.reads)
			}
		}
	})
}

// TestLazyMapperOutage: while the cluster cannot be read, a miss is an error of its own, not a kind that does not exist; known kinds
// are still found.
func TestLazyMapperOutage(t *testing.T) {
	t.Parallel()
	c := newChangingCluster()
	down := errors.New("connection refused")
	c.down.Store(&down)
	m := NewLazyRESTMapper(c)
	pod, widget := schema.GroupKind{Kind: "Pod"}, schema.GroupKind{Group: "example.com", Kind: "Widget"}
	if _, err := m.RESTMapping(pod, "v1"); !errors.Is(err, down) {
		t.Errorf("before the first read: %v", err)
	}
	c.down.Store(nil)
	if _, err := m.RESTMapping(pod, "v1"); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	c.down.Store(&down)
	for range 2 {
		if _, err := m.RESTMapping(widget, "v1"); !errors.Is(err, down) {
			t.Errorf("a miss during an outage: %v", err)
		}
	}
	if _, err := m.RESTMapping(pod, "v1"); err != nil {
		t.Errorf("a known kind during an outage: %v", err)
	}
	c.addWidgets()
	c.down.Store(nil)
	if _, err := m.RESTMapping(widget, "v1"); err != nil {
		t.Errorf("a new kind after the outage: %v", err)
	}
}
