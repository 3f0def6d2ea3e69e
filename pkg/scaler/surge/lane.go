// The loop of the lane.

package surge

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"golang.org/x/sync/errgroup"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// MetricsReader reads the metrics of an autoscaler. Its methods may be called concurrently.
type MetricsReader interface {
	// ReadMetrics returns a reading for each of the autoscaler's metrics, in their order. selector selects the pods of the target. otherThan
	// names a replica of the adapter: another one answers, where one can be reached; empty: any.
	ReadMetrics(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, selector, otherThan string) []Reading
}

// Raiser stores a hold, and replaces a hold with the same ID. It may be called concurrently.
type Raiser interface {
	Raise(ctx context.Context, t hold.Workload, h hold.Hold) error
}

// EventWriter writes an Event. It may be called concurrently.
type EventWriter interface {
	WriteEvent(ctx context.Context, e *corev1.Event) error
}

// Options are the parts of a Lane. All but Notify of Config, Metrics and Identity are required.
type Options struct {
	Config     Config
	Namespaces []string // searched for autoscalers
	Reader     rollout.Reader
	Readings   MetricsReader
	Raiser     Raiser
	Events     EventWriter
	Metrics    *Metrics // nil: not registered
	Identity   string   // reporting instance of Events
}

// Lane is the loop of the leader. It starts with Run.
type Lane struct {
	Options

	first    int            // looks so far: the next round begins with another namespace
	turns    map[string]int // looks so far, by namespace
	memories map[types.UID]*Memory
	// misread has the faulty annotations that were told, by autoscaler.
	misread map[types.UID]string
}

// The bounds of a round.
const (
	// maxRoundLooks bounds the autoscalers of a round; of more, each gets its look in a later round.
	maxRoundLooks = 64
	// maxConcurrentLooks bounds the looks at a time.
	maxConcurrentLooks = 8
	// lookTimeout bounds a look with all its reads.
	lookTimeout = 900 * time.Millisecond
)

// New returns a lane.
func New(opts Options) *Lane {
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	return &Lane{Options: opts}
}

// Run looks at the autoscalers each second until ctx ends. A new leader begins without a memory: it raises nothing before its
// readings have settled.
func (l *Lane) Run(ctx context.Context) error {
	if l.Config.ModeOrDefault() == ModeOff {
		<-ctx.Done()
		return nil
	}
	l.turns, l.memories, l.misread = map[string]int{}, map[types.UID]*Memory{}, map[types.UID]string{}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.runLaneRound(ctx)
		}
	}
}

// laneMember is an autoscaler in the lane.
type laneMember struct {
	autoscaler *autoscalingv2.HorizontalPodAutoscaler
	terms      Terms
	memory     *Memory
	isShared   bool // another autoscaler has the same target or the same pods
}

// runLaneRound looks at the autoscalers in the lane once: at most maxRoundLooks of them, as many as it comes to within lookInterval.
func (l *Lane) runLaneRound(ctx context.Context) {
	members := l.listLaneMembers(ctx)
	l.Metrics.autoscalers.Set(float64(len(members)))
	begun := time.Now()
	var group errgroup.Group
	group.SetLimit(maxConcurrentLooks)
	for _, m := range l.orderLaneLooks(members) {
		if time.Since(begun) >= lookInterval {
			break
		}
		l.first++
		l.turns[m.autoscaler.Namespace]++
		group.Go(func() error {
			l.lookAtAutoscaler(ctx, m)
			return nil
		})
	}
	_ = group.Wait() // looks tell their errors themselves
}

