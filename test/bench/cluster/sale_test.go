package main

import (
	"fmt"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tachometer-metrics/tachometer/test/harness/sale"
)

// TestWatchNewPods: the pods of before and those that go do not count.
func TestWatchNewPods(t *testing.T) {
	t.Parallel()
	pod := func(i int) *core.Pod {
		running := core.ContainerStatus{State: core.ContainerState{Running: &core.ContainerStateRunning{}}}
		return &core.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), UID: types.UID(fmt.Sprint(i))}, Status: core.PodStatus{ContainerStatuses: []core.ContainerStatus{running}}}
	}
	seen := &saleSeen{times: map[string]time.Time{}}
	see := watchNewPods(seen, []core.Pod{*pod(0), *pod(1)})
	for i := range sale.Pods {
		see(watch.Event{Type: watch.Modified, Object: pod(i)})
		if i == 5 {
			see(watch.Event{Type: watch.Deleted, Object: pod(i)})
		}
	}
	if err := seen.missingSaleMoments("created"); err == nil {
		t.Fatal("counted with a pod that went")
	}
	see(watch.Event{Type: watch.Added, Object: pod(sale.Pods)})
	if err := seen.missingSaleMoments("created", "running"); err != nil {
		t.Error(err)
	}
	if err := seen.missingSaleMoments("ready"); err == nil {
		t.Error("no container is ready")
	}
}
