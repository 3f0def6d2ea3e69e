package apiserver

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

// changing is the discovery of a cluster that a test changes while a mapper reads it.
type changing struct {
	discovery.DiscoveryInterface
	resources atomic.Pointer[[]*metav1.APIResourceList]
	down      atomic.Pointer[error] // what it answers instead, unless nil
	reads     atomic.Int32
}

func cluster() *changing {
	c := &changing{}
	c.resources.Store(&[]*metav1.APIResourceList{{
		GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}},
	}})
	return c
}

func (c *changing) install() {
	more := append(slices.Clone(*c.resources.Load()), &metav1.APIResourceList{
		GroupVersion: "example.com/v1",
		APIResources: []metav1.APIResource{{Name: "widgets", SingularName: "widget", Kind: "Widget", Namespaced: true}},
	})
	c.resources.Store(&more)
}

func (c *changing) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	c.reads.Add(1)
	if err := c.down.Load(); err != nil {
		return nil, nil, *err
	}
	of := &fake.FakeDiscovery{Fake: &clienttesting.Fake{Resources: *c.resources.Load()}}
	return of.ServerGroupsAndResources()
}

// running runs m in the bubble, for as long as the test.
func running(t *testing.T, m *Mapper) {
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

func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestMapperFindsWhatIsAddedLater(t *testing.T) {
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
				f := cluster()
				m := NewMapper(f, 10*time.Minute)
				running(t, m)
				m.Wait(t.Context())
				if kind, err := m.KindFor(schema.GroupVersionResource{Resource: "pods"}); err != nil || kind.Kind != "Pod" {
					t.Fatalf("KindFor(pods) = %v, %v", kind, err)
				}
				f.install()
				if tc.asked {
					if _, err := m.ResourceFor(widgets); !meta.IsNoMatchError(err) {
						t.Fatalf("ResourceFor before the refresh: %v", err)
					}
				}
				after(tc.wait)
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

// Whoever asks for nonsense all the time costs one refresh in ten seconds.
func TestMapperBoundsRefreshes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := cluster()
		m := NewMapper(f, time.Hour)
		running(t, m)
		for range 1000 {
			_, _ = m.ResourcesFor(widgets)
			_, _ = m.RESTMapping(schema.GroupKind{Kind: "Nonsense"})
			after(100 * time.Millisecond)
		}
		if refreshes := f.reads.Load(); refreshes == 0 || refreshes > 11 {
			t.Errorf("%d refreshes in 100 s, want at most 11", refreshes)
		}
	})
}

func TestMapperOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := cluster()
		down := errors.New("connection refused")
		f.down.Store(&down)
		m := NewMapper(f, time.Hour)
		running(t, m)
		if _, err := m.KindsFor(widgets); err == nil || m.Loaded() == nil {
			t.Error("claims to know the resources of a cluster that it never read")
		}
		ended, end := context.WithCancel(t.Context())
		end()
		m.Wait(ended) // returns
		f.down.Store(nil)
		after(time.Second + time.Millisecond)
		if err := m.Loaded(); err != nil {
			t.Errorf("not read a second after the outage: %v", err)
		}
	})
}
