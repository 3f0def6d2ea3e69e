// This file records the answers of a metrics provider.

package recorder

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// maxValuesPerRead bounds the values of a recorded read.
const maxValuesPerRead = 2000

// recordingProvider answers as another provider does, and records the answers to autoscalers.
type recordingProvider struct {
	metricsprovider.MetricsProvider
	recorder *Recorder
}

// Record returns a provider that answers as next does, and records the answers to autoscalers.
func (r *Recorder) Record(next metricsprovider.MetricsProvider) metricsprovider.MetricsProvider {
	return recordingProvider{next, r}
}

// GetMetricByName returns the value of one object.
func (p recordingProvider) GetMetricByName(ctx context.Context, name types.NamespacedName, info metricsprovider.CustomMetricInfo, selector labels.Selector,
) (*custom_metrics.MetricValue, error) {
	value, err := p.MetricsProvider.GetMetricByName(ctx, name, info, selector)
	if !p.recorder.isReadByHPAController(ctx) {
		return value, err
	}
	key := readKey{kind: objectRead, namespace: name.Namespace, metric: info.Metric, object: name.Name, selector: formatReadSelector(selector)}
	if info.GroupResource.Resource == "namespaces" {
		key.namespace = name.Name
	}
	p.recorder.recordRead(key, readSubject{object: info.GroupResource}, err, 1, func(now time.Time, into []explainapi.Value) ([]explainapi.Value, bool) {
		values := resizeReadValues(into, 1)
		setRecordedReadValue(&values[0], "", value.Value.MilliValue(), value.Timestamp.Time, value.WindowSeconds, now.UnixNano())
		return values, false
	})
	return value, err
}

// GetMetricBySelector returns the values of the pods that a selector matches.
func (p recordingProvider) GetMetricBySelector(ctx context.Context, namespace string, objects labels.Selector, info metricsprovider.CustomMetricInfo, selector labels.Selector,
) (*custom_metrics.MetricValueList, error) {
	if !p.recorder.isReadByHPAController(ctx) {
		return p.MetricsProvider.GetMetricBySelector(ctx, namespace, objects, info, selector)
	}
	ctx, evidence := provider.WithEvidence(ctx)
	list, err := p.MetricsProvider.GetMetricBySelector(ctx, namespace, objects, info, selector)
	key := readKey{kind: podsRead, namespace: namespace, metric: info.Metric, selector: formatReadSelector(selector)}
	values := 0
	if err == nil {
		values = len(list.Items)
	}
	p.recorder.recordRead(key, readSubject{pods: objects, evidence: evidence}, err, values, func(now time.Time, into []explainapi.Value) ([]explainapi.Value, bool) {
		items := list.Items[:min(len(list.Items), maxValuesPerRead)]
		values, nanos := resizeReadValues(into, len(items)), now.UnixNano()
		for i := range items {
			v := &items[i]
			setRecordedReadValue(&values[i], v.DescribedObject.Name, v.Value.MilliValue(), v.Timestamp.Time, v.WindowSeconds, nanos)
		}
		return values, len(items) < len(list.Items)
	})
	return list, err
}

// GetExternalMetric returns the values of the series that a selector matches.
func (p recordingProvider) GetExternalMetric(ctx context.Context, namespace string, selector labels.Selector, info metricsprovider.ExternalMetricInfo,
) (*external_metrics.ExternalMetricValueList, error) {
	list, err := p.MetricsProvider.GetExternalMetric(ctx, namespace, selector, info)
	if !p.recorder.isReadByHPAController(ctx) {
		return list, err
	}
	key := readKey{kind: externalRead, namespace: namespace, metric: info.Metric, selector: formatReadSelector(selector)}
	values := 0
	if err == nil {
		values = len(list.Items)
	}
	p.recorder.recordRead(key, readSubject{}, err, values, func(now time.Time, into []explainapi.Value) ([]explainapi.Value, bool) {
		items := list.Items[:min(len(list.Items), maxValuesPerRead)]
		values, nanos := resizeReadValues(into, len(items)), now.UnixNano()
		for i := range items {
			v := &items[i]
			setRecordedReadValue(&values[i], "", v.Value.MilliValue(), v.Timestamp.Time, v.WindowSeconds, nanos)
		}
		return values, len(items) < len(list.Items)
	})
	return list, err
}

// isReadByHPAController reports whether a request comes from an HPA controller.
func (r *Recorder) isReadByHPAController(ctx context.Context) bool {
	u, ok := apirequest.UserFrom(ctx)
	return ok && slices.Contains(r.opts.Autoscalers, u.GetName())
}

// resizeReadValues returns a slice of n values in the memory of another one, with its earlier values.
func resizeReadValues(into []explainapi.Value, n int) []explainapi.Value {
	return slices.Grow(into[:0], n)[:n]
}

// setRecordedReadValue sets all fields of a value; now is in nanoseconds. It runs for each pod of each read, and writes the name only where
// it changes: to write a pointer costs more than to compare it.
func setRecordedReadValue(v *explainapi.Value, pod string, milli int64, at time.Time, window *int64, now int64) {
	if v.Pod != pod {
		v.Pod = pod
	}
	v.Milli, v.AgeMillis, v.WindowSeconds = milli, (now-at.UnixNano())/int64(time.Millisecond), 0
	if window != nil {
		v.WindowSeconds = *window
	}
}

