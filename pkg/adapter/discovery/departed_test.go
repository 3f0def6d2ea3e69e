package discovery

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// describePods lists pods; a departed pod has a dagger, and any other pod that is not live a question mark.
func describePods(pods []Pod) string {
	var all []string
	for _, p := range pods {
		switch {
		case p.Departed && p.Live:
			all = append(all, p.Name+" is live and departed")
		case p.Departed:
			all = append(all, p.Name+"†")
		case !p.Live:
			all = append(all, p.Name+"?")
		default:
			all = append(all, p.Name)
		}
	}
	return strings.Join(all, " ")
}

func withUID(uid string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.UID = types.UID(uid) } }

func TestDepartedPodsAreKept(t *testing.T) {
	objects := []runtime.Object{
		apiPod("shop", "web-1"), apiPod("shop", "web-2"), newService("front", map[string]string{"app": "web"}),
		apiPod("shop", "api-1", withLabels(map[string]string{"app": "api"})),
		apiPod("shop", "silent", func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }),
	}
	runInWorld(t, objects, nil, nil, func(w *clusterWorld) {
		web := parseSelector(t, "app=web")
		expect := func(when, want string) {
			t.Helper()
			if got := describePods(w.Pods("shop", web)); got != want {
				t.Errorf("%s: Pods = %q, want %q", when, got, want)
			}
		}
		w.deletePod("shop", "silent") // it was never scraped
		sleepAndSettle(time.Second)
		expect("at start", "web-1 web-2")

		w.updatePod(apiPod("shop", "web-1", markTerminating))
		synctest.Wait()
		expect("while it ends", "web-1† web-2")
		w.deletePod("shop", "web-1")
		synctest.Wait()
		expect("after it is gone", "web-1† web-2")
		sleepAndSettle(defaultRetention - time.Second)
		expect("within the retention", "web-1† web-2")

		for _, object := range []struct{ resource, name, want string }{
			{"services", "front", "web-1† web-2"}, {"namespaces", "shop", "api-1 web-1† web-2"}, {"nodes", "node-1", "api-1 web-1† web-2"},
		} {
			o := metric.Object{Name: object.name}
			if object.resource == "services" {
				o.Namespace = "shop"
			}
			pods, err := w.PodsOf(w.ctx, schema.GroupResource{Resource: object.resource}, o)
			if got := describePods(pods); err != nil || got != object.want {
				t.Errorf("PodsOf(%s) = %q, %v; want %q", object.resource, got, err, object.want)
			}
		}
		if _, ok := w.Pod("shop", "web-1"); ok {
			t.Error("Pod returns a deleted pod")
		}
		sleepAndSettle(time.Second)
		expect("after the retention", "web-2")
		sleepAndSettle(expireInterval)
		if kept, dropped := w.pods.countDepartures(); kept != 0 || dropped != 0 {
			t.Errorf("%d departed pods are kept, %d dropped", kept, dropped)
		}
	})
}

func TestDepartedPodIsHiddenByItsName(t *testing.T) {
	runInWorld(t, []runtime.Object{apiPod("shop", "web-1")}, nil, nil, func(w *clusterWorld) {
		w.deletePod("shop", "web-1")
		synctest.Wait()
		// Pending, and with other labels: values are by name all the same.
		w.createPod(apiPod("shop", "web-1", withUID("uid-2"), inPhase(corev1.PodPending), withLabels(map[string]string{"app": "other"})))
		synctest.Wait()
		if got := describePods(w.Pods("shop", nil)); got != "web-1?" {
			t.Errorf("Pods = %q, want the new pod alone", got)
		}
		w.deletePod("shop", "web-1")
		synctest.Wait()
		if got := describePods(w.Pods("shop", nil)); got != "web-1†" {
			t.Errorf("Pods = %q, want the old pod again: the new one has never run", got)
		}
	})
}

func TestEndedPodDeparts(t *testing.T) {
	for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed} {
		t.Run(string(phase), func(t *testing.T) {
			ended := apiPod("shop", "before", inPhase(phase))
			runInWorld(t, []runtime.Object{apiPod("shop", "web-1"), ended}, nil, nil, func(w *clusterWorld) {
				expect := func(when, want string) {
					t.Helper()
					if got := describePods(w.Pods("shop", nil)); got != want {
						t.Errorf("%s: Pods = %q, want %q", when, got, want)
					}
				}
				w.updatePod(apiPod("shop", "web-1", inPhase(phase)))
				synctest.Wait()
				expect("after it ended", "before? web-1†")
				sleepAndSettle(defaultRetention / 2)
				w.updatePod(apiPod("shop", "web-1", inPhase(phase), markUnready))
				synctest.Wait()
				expect("half of the retention later", "before? web-1†")
				w.deletePod("shop", "web-1")
				w.deletePod("shop", "before")
				synctest.Wait()
				expect("after it is deleted", "web-1†")
				sleepAndSettle(defaultRetention / 2)
				expect("a retention after it ended", "")
			})
		})
	}
}

func TestRetentionIsSet(t *testing.T) {
	runInWorld(t, []runtime.Object{apiPod("shop", "web-1")}, nil, nil, func(w *clusterWorld) {
		w.SetRetention(5 * time.Minute)
		w.deletePod("shop", "web-1")
		sleepAndSettle(5*time.Minute - time.Second)
		if got := describePods(w.Pods("", nil)); got != "web-1†" {
			t.Errorf("within the retention: Pods = %q", got)
		}
		w.SetRetention(time.Minute)
		if got := describePods(w.Pods("", nil)); got != "" {
			t.Errorf("with a shorter retention: Pods = %q", got)
		}
	})
}

func TestDepartedPodsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newWatchedPodTable()
		depart := func(namespace, name string) {
			p := endpointPolicy{}.newStoredPod(apiPod(namespace, name))
			table.upsertWatchedObject(p)
			table.removeWatchedObject(p)
		}
		depart("quiet", "web-1")
		for i := range maxDepartedPods + 9 {
			depart("busy", fmt.Sprint("job-", i))
		}
		kept, dropped := table.countDepartures()
		if kept != maxDepartedPods || dropped != 10 {
			t.Errorf("%d departed pods, %d dropped; want %d, 10", kept, dropped, maxDepartedPods)
		}
		if got := describePods(table.listScopedPods(podScope{namespace: "quiet"}, time.Now())); got != "web-1†" {
			t.Errorf("pods of the quiet namespace = %q, want its departed pod", got)
		}
		table.departed.removeIndexedPod(metric.Object{Namespace: "busy", Name: "job-10"}) // as for a pod of its name
		depart("quiet", "web-2")
		depart("quiet", "web-3")
		if got := table.departed.pods[metric.Object{Namespace: "busy", Name: "job-11"}]; got != nil {
			t.Error("the oldest departed pod of the busiest namespace is kept")
		}
	})
}
