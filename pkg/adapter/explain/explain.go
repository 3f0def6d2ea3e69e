// Package explain serves the API group explain: explanations and recorded decisions of autoscalers, merged from all replicas, scrape
// targets, metric families, and reviews of rules on trial.
package explain

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/peer"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// Records are the records of autoscalers. It is safe for concurrent use.
type Records interface {
	// List returns the autoscalers of a namespace, or of all for an empty one, sorted.
	List(namespace string) []types.NamespacedName
	// Log returns the complete decisions from a time on; nil if the autoscaler is not known. The caller owns the log.
	Log(autoscaler types.NamespacedName, since time.Time) (*explainapi.DecisionLog, error)
	// Current returns the spec and the status of an autoscaler as of now, shared and read-only, and the begin of its record. ok is
	// false if it is not known.
	Current(autoscaler types.NamespacedName) (c recorder.Current, ok bool)
}

// Peers are the other replicas. It is safe for concurrent use.
type Peers interface {
	// ReadLogs returns their records of an autoscaler over a time span before now; 0 means all. The caller owns the logs.
	ReadLogs(ctx context.Context, autoscaler types.NamespacedName, span time.Duration) []peer.Answer
}

// Discovery knows the targets and the demands. It is safe for concurrent use, and the slices are shared.
type Discovery interface {
	Targets() []metric.Target
	Demanded() []discovery.Demand
	// MetricsPages returns the pages of a namespace's pods that the selector matches. The caller owns the slice.
	MetricsPages(namespace string, selector labels.Selector) []discovery.MetricsPage
}

// Scrapes tells why a target gives no samples, and reads pages for people. It is safe for concurrent use.
type Scrapes interface {
	Diagnose(namespace, pod string, families []string) metric.Omission
	ScrapeDuration(namespace, pod string) time.Duration
	// ReadFamilies reads a page once. It changes nothing of the target's scrapes.
	ReadFamilies(ctx context.Context, target metric.Object, url string, limits exposition.FamilyPageLimits) (exposition.FamilyPage, error)
}

// Deps are the dependencies of an API. All are required.
type Deps struct {
	Records   Records
	Peers     Peers
	Discovery Discovery
	Scrapes   Scrapes
	// Families returns the families that the rule of a metric reads from pods.
	Families func(resource, metric string, external bool) []string
	// MetricsOf returns the metrics that the rules in force compute from a family on the pages of a namespace's pods.
	MetricsOf func(namespace, family string, types rule.FamilyTypes) []rule.ServedMetric
	// Replica is the name of this replica.
	Replica string
	Now     func() time.Time
	// Reading has the dependencies of reads, over which reviewed rules are evaluated; its Rules are not used.
	Reading provider.Deps
	// Config returns the running configuration.
	Config func() *config.Config
	// Registerer receives the self-metrics; nil: none.
	Registerer prometheus.Registerer
}

// API is the API group explain.
type API struct {
	deps    Deps
	reviews *reviewLimits
	exposed *exposedPages
	panics  *panics.Guard
}

// New returns an API.
func New(deps Deps) *API {
	return &API{deps, newReviewLimits(), newExposedPages(), newPageGuard(deps.Registerer)}
}

// Group returns the API group, for a generic API server to install.
func (a *API) Group() *genericapiserver.APIGroupInfo {
	scheme := runtime.NewScheme()
	explainapi.AddToScheme(scheme, explainapi.GroupVersion)
	explainapi.AddToScheme(scheme, schema.GroupVersion{Group: explainapi.GroupVersion.Group, Version: runtime.APIVersionInternal})
	metav1.AddToGroupVersion(scheme, explainapi.GroupVersion)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	info := genericapiserver.NewDefaultAPIGroupInfo(explainapi.GroupVersion.Group, scheme, metav1.ParameterCodec, serializer.NewCodecFactory(scheme))
	info.PrioritizedVersions = []schema.GroupVersion{explainapi.GroupVersion}
	info.VersionedResourcesStorageMap[explainapi.GroupVersion.Version] = map[string]rest.Storage{
		explainapi.HPAs: a.newHPAStorage(),
		explainapi.HPAs + "/" + explainapi.Decisions: &decisionStorage{a},
		explainapi.Targets:                           a.newTargetStorage(),
		explainapi.Metrics:                           a.newExposedMetricStorage(),
		explainapi.RuleReviews:                       reviewStorage{a},
	}
	return &info
}

// newReplicaSource returns this replica as the source of an answer.
func (a *API) newReplicaSource() explainapi.Source {
	return explainapi.Source{Replica: a.deps.Replica, Time: a.deps.Now().UTC()}
}

// getMergedHPA returns an autoscaler with its newest decision, recorded and computed, from the records of all replicas.
func (a *API) getMergedHPA(ctx context.Context, key types.NamespacedName) (*explainapi.Explanation, error) {
	current, ok := a.deps.Records.Current(key)
	if !ok {
		return nil, orUnknownToReplica(nil, "autoscaler", key)
	}
	e := a.newExplanation(key, current)
	log, err := a.readMergedDecisionLog(ctx, key, replay.Memory(&e.Spec))
	if err != nil || log == nil {
		return nil, orUnknownToReplica(err, "autoscaler", key)
	}
	if e.Source = log.Source; len(log.Specs) == 0 {
		return e, nil
	}
	if n := len(log.Decisions); n > 0 {
		e.Latest = &log.Decisions[n-1]
		e.Status = cmp.Or(e.Latest.Status, e.Status) // the newest of all replicas
	}
	e.Computed = replay.Compute(log, replay.Settings())
	return e, nil
}

