package surge

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// laneSim is an autoscaler with 2 pods and a target of 20 a pod, which the tests change from look to look.
type laneSim struct {
	observed LaneAutoscaler
	memory   Memory
	notices  []string
}

func newLaneSim() *laneSim {
	s := &laneSim{observed: LaneAutoscaler{
		Autoscaler: &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "hpa-1"},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
				MinReplicas:    new(int32(2)), MaxReplicas: 40,
				Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(20, resource.DecimalSI)},
				}}},
			},
		},
		Replicas: 2, Mode: ModeAct, Terms: Terms{Budget: DefaultBudget}, Now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
	}}
	s.setPods(2)
	return s
}

// setPods sets the replicas and as many ready pods.
func (s *laneSim) setPods(n int) {
	s.observed.Replicas, s.observed.Pods = int32(n), nil
	for i := range n {
		s.observed.Pods = append(s.observed.Pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i)},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	}
}

// readTotal returns a reading of a total over a window, spread over the pods, with a sample of now.
func (s *laneSim) readTotal(total float64, window time.Duration) Reading {
	r := Reading{Window: window, Newest: s.observed.Now, Replica: "adapter-0", Answer: hpa.Answer{Pods: map[string]hpa.PodValue{}}}
	for _, p := range s.observed.Pods {
		r.Pods[p.Name] = hpa.PodValue{Value: int64(1000 * total / float64(len(s.observed.Pods)))}
	}
	return r
}

// look makes a look, a second after the last.
func (s *laneSim) look(r Reading) LaneDecision {
	s.observed.Now = s.observed.Now.Add(lookInterval)
	if r.Newest.IsZero() && r.Err == nil {
		r.Newest = s.observed.Now
	}
	s.observed.Readings = []Reading{r}
	d := Decide(s.observed, s.memory)
	s.memory = d.Memory
	for _, n := range d.Notices {
		s.notices = append(s.notices, n.Reason)
	}
	return d
}

// settle lets steady looks pass.
func (s *laneSim) settle(total float64, window time.Duration, looks int) {
	for range looks {
		s.look(s.readTotal(total, window))
	}
}

const steadyLooks = 62

// completeLooks is the number of looks over windows of 4 s until the wish is that of the whole step.
const completeLooks = 4

// step lets the load step to 400, and returns the decision of the look that raises.
func (s *laneSim) step() LaneDecision {
	s.settle(400, 4*time.Second, completeLooks-1)
	return s.look(s.readTotal(400, 4*time.Second))
}

// TestSurgeCertainty: the number of looks until a raise, by the kind of the answers.
func TestSurgeCertainty(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		before, after time.Duration // windows of the steady load, and after the step
		total         float64       // after the step
		looks         int           // until the raise; 0: none within 10
		replicas      int32
		change        func(*laneSim)
	}{
		{name: "a shortened window: half of it", before: time.Minute, after: 4 * time.Second, total: 400, looks: completeLooks, replicas: 20},
		{name: "a window shortened to 20 s: half a period of the autoscaler", before: time.Minute, after: 20 * time.Second, total: 400, looks: 9, replicas: 20},
		{name: "no window: three samples", total: 400, looks: 3, replicas: 20},
		{name: "a fixed window: values over overlapping windows are one", before: 30 * time.Second, after: 30 * time.Second, total: 400},
		{name: "a fixed window of a second", before: time.Second, after: time.Second, total: 400, looks: 3, replicas: 20},
		{name: "the longest window: the adapter finds no step", before: time.Minute, after: time.Minute, total: 400},
		{name: "a window hardly shortened", before: time.Minute, after: 40 * time.Second, total: 400},
		{name: "within the tolerance", before: time.Minute, after: 4 * time.Second, total: 43},
		{name: "less than a quarter more", before: time.Minute, after: 4 * time.Second, total: 49},
		{name: "above the autoscaler's maxReplicas", before: time.Minute, after: 4 * time.Second, total: 4000, looks: completeLooks, replicas: 40},
		{
			name: "above the maxReplicas of the terms", before: time.Minute, after: 4 * time.Second, total: 400, looks: completeLooks, replicas: 12,
			change: func(s *laneSim) { s.observed.Terms.MaxReplicas = 12 },
		},
		{
			name: "maxReplicas of the terms below what is there", before: time.Minute, after: 4 * time.Second, total: 400,
			change: func(s *laneSim) { s.observed.Terms.MaxReplicas = 2 },
		},
		{
			name: "the autoscaler wants wishes of 4 s", before: time.Minute, after: 4 * time.Second, total: 400, looks: 5, replicas: 20,
			change: func(s *laneSim) {
				s.observed.Autoscaler.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
					ScaleUp: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(4))},
				}
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			if tc.change != nil {
				tc.change(s)
			}
			s.settle(40, tc.before, steadyLooks)
			got, replicas := 0, int32(0)
			for look := 1; look <= 10 && got == 0; look++ {
				if d := s.look(s.readTotal(tc.total, tc.after)); d.Place {
					got, replicas = look, d.Memory.Raise.Replicas
				}
			}
			if got != tc.looks || replicas != tc.replicas {
				t.Errorf("raise to %d replicas at look %d, want %d at %d", replicas, got, tc.replicas, tc.looks)
			}
		})
	}
}

