package rollout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD11TroubleAfterUp: a hold that yields on its way is told to be up first: at a receiver of incidents, that ends all trouble of the hold.
func TestD11TroubleAfterUp(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: 25, MaxReplicas: 30}) // a person asks for more
	w.follow(b.memoryCluster)
	b.mustPass(t)
	w.ready = 25
	b.mustPass(t)
	b.wantTold(t, "event/sale", "Up", "Yielded")
}

// TestD12FailsAgain: a hold that came up after a failure, and fails once more, tells both failures; one that fails at each try tells one.
func TestD12FailsAgain(t *testing.T) {
	t.Parallel()
	b, w, number := newWatchedSale(t)
	h := saleHold()
	h.Until = benchStart.Add(10 * time.Hour)
	b.release(t, "shop", "event/sale")
	b.mustPass(t)
	b.notifier.told = map[string][]string{}
	b.checker.passed = false
	b.apply(t, "shop", h)
	b.mustPass(t)
	for range 3 { // the tries fail
		w.ready = w.replicas
		b.mustPass(t)
		b.now = b.now.Add(time.Hour)
	}
	b.wantTold(t, "event/sale", "RolledBack")
	b.checker.passed = true
	for range 2 {
		w.ready = w.replicas
		b.mustPass(t)
	}
	b.wantTold(t, "event/sale", "RolledBack", "Up")
	number.value = 1
	b.live(t, time.Minute)
	b.wantTold(t, "event/sale", "RolledBack", "Up", "RolledBack")
}

// TestD12StuckEnds: what was told as stuck is told to be over: by its end, or by an open hold that is up.
func TestD12StuckEnds(t *testing.T) {
	t.Parallel()
	denial := apierrors.NewForbidden(schema.GroupResource{Resource: "deployments/scale"}, "shop", errors.New("the role is gone"))
	t.Run("it never opened", func(t *testing.T) {
		t.Parallel()
		b := newBench()
		b.addWorkload("shop", 2, hold.ReplicaBounds{})
		b.apply(t, "shop", saleHold())
		b.mustPass(t)
		b.deny = denial
		b.release(t, "shop", "event/sale")
		_ = b.pass(t.Context())
		b.wantTold(t, "event/sale", "Stuck")
		b.deny = nil
		b.mustPass(t)
		b.wantTold(t, "event/sale", "Stuck", "Ended")
	})
	t.Run("it is open", func(t *testing.T) {
		t.Parallel()
		b, _ := newOpenSale(t)
		for _, name := range []string{"second", "third"} {
			b.addWorkload(name, 1, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 50}).hpa.scales = "shop"
		}
		for range 2 {
			_ = b.pass(t.Context())
			b.now = b.now.Add(hold.DefaultWithin)
			_ = b.pass(t.Context())
		}
		b.wantTold(t, "event/sale", "Up", "Stuck")
		b.workloads["second"].hpa, b.workloads["third"].hpa = nil, nil
		b.mustPass(t)
		b.workloads["shop"].ready = 20
		b.mustPass(t)
		b.wantTold(t, "event/sale", "Up", "Stuck", "Up")
	})
}

// TestWatchEndsWithAReading: a leader that comes after the end of a watch reads the number before it says that all was well.
func TestWatchEndsWithAReading(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		value  float64
		err    error
		reason string
		told   []string
	}{
		"good":   {0.001, nil, watchPassed, []string{"Up"}},
		"unread": {0, errors.New("Prometheus is away"), watchUnread, []string{"Up", "Unwatched"}},
		"bad":    {1, nil, watchAbove, []string{"Up", "RolledBack"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _, number := newWatchedSale(t)
			b.live(t, time.Minute)
			b.restart()
			b.engine.Watcher = number
			b.now = b.now.Add(10 * time.Minute) // no process lives
			number.value, number.err = c.value, c.err
			for range 3 { // without the reading that a pass asks for
				if _, err := b.engine.ReconcileOnce(klog.NewContext(t.Context(), logr.Discard()), memoryRef("shop"), b.now); err != nil {
					t.Fatal(err)
				}
			}
			if h := b.find("shop", "event/sale"); h.Status.WatchUntil.IsZero() {
				t.Fatalf("the watch has ended without a reading: %+v", findHoldCondition(h, conditionWatched))
			}
			b.live(t, time.Minute)
			b.mustPass(t)
			b.wantTold(t, "event/sale", c.told...)
			wantWatched(t, b.find("shop", "event/sale"), c.reason, "")
		})
	}
}

// TestWatchedAgain: what was told as unwatched is told to be up again at the end of the watch, if the number is good then.
func TestWatchedAgain(t *testing.T) {
	t.Parallel()
	b, _, number := newWatchedSale(t)
	number.err = errors.New("Prometheus is away")
	b.live(t, time.Minute)
	number.err = nil
	b.live(t, 6*time.Minute)
	b.mustPass(t)
	b.wantTold(t, "event/sale", "Up", "Unwatched", "Up")
}

// TestD17MarkOfKEDA: KEDA's autoscaler is known by its owner, or by its label where a restored backup lost the owner.
func TestD17MarkOfKEDA(t *testing.T) {
	t.Parallel()
	for want, meta := range map[string]metav1.ObjectMeta{
		"owner": {OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "x"}, {APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "owner"}}},
		"label": {Labels: map[string]string{"scaledobject.keda.sh/name": "label", "app.kubernetes.io/managed-by": "keda-operator"}},
		"":      {OwnerReferences: []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "ScaledObject", Name: "x"}}, Labels: map[string]string{"app": "web"}},
	} {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: meta}
		if got := convertHeldAutoscaler(hpa).ScaledObject; got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
}

// TestD12OtherTrouble: a trouble that begins while another lasts is told by itself, and the first is not told again.
func TestD12OtherTrouble(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	b.deny = apierrors.NewForbidden(schema.GroupResource{Resource: "deployments/scale"}, "shop", errors.New("the role is gone"))
	b.release(t, "shop", "event/sale")
	_ = b.pass(t.Context())
	for range 2 {
		for _, name := range []string{"second", "third"} {
			b.addWorkload(name, 1, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 50}).hpa.scales = "shop"
		}
		_ = b.pass(t.Context())
		b.workloads["second"].hpa, b.workloads["third"].hpa = nil, nil
		_ = b.pass(t.Context())
	}
	b.deny = nil
	b.mustPass(t)
	b.wantTold(t, "event/sale", "Stuck", "Stuck", "Ended")
	if whys := b.notifier.whys; !strings.Contains(whys[0], "the role is gone") || !strings.Contains(whys[1], "second, third") {
		t.Errorf("%q", whys)
	}
}