func (a *API) newExplanation(key types.NamespacedName, c recorder.Current) *explainapi.Explanation {
	e := &explainapi.Explanation{Source: a.newReplicaSource(), Status: c.Status}
	e.Name, e.Namespace, e.Source.UnknownBefore = key.Name, key.Namespace, c.Since.UTC()
	if c.Spec != nil {
		e.Spec = *c.Spec
	}
	return e
}

// readMergedDecisionLog returns the complete log of an autoscaler over a time span from all replicas; 0 means all. It returns nil if no replica
// knows the autoscaler.
func (a *API) readMergedDecisionLog(ctx context.Context, key types.NamespacedName, span time.Duration) (*explainapi.DecisionLog, error) {
	since := time.Time{}
	if span > 0 {
		since = a.deps.Now().Add(-span)
		span += mergeReach // of a look at the begin, one replica may have only the status
	}
	own, err := a.readOwnDecisionLog(key, span)
	if err != nil {
		return nil, err
	}
	source := a.newReplicaSource()
	others := a.deps.Peers.ReadLogs(ctx, key, span)
	received := a.deps.Now()
	for _, answer := range others {
		alignReplicaClock(answer.Log, source.Time, received)
	}
	answers := slices.Insert(others, 0, peer.Answer{Replica: source.Replica, Log: own})
	newest := findNewestHPAUID(answers)
	var logs []*explainapi.DecisionLog
	for _, answer := range answers {
		part := explainapi.ReplicaRecord{Name: answer.Replica}
		switch {
		case answer.Err != nil:
			part.Error = answer.Err.Error()
		case answer.Log != nil && answer.Log.UID != "" && answer.Log.UID != newest:
			part.Error = "its record is of a deleted autoscaler of this name"
		case answer.Log != nil:
			part.UnknownBefore, part.Gaps = answer.Log.Source.UnknownBefore, answer.Log.Source.Gaps
			logs = append(logs, answer.Log)
		}
		if len(answers) > 1 {
			source.Replicas = append(source.Replicas, part)
		}
	}
	if len(logs) == 0 {
		return nil, nil
	}
	log := mergeDecisionLogs(logs)
	source.UnknownBefore = log.Source.UnknownBefore
	if len(answers) == 1 {
		source.Gaps = log.Source.Gaps
	}
	log.Source = source
	log.Decisions = slices.DeleteFunc(log.Decisions, func(d explainapi.Decision) bool { return d.Time.Before(since) })
	return log, nil
}

// readOwnDecisionLog returns this replica's record of an autoscaler over a time span; 0 means all. It returns nil for an unknown autoscaler.
func (a *API) readOwnDecisionLog(key types.NamespacedName, span time.Duration) (*explainapi.DecisionLog, error) {
	since := time.Time{}
	if span > 0 {
		since = a.deps.Now().Add(-span)
	}
	log, err := a.deps.Records.Log(key, since)
	if err != nil || log == nil {
		return nil, err
	}
	recorded := log.Source
	log.Source = a.newReplicaSource()
	log.Source.UnknownBefore, log.Source.Gaps = recorded.UnknownBefore, recorded.Gaps
	return log, nil
}

// listHPAsWithStatus returns the autoscalers of a namespace with their newest status, which every replica watches.
func (a *API) listHPAsWithStatus(_ context.Context, namespace string) (runtime.Object, error) {
	list := &explainapi.ExplanationList{Items: []explainapi.Explanation{}}
	for _, key := range a.deps.Records.List(namespace) {
		if current, ok := a.deps.Records.Current(key); ok && current.Spec != nil {
			list.Items = append(list.Items, *a.newExplanation(key, current))
		}
	}
	return list, nil
}

// listTargetsOfNamespace returns the targets of a namespace with their state.
func (a *API) listTargetsOfNamespace(_ context.Context, namespace string) (runtime.Object, error) {
	list := &explainapi.TargetList{Source: a.newReplicaSource(), Items: []explainapi.Target{}}
	for _, t := range a.deps.Discovery.Targets() {
		if namespace == "" || t.Namespace == namespace {
			list.Items = append(list.Items, a.convertTargetState(t))
		}
	}
	return list, nil
}

func (a *API) getTargetOfPod(_ context.Context, key types.NamespacedName) (*explainapi.Target, error) {
	for _, t := range a.deps.Discovery.Targets() {
		if t.Namespace == key.Namespace && t.Pod == key.Name {
			return new(a.convertTargetState(t)), nil
		}
	}
	return nil, orUnknownToReplica(nil, "target", key)
}

func (a *API) convertTargetState(t metric.Target) explainapi.Target {
	took := a.deps.Scrapes.ScrapeDuration(t.Namespace, t.Pod)
	out := explainapi.Target{URL: t.URL, State: explainapi.TargetUp, DurationMillis: took.Milliseconds(), Families: t.Families}
	out.Name, out.Namespace = t.Pod, t.Namespace
	switch o := a.deps.Scrapes.Diagnose(t.Namespace, t.Pod, t.Families); o.Reason {
	case metric.ReasonScrapeFailed, metric.ReasonStale, metric.ReasonNotScraped, metric.ReasonTerminating:
		out.State, out.Error = string(o.Reason), o.Detail
	case metric.ReasonAbsent, metric.ReasonWarmingUp: // the last scrape succeeded, or none was due yet
		if out.Error = o.Detail; o.Reason == metric.ReasonWarmingUp {
			out.State = explainapi.TargetWarmingUp
		}
	case metric.ReasonNotANumber, metric.ReasonOutOfRange, metric.ReasonNegative, metric.ReasonDecreasing:
	}
	return out
}