// valueConverter appends the values of an answer to a slice, and reports whether it left some out.
type valueConverter func(now time.Time, into []explainapi.Value) (values []explainapi.Value, truncated bool)

// readSubject is the subject of a read, beside its key: pods or the resource of an object. An external metric has neither.
type readSubject struct {
	pods     labels.Selector
	evidence *provider.Evidence // of a read of pods
	object   schema.GroupResource
}

// ruleOfRead has the fields that find the rule of a read.
type ruleOfRead struct {
	resource, metric string
	external         bool
}

func newRuleOfRead(key readKey, subject readSubject) ruleOfRead {
	switch key.kind {
	case podsRead:
		return ruleOfRead{resource: "pods", metric: key.metric}
	case objectRead:
		return ruleOfRead{resource: subject.object.String(), metric: key.metric}
	case externalRead:
	}
	return ruleOfRead{metric: key.metric, external: true}
}

// getNameOfReadRule returns the name of a read's rule; empty if it has none.
func (r *Recorder) getNameOfReadRule(namespace string, of ruleOfRead) string {
	if r.opts.RuleName == nil {
		return ""
	}
	return r.opts.RuleName(namespace, of.resource, of.metric, of.external)
}

// recordRead records an answer for the autoscalers that it belongs to. convert returns its values, if there was no error.
func (r *Recorder) recordRead(key readKey, subject readSubject, err error, values int, convert valueConverter) {
	found, evidence := r.findReadingAutoscalers(key, subject.pods, subject.object), subject.evidence
	if len(found) == 0 {
		return
	}
	answer := pendingAnswer{at: r.opts.Now(), rule: newRuleOfRead(key, subject), shared: len(found) > 1, values: values, convert: convert}
	if err != nil {
		answer.err, answer.values, answer.convert = clipRecordedMessage(err.Error()), 0, nil
	}
	if evidence != nil { // its slices alone: it lives in the context of the request
		answer.omitted = evidence.Omitted
	}
	for _, x := range found {
		answer.metric, answer.pods = x.metric, r.selectPodsOfTarget(x.record, evidence)
		r.queueOrEncodeAnswer(x.record, answer)
	}
}

// selectPodsOfTarget returns the pods of the scale target: the pods that were read, else the pods that discovery knows.
func (r *Recorder) selectPodsOfTarget(rec *record, evidence *provider.Evidence) []discovery.Pod {
	if evidence != nil {
		return evidence.Pods
	}
	selector := r.targets.ScaleTargetSelector(rec.key.Namespace, rec.key.Name)
	if selector == nil {
		return nil
	}
	return r.targets.Pods(rec.key.Namespace, selector)
}

// updatePodEntries returns the entries of the pods, the same slice for the same pods. It observes how long new pods took to become ready.
func (r *record) updatePodEntries(pods []discovery.Pod, m *metrics) []podEntry {
	if r.pods != nil && describesPodMetric(r.pods, pods) {
		return r.pods
	}
	entries := make([]podEntry, len(pods))
	started := make(map[string]bool, len(pods))
	for i, p := range pods {
		entries[i] = newPodEntry(&pods[i])
		began := r.started[p.Name]
		if !began && p.Live && p.Ready {
			began = true
			if p.Created.After(r.opened) && !p.Readied.Before(p.Created) {
				m.observeReaction(r.lookRule, stageStart, p.Readied.Sub(p.Created))
			}
		}
		started[p.Name] = began
	}
	r.pods, r.started = entries, started
	return entries
}

// describesPodMetric reports whether the entries are of these pods. It copies no pod: this runs on each read.
func describesPodMetric(entries []podEntry, pods []discovery.Pod) bool {
	if len(entries) != len(pods) {
		return false
	}
	for i := range entries {
		e, p := &entries[i], &pods[i]
		if e.name != p.Name || e.state != encodePodState(p) || e.created != convertTimeToUnix(p.Created) || e.readied != convertTimeToUnix(p.Readied) {
			return false
		}
	}
	return true
}

func newPodEntry(p *discovery.Pod) podEntry {
	return podEntry{name: p.Name, state: encodePodState(p), created: convertTimeToUnix(p.Created), readied: convertTimeToUnix(p.Readied)}
}

func encodePodState(p *discovery.Pod) int64 {
	switch {
	case p.Live && p.Ready:
		return stateReady
	case p.Live:
		return stateUnready
	case p.Completed:
		return stateCompleted
	case p.Omission.Reason == metric.ReasonTerminating:
		return stateDeparted
	}
	return statePending
}

func convertReadOmissions(omissions []metric.Omission) []explainapi.Omission {
	var all []explainapi.Omission
	for _, o := range omissions {
		all = append(all, explainapi.Omission{Pod: o.Object.Name, Reason: string(o.Reason), Detail: clipRecordedMessage(o.Detail)})
	}
	return all
}
