// Package explainapi holds the types of the API group explain, which the adapter serves and the kubectl plugin reads.
package explainapi

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// GroupVersion is the group and version of the API, and APIService the name of its APIService.
var (
	GroupVersion = schema.GroupVersion{Group: domain.ExplainGroup, Version: "v1alpha1"}
	APIService   = GroupVersion.Version + "." + GroupVersion.Group
)

// The resources of the API. Decisions is a subresource of HPAs.
const (
	HPAs      = "horizontalpodautoscalers"
	Decisions = "decisions"
	Targets   = "targets"
	Metrics   = "metrics"
)

// SinceParameter is the query parameter of Decisions: the time span back from now, as Go writes durations.
const SinceParameter = "since"

// ScopeParameter is the query parameter of Decisions that limits the answer: with ScopeReplica to the record of the replica that
// answers. Without it the records of all replicas are merged.
const (
	ScopeParameter = "scope"
	ScopeReplica   = "replica"
)

// Source says which replica answered, and from when on it knows the autoscaler.
type Source struct {
	// Replica is the name of the adapter's pod. Each replica records the reads that reach it.
	Replica string `json:"replica"`
	// Time is the replica's time of the answer.
	Time time.Time `json:"time,omitzero"`
	// UnknownBefore is the begin of the record: the replica's start, the autoscaler's creation, or the oldest entry that is kept. In a
	// merged answer it is the earliest of all replicas.
	UnknownBefore time.Time `json:"unknownBefore,omitzero"`
	// Gaps are the times within the record in which the replica did not run, the oldest first. Empty in a merged answer.
	Gaps []Gap `json:"gaps,omitempty"`
	// Replicas are all replicas with their parts of a merged answer, or the reason why a part is missing. The answering replica comes
	// first. Empty for an answer from one replica alone.
	Replicas []ReplicaRecord `json:"replicas,omitempty"`
}

// Gap is a time of which a replica has no record.
type Gap struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// ReplicaRecord is a replica's part of a merged answer.
type ReplicaRecord struct {
	// Name is the name of the replica's pod, or else its address.
	Name string `json:"name"`
	// UnknownBefore is the begin of its record; zero if it knows nothing of the autoscaler.
	UnknownBefore time.Time `json:"unknownBefore,omitzero"`
	// Gaps are the times within its record in which it did not run.
	Gaps []Gap `json:"gaps,omitempty"`
	// Error is the reason why its part is missing.
	Error string `json:"error,omitempty"`
}

// Recorders returns the names of the replicas with records in the answer.
func (s Source) Recorders() []string {
	if len(s.Replicas) == 0 {
		return []string{s.Replica}
	}
	var names []string
	for _, r := range s.Replicas {
		if r.Error == "" && !r.UnknownBefore.IsZero() {
			names = append(names, r.Name)
		}
	}
	return names
}

// Explanation is an autoscaler as the adapter knows it now.
type Explanation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Source            Source                                    `json:"source"`
	Spec              autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec"`
	// Status is the newest status that a replica watched, in a list the answering one; nil before the first.
	Status *Status `json:"status,omitempty"`
	// Latest is the newest recorded decision; nil before the first, and in a list.
	Latest *Decision `json:"latest,omitempty"`
	// Computed is the latest decision by the HPA's arithmetic, from the whole record; nil if its inputs are not complete.
	Computed *Computed `json:"computed,omitempty"`
}

// ExplanationList is a list of autoscalers.
type ExplanationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Explanation `json:"items"`
}

// Computed is a decision by the HPA's arithmetic.
type Computed struct {
	// Replicas is the number after all limits, Wanted the largest wish of a metric before windows and policies.
	Replicas int32 `json:"replicas"`
	Wanted   int32 `json:"wanted"`
	// Metrics are the steps of each metric of the spec.
	Metrics []ComputedMetric `json:"metrics,omitempty"`
	// Holding is the earlier wish that a stabilization window holds; nil without one.
	Holding *HeldWish `json:"holding,omitempty"`
	// Limit is the reason of ScalingLimited.
	Limit string `json:"limit,omitempty"`
}

