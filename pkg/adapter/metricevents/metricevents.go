// Package metricevents writes an Event on a HorizontalPodAutoscaler when one of its metrics loses its value, and when the metric has one
// again.
//
// The autoscaler's status says which metrics have values, so every replica sees the same changes. A replica that answered a read of the
// metric writes the Event. Replicas give the Event of a change the same name, so that it exists once.
package metricevents

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

const (
	// failureBurst and failureInterval bound the Events about failures of one autoscaler. A recovery has an Event only if its failure had one.
	failureBurst    = 3
	failureInterval = 10 * time.Minute
	// writesPerSecond and writeBurst bound the Events of all autoscalers: a lost backend fails a thousand at once.
	writesPerSecond = 5
	writeBurst      = 20
	// retryInterval is the time between two attempts to write an Event, and writeAttempts bounds the attempts for one change.
	retryInterval = 15 * time.Second
	writeAttempts = 3
)

// Records has this replica's answers to autoscalers, and their decisions. It is safe for concurrent use.
type Records interface {
	// Log returns the decisions of an autoscaler since a time, and the reads before each; nil for an unknown autoscaler.
	Log(autoscaler types.NamespacedName, since time.Time) (*explainapi.DecisionLog, error)
}

// Options tune a Reporter. All but Registerer are required.
type Options struct {
	Events  typedcorev1.EventsGetter
	Records Records
	// Replica is the name of this adapter's pod.
	Replica string
	// Now is the clock of the records.
	Now func() time.Time
	// Registerer takes the self-metrics; nil registers none.
	Registerer prometheus.Registerer
}

// Reporter follows autoscalers and writes their Events. It is safe for concurrent use.
type Reporter struct {
	opts    Options
	metrics *metrics
	writes  *rate.Limiter
	wake    chan struct{}

	mu     sync.Mutex
	states map[types.NamespacedName]*autoscalerState // guarded by mu
}

// New returns a Reporter without autoscalers.
func New(opts Options) *Reporter {
	return &Reporter{
		opts: opts, metrics: newMetrics(opts.Registerer), writes: rate.NewLimiter(writesPerSecond, writeBurst),
		wake: make(chan struct{}, 1), states: map[types.NamespacedName]*autoscalerState{},
	}
}

// ObserveAutoscaler notes which metrics of a new or changed autoscaler have values, by its status. It keeps no reference to h.
func (r *Reporter) ObserveAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	key := types.NamespacedName{Namespace: h.Namespace, Name: h.Name}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.states[key]
	if s == nil || s.uid != h.UID {
		s = newAutoscalerState(h.UID)
		r.states[key] = s
	}
	if s.updateFromStatus(h, r.opts.Now()); s.hasUnreportedChange() {
		r.requestReport()
	}
}

func (r *Reporter) requestReport() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

// ForgetAutoscaler drops the state of a deleted autoscaler.
func (r *Reporter) ForgetAutoscaler(namespace, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.states, types.NamespacedName{Namespace: namespace, Name: name})
}

// RetainAutoscalers drops the state of each autoscaler for which exists returns false. exists must not call the Reporter.
func (r *Reporter) RetainAutoscalers(exists func(namespace, name string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.states {
		if !exists(key.Namespace, key.Name) {
			delete(r.states, key)
		}
	}
}

// Run writes Events until ctx ends, and returns nil. An Event that cannot be written is tried writeAttempts times.
func (r *Reporter) Run(ctx context.Context) error {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-tick.C:
		}
		for _, key := range r.listUnreportedAutoscalers() {
			if r.writes.Wait(ctx) != nil {
				return nil
			}
			r.writeEventOfChange(ctx, key)
		}
	}
}

func (r *Reporter) listUnreportedAutoscalers() []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	var untold []types.NamespacedName
	for key, s := range r.states {
		if s.hasUnreportedChange() && s.isReportAdmitted(r.opts.Now()) {
			untold = append(untold, key)
		}
	}
	return untold
}

// writeEventOfChange writes the Event of an autoscaler's newest change, if this replica answered a read of the metric.
func (r *Reporter) writeEventOfChange(ctx context.Context, key types.NamespacedName) {
	r.mu.Lock()
	s := r.states[key]
	if s == nil || !s.hasUnreportedChange() { // deleted or changed back meanwhile
		r.mu.Unlock()
		return
	}
	change := s.takeUnreportedChange(r.opts.Now())
	r.mu.Unlock()
	event := r.newEventOfChange(key, change)
	if event == nil {
		return
	}
	_, err := r.opts.Events.Events(key.Namespace).Create(ctx, event, metav1.CreateOptions{})
	switch {
	case err == nil:
		r.metrics.countEventOutcome("success")
		return
	case apierrors.IsAlreadyExists(err): // by another replica
		return
	case ctx.Err() != nil:
		return
	}
	r.metrics.countEventOutcome("error")
	klog.FromContext(ctx).Error(err, "Event on an autoscaler cannot be written", "namespace", key.Namespace, "hpa", key.Name, "reason", event.Reason)
	r.mu.Lock()
	defer r.mu.Unlock()
	s.returnUnwrittenChange(change)
}

// newEventOfChange returns the Event of a change; nil if this replica answered none of its reads.
func (r *Reporter) newEventOfChange(key types.NamespacedName, c metricChange) *corev1.Event {
	cause, isRead := r.findReadOfChange(key, c)
	if !isRead {
		return nil
	}
	now := metav1.NewTime(r.opts.Now())
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: formatEventName(key.Name, c)},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler", Namespace: key.Namespace, Name: key.Name, UID: c.uid,
		},
		Type: corev1.EventTypeNormal, Reason: c.getEventReason(), Message: plaintext.Clip(c.formatEventMessage(cause), maxMessageBytes),
		Source: corev1.EventSource{Component: component, Host: r.opts.Replica}, ReportingController: component, ReportingInstance: r.opts.Replica,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	if c.isFailing {
		event.Type = corev1.EventTypeWarning
	}
	return event
}

// findReadOfChange returns the error of this replica's newest read of a changed metric. isRead reports whether there is a read with the
// outcome of the change.
func (r *Reporter) findReadOfChange(key types.NamespacedName, c metricChange) (cause string, isRead bool) {
	log, err := r.opts.Records.Log(key, c.at.Add(-readBefore))
	if err != nil || log == nil {
		return "", false
	}
	for i := range log.Decisions {
		for _, read := range log.Decisions[i].Reads {
			if (read.Error != "") == c.isFailing && c.readShowsChange(read.Metric) {
				cause, isRead = read.Error, true
			}
		}
	}
	return cause, isRead
}