// orderLaneLooks returns the autoscalers of a round: one of each namespace in turn, so that the many or slow ones of a namespace delay no other's.
// The autoscalers of a namespace take turns over the rounds, and so do the namespaces.
func (l *Lane) orderLaneLooks(members []laneMember) (looks []laneMember) {
	byNamespace := map[string][]laneMember{}
	var namespaces []string
	for _, m := range members {
		namespace := m.autoscaler.Namespace
		if byNamespace[namespace] == nil {
			namespaces = append(namespaces, namespace)
		}
		byNamespace[namespace] = append(byNamespace[namespace], m)
	}
	maps.DeleteFunc(l.turns, func(namespace string, _ int) bool { return byNamespace[namespace] == nil })
	if len(namespaces) == 0 {
		return nil
	}
	for place := 0; len(looks) < min(len(members), maxRoundLooks); place++ {
		for i := range namespaces {
			namespace := namespaces[(l.first+i)%len(namespaces)]
			if all := byNamespace[namespace]; place < len(all) && len(looks) < maxRoundLooks {
				m := all[(l.turns[namespace]+place)%len(all)]
				// A copy: a Quantity keeps its text when it is first printed, and the cache shares its objects.
				m.autoscaler = m.autoscaler.DeepCopy()
				looks = append(looks, m)
			}
		}
	}
	return looks
}

// listLaneMembers lists the autoscalers that opt in, and forgets all others. A namespace that cannot be listed keeps its memories.
func (l *Lane) listLaneMembers(ctx context.Context) (members []laneMember) {
	listed, seen, isComplete := map[types.UID]bool{}, map[types.UID]bool{}, true
	for _, namespace := range l.Namespaces {
		all, err := l.Reader.ListAutoscalers(ctx, namespace)
		if err != nil {
			isComplete = false
			if ctx.Err() == nil {
				klog.FromContext(ctx).V(1).Info("Autoscalers cannot be listed", "namespace", namespace, "err", err)
			}
			continue
		}
		targets := map[hold.Workload]int{}
		for _, a := range all {
			targets[workloadOfAutoscaler(a).WithoutVersion()]++
		}
		for _, a := range all {
			target := workloadOfAutoscaler(a)
			listed[a.UID] = true
			terms, isIn, err := l.Config.FindTerms(a)
			l.tellMisreadTerms(ctx, a, cmp.Or(err, checkAnnotationKeys(a)))
			if !isIn || a.DeletionTimestamp != nil || len(a.Spec.Metrics) == 0 { // the cache keeps no metrics of a huge autoscaler
				continue
			}
			seen[a.UID] = true
			if m := l.memories[a.UID]; m == nil || m.Target != target {
				l.memories[a.UID] = &Memory{Target: target}
			}
			members = append(members, laneMember{a, terms, l.memories[a.UID], targets[target.WithoutVersion()] > 1 || sharesPodsWithAnother(a)})
		}
	}
	if isComplete {
		maps.DeleteFunc(l.memories, func(uid types.UID, _ *Memory) bool { return !seen[uid] })
		maps.DeleteFunc(l.misread, func(uid types.UID, _ string) bool { return !listed[uid] })
	}
	return members
}

// sharesPodsWithAnother reports whether the HPA controller found pods of an autoscaler that another one has too.
func sharesPodsWithAnother(a *autoscalingv2.HorizontalPodAutoscaler) bool {
	return slices.ContainsFunc(a.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse && c.Reason == "AmbiguousSelector"
	})
}

// tellMisreadTerms tells a fault of the annotations once.
func (l *Lane) tellMisreadTerms(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, fault error) {
	switch {
	case fault == nil:
		delete(l.misread, a.UID)
	case l.misread[a.UID] != fault.Error():
		l.misread[a.UID] = fault.Error()
		l.recordLaneNotice(ctx, a, Notice{Reason: ReasonMisread, Message: fault.Error(), IsWarning: true})
	}
}

// lookAtAutoscaler makes a look, and a second one half a look later if the first asks for it. A look that must be confirmed is at once.
func (l *Lane) lookAtAutoscaler(ctx context.Context, m laneMember) {
	if l.lookAtAutoscalerTwice(ctx, m) && retry.Sleep(ctx, FollowUp) {
		l.lookAtAutoscalerTwice(ctx, m)
	}
}

// lookAtAutoscalerTwice makes a look, and confirms it if it asks for that. It reports whether it asks for another look.
func (l *Lane) lookAtAutoscalerTwice(ctx context.Context, m laneMember) (again bool) {
	d := l.lookAtAutoscalerOnce(ctx, m)
	if d.ConfirmsNow {
		d = l.lookAtAutoscalerOnce(ctx, m)
	}
	return d.LooksAgain
}