// ComputedMetric is the arithmetic of one metric. Amounts are in thousandths, or in percent for a utilization. Where no pods share a total,
// Usage is the total and Ratio 0.
type ComputedMetric struct {
	Name   string  `json:"name"`
	Stage  string  `json:"stage"`
	Wish   int32   `json:"wish"`
	Usage  int64   `json:"usage"`
	Target int64   `json:"target"`
	Ratio  float64 `json:"ratio"`
	Error  string  `json:"error,omitempty"`
}

// HeldWish is an earlier wish that decides, and the time when its window lets it go.
type HeldWish struct {
	Replicas int32     `json:"replicas"`
	Time     time.Time `json:"time"`
	Until    time.Time `json:"until"`
}

// DecisionLog is the recorded decisions of an autoscaler, the oldest first.
type DecisionLog struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Source            Source `json:"source"`
	// Specs are the specs in force; a Decision names one by its index.
	Specs     []SpecVersion `json:"specs"`
	Decisions []Decision    `json:"decisions"`
}

// SpecVersion is a spec of the autoscaler and the time when the replica first saw it.
type SpecVersion struct {
	From time.Time `json:"from"`
	// ResourceVersion is the autoscaler's when the replica first saw the spec; empty if it is no number.
	ResourceVersion string                                    `json:"resourceVersion,omitempty"`
	Spec            autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec"`
}

// Decision is one look of the HPA controller: the metrics that it read, and the status that it wrote.
type Decision struct {
	// Time is the time of the first read, or of the status where no read reached this replica.
	Time time.Time `json:"time"`
	Spec int       `json:"spec"`
	// Reads are the answers to the reads, by the order in which they came.
	Reads []Read `json:"reads,omitempty"`
	// Pods are the pods of the scale target at the read. In a log they are left out where they equal those before; see Complete.
	Pods []Pod `json:"pods,omitzero"`
	// Status is the status that was written after the reads. In a log it is left out where it equals the status before; see Complete.
	Status *Status `json:"status,omitempty"`
	// WrittenAfter is the time from the first read to the status; nil where the status did not change.
	WrittenAfter *metav1.Duration `json:"writtenAfter,omitempty"`
}

// Read is the answer to the read of one metric of the spec.
type Read struct {
	// Metric is the index in spec.metrics.
	Metric int       `json:"metric"`
	Time   time.Time `json:"time"`
	// Shared reports that other autoscalers read the same: the read may be theirs.
	Shared bool `json:"shared,omitempty"`
	// Error is the error that was answered; without it there are values.
	Error   string     `json:"error,omitempty"`
	Values  []Value    `json:"values,omitempty"`
	Omitted []Omission `json:"omitted,omitempty"`
	// Truncated reports that more values were answered than are recorded.
	Truncated bool `json:"truncated,omitempty"`
}

// Value is one answered value. Pod is empty for a value of another object and for an external metric.
type Value struct {
	Pod string `json:"pod,omitempty"`
	// Milli is the value in thousandths.
	Milli int64 `json:"milli"`
	// AgeMillis is the age of the newest sample behind the value at the read, in milliseconds, rounded to a tenth of a second.
	AgeMillis int64 `json:"ageMillis"`
	// WindowSeconds is the window of the value; 0 for an instantaneous one.
	WindowSeconds int64 `json:"windowSeconds,omitempty"`
}

