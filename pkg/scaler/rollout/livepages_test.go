package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientfake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// pagedLists answers lists of a number of pods and autoscalers with a megabyte each, in pages.
type pagedLists struct {
	t        *testing.T
	objects  int
	requests int
}

// answerList answers a list as kube-apiserver does: with at most the objects that it asks for.
func (p *pagedLists) answerList(a clienttesting.Action) (bool, runtime.Object, error) {
	p.requests++
	opts := a.(clienttesting.ListActionImpl).ListOptions
	if opts.Limit == 0 || opts.Limit > livePageSize {
		p.t.Errorf("a list of %d objects at once, want %d at most", opts.Limit, livePageSize)
	}
	from, _ := strconv.Atoi(opts.Continue)
	until := min(p.objects, from+int(opts.Limit))
	next := metav1.ListMeta{}
	if until < p.objects {
		next.Continue = strconv.Itoa(until)
	}
	pods, hpas := &corev1.PodList{ListMeta: next}, &autoscalingv2.HorizontalPodAutoscalerList{ListMeta: next}
	for i := from; i < until; i++ {
		m := metav1.ObjectMeta{Name: fmt.Sprint("web-", i), Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"note": strings.Repeat("x", 1<<20)}}
		pods.Items = append(pods.Items, corev1.Pod{ObjectMeta: m})
		hpas.Items = append(hpas.Items, autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: m})
	}
	if a.GetResource().Resource == "pods" {
		return true, pods, nil
	}
	return true, hpas, nil
}

// TestLiveListsAreSmall: requests for pods and autoscalers are for few objects at a time, and of each only the parts stay that the scaler reads: a tenant may
// have hundreds of a megabyte.
func TestLiveListsAreSmall(t *testing.T) {
	t.Parallel()
	lists := &pagedLists{t: t, objects: 2*livePageSize + 5}
	client := clientfake.NewClientset()
	client.PrependReactor("list", "*", lists.answerList)
	live := &LiveCluster{Client: client}
	pods, err := live.ListPods(t.Context(), "sale", "app=web")
	if err != nil || len(pods) != lists.objects || lists.requests != 3 {
		t.Fatalf("%d pods of %d requests: %v", len(pods), lists.requests, err)
	}
	hpas, err := live.ListAutoscalers(t.Context(), "sale")
	if err != nil || len(hpas) != lists.objects || lists.requests != 6 {
		t.Fatalf("%d autoscalers of %d requests: %v", len(hpas), lists.requests, err)
	}
	for i := range lists.objects {
		if pods[i].Name != fmt.Sprint("web-", i) || hpas[i].Name != pods[i].Name || pods[i].Labels["app"] != "web" || pods[i].Size()+hpas[i].Size() > 1000 {
			t.Fatalf("pod %s of %d bytes, autoscaler %s of %d", pods[i].Name, pods[i].Size(), hpas[i].Name, hpas[i].Size())
		}
	}
}