// TestSameSampleIsOneLook: an adapter that shows one sample for several looks shows one observation.
func TestSameSampleIsOneLook(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.settle(40, 0, steadyLooks)
	r := s.readTotal(400, 0)
	r.Newest = s.observed.Now.Add(time.Second)
	for range 5 {
		if d := s.look(r); d.Place {
			t.Fatal("raise by one sample")
		}
	}
}

// heldBy returns a change that puts a hold on the workload.
func heldBy(id string, status hold.Status) func(*laneSim) {
	return func(s *laneSim) {
		h := hold.NewObject(workloadOfAutoscaler(s.observed.Autoscaler), hold.Hold{ID: id, Replicas: 3}, "")
		h.Status = status
		s.observed.Holds = []hold.Object{*h}
	}
}

// TestSurgeObstacles: no raise, with its reason.
func TestSurgeObstacles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		want   Skip
		change func(*laneSim)
	}{
		{"a person's hold", SkipHeld, heldBy("set/ann", hold.Status{State: hold.Open})},
		{"a hold from Git", SkipHeld, heldBy("launch", hold.Status{State: hold.Open})},
		{"a person's hold that is paused", "", func(s *laneSim) {
			heldBy("set/ann", hold.Status{State: hold.Released})(s)
			s.observed.Holds[0].Spec.Paused = true
		}},
		{"a person's hold whose pause is over", SkipHeld, func(s *laneSim) {
			heldBy("set/ann", hold.Status{State: hold.Released})(s)
			s.observed.Holds[0].Spec.Paused, s.observed.Holds[0].Spec.PausedUntil = true, &metav1.Time{Time: s.observed.Now}
		}},
		{"a schedule's hold", "", heldBy("schedule/day", hold.Status{State: hold.Open})},
		{"a schedule's hold that yielded", SkipHeld, heldBy("schedule/day", hold.Status{State: hold.Open, Yielded: []string{"minReplicas"}})},
		{"the lane's hold that yielded", SkipOff, heldBy(HoldID, hold.Status{State: hold.Open, Yielded: []string{"minReplicas"}})},
		{"the lane's hold that was rolled back", SkipOff, heldBy(HoldID, hold.Status{State: hold.RolledBack, Message: "no room"})},
		{"the lane's hold that a person paused", SkipOff, func(s *laneSim) {
			heldBy(HoldID, hold.Status{State: hold.Released})(s)
			s.observed.Holds[0].Spec.Paused = true
		}},
		{"a person's hold of the lane's name", SkipHeld, func(s *laneSim) {
			heldBy(HoldID, hold.Status{State: hold.Open})(s)
			s.observed.Holds[0].Name = HoldID
		}},
		{"a second autoscaler of the workload", SkipShared, func(s *laneSim) { s.observed.IsShared = true }},
		{"a pause at 0 replicas", SkipZero, func(s *laneSim) { s.setPods(0) }},
		{"a ScaledObject", SkipOwned, func(s *laneSim) {
			s.observed.Autoscaler.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "orders"}}
		}},
		{"no scaling up", SkipDisabled, func(s *laneSim) {
			s.observed.Autoscaler.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
				ScaleUp: &autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)},
			}
		}},
		{"no outage", "", func(*laneSim) {}},
		{"a failure just now", "", func(s *laneSim) { s.look(Reading{Answer: hpa.Answer{Err: errors.New("503")}}) }},
		{"an outage just now", SkipSettling, func(s *laneSim) {
			for range 7 {
				s.look(Reading{Answer: hpa.Answer{Err: errors.New("503")}})
			}
		}},
		{"a new leader", SkipSettling, func(s *laneSim) { s.memory = Memory{} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.settle(40, time.Minute, steadyLooks)
			tc.change(s)
			raised, last := false, Skip("")
			for range 4 {
				d := s.look(s.readTotal(400, 4*time.Second))
				raised, last = raised || d.Place, d.Skip
			}
			if last != tc.want || raised != (tc.want == "") {
				t.Errorf("raised: %t, skip %q; want %q", raised, last, tc.want)
			}
		})
	}
}