// Omission is a pod that was left out of an answer.
type Omission struct {
	Pod    string `json:"pod"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// The states of a Pod.
const (
	PodReady    = "ready"
	PodUnready  = "unready"
	PodPending  = "pending"
	PodDeparted = "departed"
	// PodCompleted is a pod that has ended well and exists: the HPA controller counts it as one without a value.
	PodCompleted = "completed"
)

// Pod is a pod of the scale target.
type Pod struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Created is when the pod was created, and Readied when it became ready for the last time; both in whole seconds.
	Created time.Time `json:"created,omitzero"`
	Readied time.Time `json:"readied,omitzero"`
}

// Status is the part of an autoscaler's status that its controller decides.
type Status struct {
	// ResourceVersion is the autoscaler's when the replica first saw the status; empty if it is no number. Replicas may see one status at
	// different versions, and a higher version is never of an earlier status.
	ResourceVersion string      `json:"resourceVersion,omitempty"`
	CurrentReplicas int32       `json:"currentReplicas"`
	DesiredReplicas int32       `json:"desiredReplicas"`
	LastScaleTime   time.Time   `json:"lastScaleTime,omitzero"`
	Conditions      []Condition `json:"conditions,omitempty"`
	// Current are the values of spec.metrics that the controller computed: a utilization in percent, else in thousandths. 0 stands for
	// a metric that failed.
	Current []int64 `json:"current,omitempty"`
}

// Condition is a condition of an autoscaler.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// HasReason reports whether a condition has the reason.
func (s *Status) HasReason(reason string) bool {
	if s == nil {
		return false
	}
	for _, c := range s.Conditions {
		if c.Reason == reason {
			return true
		}
	}
	return false
}

// Complete fills in the pods and the status where a log leaves them out, since they did not change.
func (l *DecisionLog) Complete() {
	var pods []Pod
	var status *Status
	for i := range l.Decisions {
		d := &l.Decisions[i]
		if d.Pods == nil {
			d.Pods = pods
		}
		if d.Status == nil {
			d.Status = status
		}
		pods, status = d.Pods, d.Status
	}
}

// Shorten leaves out the pods and the status where they equal those before; Complete fills them in again.
func (l *DecisionLog) Shorten() {
	for i := len(l.Decisions) - 1; i > 0; i-- {
		d, before := &l.Decisions[i], &l.Decisions[i-1]
		if slices.Equal(d.Pods, before.Pods) {
			d.Pods = nil
		}
		if d.WrittenAfter == nil && reflect.DeepEqual(d.Status, before.Status) {
			d.Status = nil
		}
	}
}

// The states of a Target that are no failure.
const (
	TargetUp        = "up"
	TargetWarmingUp = "warming_up" // no scrape was due yet, or too few
)

// Target is a pod's metrics endpoint as the replica scrapes it.
type Target struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"` // the pod's namespace and name
	URL               string            `json:"url"`
	// State is up, or the reason why the target gives no samples; Error says it in words.
	State string `json:"state"`
	Error string `json:"error,omitempty"`
	// DurationMillis is the duration of the last scrape, also of a failed one; 0: under a millisecond, or none was finished.
	DurationMillis int64 `json:"durationMillis,omitempty"`
	// Families are the metric families that are read from it.
	Families []string `json:"families,omitempty"`
}

// TargetList is a list of targets, and the replica that scrapes them.
type TargetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Source          Source   `json:"source"`
	Items           []Target `json:"items"`
}

// Metric is a metric family on the pages of pods, with the metrics that can be asked for. A demanded metric that no such family serves is one
// too, without a type.
type Metric struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"` // the name of the family, or else of the demanded metric
	// Type is the type of the family by its page: counter, gauge, histogram, summary, unknown and so on.
	Type string `json:"type,omitempty"`
	// Help and Unit are those of the page, cut to a sentence.
	Help string `json:"help,omitempty"`
	Unit string `json:"unit,omitempty"`
	// Targets is the number of pods that expose the family: all pods of a workload, if the page of one of them has it.
	Targets int `json:"targets"`
	// Metrics are the metrics that the rules in force compute from the family.
	Metrics []ServedMetric `json:"metrics,omitempty"`
	// Demands are what autoscalers and readers ask for now.
	Demands []MetricDemand `json:"demands,omitempty"`
}

// Serves reports whether a rule computes the demanded metric from the family.
func (m *Metric) Serves(d MetricDemand) bool {
	return slices.Contains(d.Families, m.Name) && slices.ContainsFunc(m.Metrics, func(s ServedMetric) bool {
		return s.External == d.External && (s.Name == d.Metric || s.Pattern)
	})
}

// IsFamily reports whether it is a family, and not a metric that no family serves.
func (m *Metric) IsFamily() bool { return m.Type != "" }

// DescribeMetrics returns the names of the metrics for a person: request_per_second, services/request_per_second, orders (external).
func (m *Metric) DescribeMetrics() string {
	var names []string
	for _, s := range m.Metrics {
		names = append(names, s.Describe())
	}
	return cmp.Or(strings.Join(names, ","), "<none>")
}

// DescribeDemands returns what asks for the metrics now, for a person: autoscaler, or reader, or <none>.
func (m *Metric) DescribeDemands() string {
	switch {
	case slices.ContainsFunc(m.Demands, func(d MetricDemand) bool { return d.Autoscaled }):
		return "autoscaler"
	case len(m.Demands) > 0:
		return "reader"
	}
	return "<none>"
}

