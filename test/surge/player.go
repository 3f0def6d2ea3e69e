package surge

import (
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	lane "github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
)

const (
	lookMillis   = 1000
	periodMillis = 15_000
	startMillis  = 1000    // from a raise until a new pod is scraped
	settleMillis = 140_000 // the longest window is full, and the lane has settled
)

// lanePlayer plays an autoscaler, and beside it the lane, over one traffic. Replicas are there at once.
type lanePlayer struct {
	traffic    *podTraffic
	autoscaler *autoscalingv2.HorizontalPodAutoscaler
	history    hpa.History
	memory     lane.Memory
	mode       lane.Mode
	replicas   int32
	raises     int
	// reachedAt is the time at which the replicas reached the goal.
	goal      int32
	reachedAt int64
	// podMillis are the replicas of all looks times their length.
	podMillis int64
}

func newLanePlayer(t *podTraffic, target float64, replicas int32, mode lane.Mode) *lanePlayer {
	return &lanePlayer{traffic: t, replicas: replicas, mode: mode, autoscaler: &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "hpa"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			MinReplicas: new(int32(1)), MaxReplicas: 100,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
				Target: autoscalingv2.MetricTarget{
					Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewMilliQuantity(int64(1000*target), resource.DecimalSI),
				},
			}}},
		},
	}}
}

// quickenWayDown lets the autoscaler remove pods soon after they are needed no more.
func (p *lanePlayer) quickenWayDown() {
	p.autoscaler.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{
		StabilizationWindowSeconds: new(int32(15)),
		Policies:                   []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}},
	}}
}

// lookAt makes the looks of a round, as the lane does. The autoscaler takes its turn at each period.
func (p *lanePlayer) lookAt(now int64, isTurn bool) {
	if p.lookOnce(now, isTurn) {
		p.lookOnce(now+lane.FollowUp.Milliseconds(), false)
	}
	p.podMillis += int64(p.replicas) * lookMillis
}

// lookOnce makes one look, and reports whether the lane asks for another.
func (p *lanePlayer) lookOnce(now int64, isTurn bool) (again bool) {
	total, over, newest := p.traffic.readTotal(now, p.memory.Agreement.Replica)
	pods := make([]*corev1.Pod, p.replicas)
	answer := hpa.Answer{Pods: map[string]hpa.PodValue{}}
	for i := range pods {
		name := fmt.Sprintf("web-%d", i)
		pods[i] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}}
		answer.Pods[name] = hpa.PodValue{Value: int64(1000 * total / float64(p.replicas))}
	}
	at := time.UnixMilli(now)
	d := lane.Decide(lane.LaneAutoscaler{
		Autoscaler: p.autoscaler, Replicas: p.replicas, Pods: pods, Mode: p.mode, Now: at, Terms: lane.Terms{Budget: 60},
		Readings: []lane.Reading{{Answer: answer, Window: over.Truncate(time.Second), Newest: time.UnixMilli(newest).Truncate(time.Second), Replica: p.traffic.nameReplica()}},
	}, p.memory)
	p.memory = d.Memory
	if d.IsNew {
		p.raises++
	}
	if isTurn {
		p.letAutoscalerDecide(hpa.Input{
			HPA: p.autoscaler, SpecReplicas: p.replicas, StatusReplicas: p.replicas, Pods: pods, Answers: []hpa.Answer{answer}, History: p.history, Now: at,
		})
	}
	p.applyRaise(now)
	if p.reachedAt == 0 && p.replicas >= p.goal {
		p.reachedAt = now
	}
	return d.LooksAgain
}

// letAutoscalerDecide lets the autoscaler decide.
func (p *lanePlayer) letAutoscalerDecide(in hpa.Input) {
	decided := hpa.Decide(in, hpa.DefaultSettings(37))
	p.history, p.replicas, p.autoscaler.Status = decided.History, decided.Replicas, decided.Status
}

// applyRaise keeps the replicas and the lower limit at the lane's raise while that is in force.
func (p *lanePlayer) applyRaise(now int64) {
	p.autoscaler.Spec.MinReplicas = new(int32(1))
	if r := p.memory.Raise; p.mode == lane.ModeAct && r != nil {
		p.autoscaler.Spec.MinReplicas = new(r.Replicas)
		if r.Replicas > p.replicas {
			p.traffic.beginPods(now + startMillis)
		}
		p.replicas = max(p.replicas, r.Replicas)
	}
}