// TestStaleAnswer: a look without an answer raises nothing, and ends the row.
func TestStaleAnswer(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.settle(40, time.Minute, steadyLooks)
	for i := range 6 {
		r := s.readTotal(400, 4*time.Second)
		if i%2 == 1 {
			r = Reading{Answer: hpa.Answer{Err: errors.New("503: stale")}}
		}
		if d := s.look(r); d.Place {
			t.Fatalf("raise at look %d", i)
		}
	}
}

// TestOneReplicaLies: an answer that every other look contradicts is no agreement.
func TestOneReplicaLies(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.settle(40, time.Minute, steadyLooks)
	for i := range 20 {
		total, window := 40.0, time.Minute
		if i%2 == 0 {
			total, window = 4000, 2*time.Second
		}
		if d := s.look(s.readTotal(total, window)); d.Place {
			t.Fatalf("raise at look %d", i)
		}
	}
}

// TestRaiseFollowsMetric: in the first period a raise gets higher with the metric, within one unit of the budget.
func TestRaiseFollowsMetric(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.settle(40, time.Minute, steadyLooks)
	var raises []int32
	isNew := 0
	s.settle(160, 4*time.Second, completeLooks-1)
	for _, total := range []float64{160, 300, 400, 400, 400} {
		d := s.look(s.readTotal(total, 4*time.Second))
		if d.Place {
			raises = append(raises, d.Memory.Raise.Replicas)
		}
		if d.IsNew {
			isNew++
		}
	}
	if fmt.Sprint(raises) != "[8 15 20]" || isNew != 1 {
		t.Errorf("raises to %v, %d of them new; want [8 15 20], 1", raises, isNew)
	}
}

// TestRaiseWaitsForStep: while the newest increments have the step inside, the wishes climb, or differ between the adapter's replicas. The
// raise waits until they agree, for twice the time.
func TestRaiseWaitsForStep(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		totals   []float64
		replicas int32
	}{
		{"a part of the step in two looks", []float64{88, 88, 226, 400, 400}, 20},
		{"climbs", []float64{100, 200, 300, 400, 400}, 20},
		{"has climbed, and three samples agree", []float64{276, 395, 382, 390}, 20},
		{"two replicas of the adapter meet on their ways up", []float64{81, 175, 171, 320, 395, 400}, 20},
		{"two replicas of the adapter", []float64{243, 371, 371, 380}, 19},
		{"of which one lags", []float64{400, 254, 400, 254, 390, 400}, 20},
		{"which never agree", []float64{400, 254, 400, 254, 400, 254}, 13},
		{"no look finds a surge between", []float64{119, 46, 400, 254, 400, 385}, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.settle(40, time.Minute, steadyLooks)
			for i, total := range tc.totals {
				d := s.look(s.readTotal(total, 4*time.Second))
				isLast := i == len(tc.totals)-1
				if d.Place != isLast || isLast && d.Memory.Raise.Replicas != tc.replicas {
					t.Errorf("look %d of %d: placed: %t, %+v; want a raise to %d at the last", i+1, len(tc.totals), d.Place, d.Memory.Raise, tc.replicas)
				}
			}
		})
	}
}