// ServedMetric is a metric that a rule computes from a family.
type ServedMetric struct {
	Name string `json:"name"`
	// Resource is the resource that the metric describes; empty for an external metric. A metric of pods can be asked for of their workload too.
	Resource string `json:"resource,omitempty"`
	External bool   `json:"external,omitempty"`
	// Pattern reports that Name is a regular expression: the rule reads the family under each name that matches.
	Pattern bool `json:"pattern,omitempty"`
}

// Describe returns the name for a person. For pods it is the name that an autoscaler has.
func (s ServedMetric) Describe() string {
	switch {
	case s.External:
		return s.Name + " (external)"
	case s.Resource == "pods":
		return s.Name
	}
	return s.Resource + "/" + s.Name
}

// MetricDemand is a metric that autoscalers or readers ask for now.
type MetricDemand struct {
	Metric string `json:"metric"`
	// Resource is the resource that the metric describes; empty for an external metric.
	Resource string `json:"resource,omitempty"`
	External bool   `json:"external,omitempty"`
	Object   string `json:"object,omitempty"`
	Selector string `json:"selector,omitempty"`
	// Autoscaled reports that an autoscaler asks for it.
	Autoscaled bool `json:"autoscaled,omitempty"`
	// Families are the metric families that its rule reads from pods.
	Families []string `json:"families,omitempty"`
}

// MetricPage is the page of a pod that stands for those of its workload.
type MetricPage struct {
	// Workload is the kind and the name of the pods' controller; of the pods of a Deployment their ReplicaSets' kind and the Deployment's name.
	Workload string `json:"workload"`
	Pod      string `json:"pod"`
	// Targets is the number of the workload's pods.
	Targets int `json:"targets"`
	// Families is the number of families on the page. Truncated reports that it has more than are listed.
	Families  int  `json:"families"`
	Truncated bool `json:"truncated,omitempty"`
	// Error is the reason why the page could not be read.
	Error string `json:"error,omitempty"`
}

// NoMetricPages says why the list of a namespace has no page, and what to do.
const NoMetricPages = `no pod's page is read: annotate pods prometheus.io/scrape: "true", or point a HorizontalPodAutoscaler with a metric at them`

// MetricList is a list of metrics.
type MetricList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Source          Source `json:"source"`
	// Pages are the pages that were read, and UnreadWorkloads the number of further workloads. A list of all namespaces reads none.
	Pages           []MetricPage `json:"pages,omitempty"`
	UnreadWorkloads int          `json:"unreadWorkloads,omitempty"`
	// Truncated reports that the pages have more families together than are listed.
	Truncated bool     `json:"truncated,omitempty"`
	Items     []Metric `json:"items"`
}

// AddToScheme registers the types under a version: the API's own, and the internal one of a server.
func AddToScheme(scheme *runtime.Scheme, version schema.GroupVersion) {
	scheme.AddKnownTypes(version, &Explanation{}, &ExplanationList{}, &DecisionLog{}, &Target{}, &TargetList{}, &Metric{}, &MetricList{}, &RuleReview{})
}

// copyExplainObject returns a deep copy by way of JSON, which holds all fields of these types.
func copyExplainObject[T any](in *T) *T {
	out := new(T)
	data, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		panic("explainapi: copy an object: " + err.Error()) // every field has a JSON form
	}
	return out
}

// DeepCopyObject implements runtime.Object.
func (e *Explanation) DeepCopyObject() runtime.Object { return copyExplainObject(e) }

// DeepCopyObject implements runtime.Object.
func (l *ExplanationList) DeepCopyObject() runtime.Object { return copyExplainObject(l) }

// DeepCopyObject implements runtime.Object.
func (l *DecisionLog) DeepCopyObject() runtime.Object { return copyExplainObject(l) }

// DeepCopyObject implements runtime.Object.
func (t *Target) DeepCopyObject() runtime.Object { return copyExplainObject(t) }

// DeepCopyObject implements runtime.Object.
func (l *TargetList) DeepCopyObject() runtime.Object { return copyExplainObject(l) }

// DeepCopyObject implements runtime.Object.
func (m *Metric) DeepCopyObject() runtime.Object { return copyExplainObject(m) }

// DeepCopyObject implements runtime.Object.
func (l *MetricList) DeepCopyObject() runtime.Object { return copyExplainObject(l) }