// decideSafely observes and decides. A panic fails this look alone.
func (l *Lane) decideSafely(ctx context.Context, m laneMember) (o LaneAutoscaler, d LaneDecision, err error) {
	defer l.Metrics.panics.Catch(ctx, &err, func() []any { return []any{"namespace", m.autoscaler.Namespace, "hpa", m.autoscaler.Name} })
	if o, err = l.observeAutoscaler(ctx, m); err == nil {
		d = Decide(o, *m.memory)
	}
	return o, d, err
}

// lookAtAutoscalerOnce observes, decides, and places the hold. A look that failed has no decision.
func (l *Lane) lookAtAutoscalerOnce(ctx context.Context, m laneMember) LaneDecision {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	o, d, err := l.decideSafely(ctx, m)
	if err != nil {
		l.Metrics.looks.WithLabelValues("error").Inc()
		klog.FromContext(ctx).V(1).Info("Autoscaler cannot be observed", "namespace", m.autoscaler.Namespace, "hpa", m.autoscaler.Name, "err", err)
		return LaneDecision{}
	}
	if d.Place && o.Mode == ModeAct {
		if err := l.Raiser.Raise(ctx, workloadOfAutoscaler(m.autoscaler), l.newSurgeHold(m.autoscaler, *d.Memory.Raise)); err != nil {
			l.tellUnplacedHold(ctx, m, err)
			return LaneDecision{} // the memory of before: the next look tries again
		}
		d.Memory.UnplacedToldAt = time.Time{}
	}
	*m.memory = d.Memory
	l.Metrics.countLaneDecision(o.Mode, d)
	for _, n := range d.Notices {
		l.recordLaneNotice(ctx, m.autoscaler, n)
	}
	return d
}

// tellUnplacedHold counts a hold that cannot be placed, and logs it once a minute.
func (l *Lane) tellUnplacedHold(ctx context.Context, m laneMember, err error) {
	l.Metrics.looks.WithLabelValues("error").Inc()
	if now := time.Now(); now.Sub(m.memory.UnplacedToldAt) >= unplacedPause {
		m.memory.UnplacedToldAt = now
		klog.FromContext(ctx).Error(err, "Hold of a surge cannot be placed, retrying each second", "namespace", m.autoscaler.Namespace, "hpa", m.autoscaler.Name)
	}
}

// observeAutoscaler reads the inputs of a decision.
func (l *Lane) observeAutoscaler(ctx context.Context, m laneMember) (o LaneAutoscaler, err error) {
	a, t := m.autoscaler, workloadOfAutoscaler(m.autoscaler)
	o = LaneAutoscaler{Autoscaler: a, Terms: m.terms, Mode: l.Config.ModeOrDefault(), Now: time.Now(), IsShared: m.isShared}
	scale, err := l.Reader.GetScale(ctx, t)
	if err != nil || scale == nil {
		return o, err // without a workload there are 0 replicas
	}
	o.Replicas = scale.Replicas
	pods, err := l.Reader.ListPods(ctx, a.Namespace, scale.Selector)
	if err != nil {
		return o, err
	}
	for i := range pods {
		o.Pods = append(o.Pods, &pods[i])
	}
	holds, err := l.Reader.ListHolds(ctx, a.Namespace)
	if err != nil {
		return o, err
	}
	for i := range holds {
		if holds[i].HeldWorkload().IsSameObject(t) {
			o.Holds = append(o.Holds, holds[i])
		}
	}
	o.Readings = l.Readings.ReadMetrics(ctx, a, scale.Selector, m.memory.Agreement.Replica)
	o.Now = time.Now()
	return o, nil
}

// workloadOfAutoscaler returns the target of an autoscaler.
func workloadOfAutoscaler(a *autoscalingv2.HorizontalPodAutoscaler) hold.Workload {
	ref := a.Spec.ScaleTargetRef
	return hold.Workload{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: a.Namespace, Name: ref.Name}
}

func (l *Lane) newSurgeHold(a *autoscalingv2.HorizontalPodAutoscaler, r Raise) hold.Hold {
	return hold.Hold{
		ID: HoldID, Reason: r.Cause, By: "surge lane of autoscaler " + a.Name,
		Replicas: r.Replicas, MinReplicas: r.Replicas, Until: r.Until, Notify: l.Config.Notify,
	}
}