// TestBudget: after the budget's raises the autoscaler is alone, for the rest of the hour.
func TestBudget(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.settle(40, time.Minute, steadyLooks)
	raises := 0
	for range 20 { // a surge each three minutes
		for range 30 {
			if s.look(s.readTotal(400, 4*time.Second)).IsNew {
				raises++
			}
		}
		s.settle(40, time.Minute, 150)
	}
	if raises != DefaultBudget {
		t.Errorf("%d raises in an hour, want %d", raises, DefaultBudget)
	}
	if got := strings.Count(strings.Join(s.notices, " "), ReasonExhausted); got != 1 {
		t.Errorf("the budget was told %d times: %v", got, s.notices)
	}
}

// TestExtension: a hold is extended until the autoscaler has agreed, and ends then.
func TestExtension(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		agreesAt   int // look at which the autoscaler's status shows the raise; 0: never
		lasts      time.Duration
		fallsAfter int // looks after which the load is gone; 0: it stays
	}{
		{name: "the autoscaler agrees in time", agreesAt: 10, lasts: holdFor},
		{name: "the autoscaler agrees late", agreesAt: 40, lasts: 4 * hpaPeriod},
		{name: "the HPA controller is down", lasts: maxHoldFor},
		{name: "the load is gone", fallsAfter: 5, lasts: holdFor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.settle(40, time.Minute, steadyLooks)
			if s.step(); s.memory.Raise == nil {
				t.Fatal("no raise")
			}
			began, until := s.memory.Raise.Began, s.memory.Raise.Until
			s.setPods(20)
			s.observed.Autoscaler.Spec.MinReplicas = new(int32(20))
			for look := range 600 {
				if look == tc.agreesAt && tc.agreesAt > 0 {
					s.observed.Autoscaler.Status = autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 20, DesiredReplicas: 20}
				}
				total := 400.0
				if tc.fallsAfter > 0 && look >= tc.fallsAfter {
					total = 40
				}
				d := s.look(s.readTotal(total, 10*time.Second))
				if d.IsNew {
					t.Fatalf("a second raise at look %d", look)
				}
				if d.Memory.Raise == nil {
					break
				}
				until = d.Memory.Raise.Until
			}
			if got := until.Sub(began); got < tc.lasts-hpaPeriod || got > tc.lasts {
				t.Errorf("held for %s, want %s at most", got, tc.lasts)
			}
		})
	}
}

// TestNewLeader: a new leader adopts the hold of the one before, and counts it.
func TestNewLeader(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.setPods(20)
	began := s.observed.Now.Add(-10 * time.Second)
	h := hold.NewObject(workloadOfAutoscaler(s.observed.Autoscaler), hold.Hold{ID: HoldID, Replicas: 20, Until: began.Add(holdFor)}, "")
	h.CreationTimestamp = metav1.NewTime(began)
	s.observed.Holds = []hold.Object{*h}
	s.settle(400, 10*time.Second, 3)
	if r := s.memory.Raise; r == nil || r.Replicas != 20 || !r.Began.Equal(began) || len(s.memory.Raises) != 1 {
		t.Errorf("%+v, %d raises", r, len(s.memory.Raises))
	}
}

// TestObserve: in the mode observe the lane tells the raise, and the seconds until the autoscaler made it.
func TestObserve(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		after  int // looks until the autoscaler scales; 0: never
		events string
	}{
		{"the autoscaler follows", 14, "[SurgeObserved SurgeFollowed]"},
		{"the autoscaler does not follow", 0, "[SurgeObserved SurgeUnmatched]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newLaneSim()
			s.observed.Mode = ModeObserve
			s.settle(40, time.Minute, steadyLooks)
			var lead *time.Duration
			for look := range 320 {
				if look == completeLooks+tc.after && tc.after > 0 {
					s.setPods(20)
				}
				total := 400.0
				if tc.after == 0 && look > completeLooks {
					total = 40 // the lane was wrong
				}
				if d := s.look(s.readTotal(total, min(time.Minute, time.Duration(4+look)*time.Second))); len(d.Leads) > 0 {
					lead = &d.Leads[0]
				}
			}
			if got := fmt.Sprint(s.notices); got != tc.events {
				t.Errorf("notices %s, want %s", got, tc.events)
			}
			if (lead != nil) != (tc.after > 0) || lead != nil && *lead != 15*time.Second {
				t.Errorf("lead %v", lead)
			}
		})
	}
}

// TestOffIsTold: a hold that another client undid is told once, and raises begin again after the pause.
func TestOffIsTold(t *testing.T) {
	t.Parallel()
	s := newLaneSim()
	s.settle(40, time.Minute, steadyLooks)
	h := hold.NewObject(workloadOfAutoscaler(s.observed.Autoscaler), hold.Hold{ID: HoldID, Replicas: 20}, "")
	h.Status = hold.Status{State: hold.RolledBack, Yielded: []string{"minReplicas"}, Message: "another client set minReplicas 2; the hold needs 20"}
	s.observed.Holds = []hold.Object{*h}
	s.settle(400, 4*time.Second, 30)
	s.observed.Holds = nil
	for range int(offFor/time.Second) - 1 {
		if d := s.look(s.readTotal(400, 4*time.Second)); d.Place {
			t.Fatal("raise within the pause")
		}
	}
	if got := fmt.Sprint(s.notices); got != "[SurgeStopped]" {
		t.Errorf("notices %s", got)
	}
	s.settle(40, time.Minute, steadyLooks)
	if d := s.step(); !d.IsNew {
		t.Errorf("no raise after the pause: %+v", d)
	}
}

// TestFindTerms: the annotation, the configuration's rules and their faults.
func TestFindTerms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		annotation string
		want       string // terms, out or a part of the error
	}{
		{"maxReplicas=40,budget=6/h", "{40 6}"},
		{" maxReplicas=40", "{40 3}"},
		{"budget=1/h", "{0 1}"},
		{"", "{0 3}"},
		{"off", "out"},
		{"off\n", "out"}, // a block scalar of YAML
		{" \n", "{0 3}"},
		{"maxReplicas = 40, budget = 6/h\n", "{40 6}"},
		{"Off", "unknown key"},
		{"on", "unknown key"},
		{"maxReplicas=0", "from 1"},
		{"maxReplicas=many", "whole number"},
		{"budget=3", "from 1/h to 60/h"},
		{"budget=61/h", "from 1/h to 60/h"},
		{"maxReplicas=4,", "empty part"},
		{"maxReplicas=40,maxReplicas=4", "maxReplicas is there twice"},
		{"budget=3/h,maxReplicas=4,budget=30/h", "budget is there twice"},
		{strings.Repeat("x", 10_000), `unknown key "xx`},
		{strings.Repeat("x,", 10_000), `unknown key "x"`},
		{"budget=" + strings.Repeat("3", 10_000), `to 60/h, not "33`},
		{"maxReplicas=" + strings.Repeat("3", 10_000), `from 1, not "33`},
	} {
		a := newLaneSim().observed.Autoscaler
		a.Annotations = map[string]string{Annotation: tc.annotation}
		terms, isIn, err := new(Config).FindTerms(a)
		got := fmt.Sprint(terms)
		switch {
		case err != nil:
			got = err.Error()
		case !isIn:
			got = "out"
		}
		if !strings.Contains(got, tc.want) || len(got) > 250 || err != nil && isIn {
			t.Errorf("%.50q: %s, want %s", tc.annotation, got, tc.want)
		}
	}
}
