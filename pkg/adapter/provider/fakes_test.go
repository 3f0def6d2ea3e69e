package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/meta"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// noon is the time of every test.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testRules have one rule for each behaviour. maxAge is 10s throughout.
const testRules = `
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
maxAge: 10s
backends:
- name: prometheus
  url: http://prometheus
  maxAge: 10s
rules:
- metric: request_per_second
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
  window: 30s
- metric: in_flight
  query: sum by (namespace, pod) (http_requests_in_flight)
  aggregate: max
- metric: latency
  query: sum by (namespace, pod) (latency_seconds)
  aggregate: avg
- metric: balance
  query: sum by (namespace, pod) (balance)
  allowNegative: true
- metric: zero_if_missing
  query: sum by (namespace, pod) (rate(errors_total[$window]))
  onMissing: zero
- metric: seven_if_missing
  query: sum by (namespace, pod) (ready_ratio)
  aggregate: sum
  onMissing: {value: 7}
- metric: remote
  backend: prometheus
  query: sum by (namespace, pod) (remote_gauge)
- metric: traffic
  resource: namespaces
  query: sum by (namespace) (traffic)
- metric: load
  resource: nodes
  query: sum by (node) (load)
- metric: orders_waiting
  external: true
  query: sum by (queue) (orders_waiting)
- metric: order_ratio
  external: true
  query: sum(rate(orders_total{code="200"}[$window])) / sum(rate(orders_total[$window]))
- metric: order_rate
  external: true
  query: sum by (queue) (rate(orders_total[$window]))
- metric: orders_or_zero
  external: true
  query: sum by (queue) (orders_waiting)
  onMissing: zero
- metric: everywhere
  external: true
  from: all
  query: sum by (queue) (orders_waiting)
- metric: profit
  external: true
  allowNegative: true
  query: sum by (shop) (profit)
- metric: elsewhere
  external: true
  from: [bank]
  query: sum by (queue) (orders_waiting)
- metric: between
  external: true
  from: [shop, bank]
  query: sum by (queue) (orders_waiting)
- metric: queue_messages
  external: true
  targets: {service: mail/rabbitmq}
  query: sum by (queue) (rabbitmq_queue_messages)
- metric: queue_messages_or_zero
  external: true
  targets: {service: mail/rabbitmq}
  query: sum by (queue) (rabbitmq_queue_messages)
  onMissing: zero
- metric: queue_messages_or_fallback
  external: true
  targets: {service: mail/rabbitmq}
  query: sum by (queue) (rabbitmq_queue_messages)
  fallback: {after: 1s, value: 3}
- metric: gateway_requests
  resource: services
  targets: {service: ingress/gateway}
  labels: {object: service, namespace: exported_namespace}
  query: sum(rate(gateway_requests_total[$window]))
- metric: gateway_requests_or_zero
  resource: services
  targets: {service: ingress/gateway}
  labels: {object: service, namespace: exported_namespace}
  query: sum(rate(gateway_requests_total[$window]))
  onMissing: zero
- metric: gateway_requests_or_fallback
  resource: services
  targets: {service: ingress/gateway}
  labels: {object: service, namespace: exported_namespace}
  query: sum(rate(gateway_requests_total[$window]))
  fallback: {after: 1m, value: 20}
- metric: needed
  query: sum by (namespace, pod) (needed)
  whenNoPods: {value: 2}
- metric: orders_or_fallback
  external: true
  backend: prometheus
  query: sum by (queue) (orders_waiting)
  fallback: {after: 3m, value: 12.5}
- metric: requests_of_service
  resource: services
  backend: prometheus
  query: sum by (namespace, service) (requests)
  labels: {object: service}
- match: (.+)_per_second
  query: sum by (namespace, pod) (rate({__name__="${1}_total"}[$window]))
`

func compileRules(t testing.TB, text string) *rule.Set {
	t.Helper()
	_, set, err := rule.Load([]byte(text))
	if err != nil {
		t.Fatalf("load rules: %v", err)
	}
	return set
}

// scriptedBackend answers every query with values or err, and keeps the queries.
type scriptedBackend struct {
	values []metric.Value
	err    error

	mu      sync.Mutex // guards queries
	queries []rule.Query
}

// Evaluate picks the values of the objects that are asked for, as a backend does.
func (b *scriptedBackend) Evaluate(_ context.Context, q rule.Query, _ time.Time) ([]metric.Value, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queries = append(b.queries, q)
	if b.err != nil {
		return nil, b.err
	}
	var out []metric.Value
	for _, v := range b.values {
		if (q.Objects == nil || slices.Contains(q.Objects, v.Object.Name)) &&
			(q.Namespace == "" || v.Object.Namespace == "" || v.Object.Namespace == q.Namespace) {
			out = append(out, v)
		}
	}
	return out, nil
}

// podList is a cluster's pods with their labels.
type podList []labelledPod

type labelledPod struct {
	discovery.Pod
	labels k8slabels.Set
}

func (l podList) Pods(namespace string, selector k8slabels.Selector) []discovery.Pod {
	var out []discovery.Pod
	for _, p := range l {
		if (namespace == "" || p.Namespace == namespace) && selector.Matches(p.labels) {
			out = append(out, p.Pod)
		}
	}
	return out
}

func (l podList) Pod(namespace, name string) (discovery.Pod, bool) {
	for _, p := range l {
		if p.Namespace == namespace && p.Name == name {
			return p.Pod, true
		}
	}
	return discovery.Pod{}, false
}

// PodsOf takes the object's name for the label app, but for an object called "none", which does not exist.
func (l podList) PodsOf(_ context.Context, resource schema.GroupResource, o metric.Object) ([]discovery.Pod, error) {
	var out []discovery.Pod
	for _, p := range l {
		switch resource.Resource {
		case "namespaces":
			if p.Namespace == o.Name {
				out = append(out, p.Pod)
			}
		case "nodes":
			if p.Node == o.Name {
				out = append(out, p.Pod)
			}
		default:
			if p.Namespace == o.Namespace && p.labels["app"] == o.Name {
				out = append(out, p.Pod)
			}
		}
	}
	if o.Name == "none" {
		return nil, metric.Errorf(metric.KindNotFound, "%s %s does not exist", resource.String(), o)
	}
	return out, nil
}

// causeOf says of each pod, by its name, why it has no value.
type causeOf map[string]metric.Omission

func (c causeOf) Explain(_, pod string) metric.Omission {
	if o := c[pod]; o.Reason == metric.ReasonNotScraped {
		return o
	}
	return metric.Omission{}
}

// Diagnose proves the absence of what has no other cause.
func (c causeOf) Diagnose(_, pod string, _ []string) metric.Omission {
	if o, ok := c[pod]; ok {
		return o
	}
	return metric.Omission{Reason: metric.ReasonAbsent, Detail: "no series of it matches"}
}

// scrapeState is what the scraper knows: causes, and the types of the families that are on a pod's page, by "pod/family".
type scrapeState struct {
	causeOf
	types map[string]model.MetricType
	held  map[string]float64 // by pod
}

func (s scrapeState) FamilyType(_, pod, family string) (model.MetricType, bool) {
	kind, ok := s.types[pod+"/"+family]
	return kind, ok
}

func (scrapeState) CountsUnseen(_, _ string) bool                 { return false }
func (scrapeState) UnseenPods() map[metric.Object]metric.TimeSpan { return nil }
func (scrapeState) SilentSince(_, _ string) (time.Time, bool)     { return time.Time{}, false }

func (s scrapeState) HeldCounts(_, pod string, _ []string) float64 { return s.held[pod] }

func (scrapeState) Decreases(string, string, []string) bool { return false }
func (scrapeState) RejectedSince(string, string, []string) (time.Time, bool) {
	return time.Time{}, false
}

// demandLog remembers every demand, and starts with those of HPAs.
type demandLog struct {
	mu   sync.Mutex // guards all
	hpas []discovery.Demand
	read []discovery.Demand
	full error // rejects every demand, unless nil
}

func (l *demandLog) Demand(d discovery.Demand) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full == nil {
		l.read = append(l.read, d)
	}
	return l.full
}

func (l *demandLog) Demanded() []discovery.Demand {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(slices.Clone(l.hpas), l.read...)
}

// world is a provider and all that it stands on.
type world struct {
	*Provider
	embedded, remote *scriptedBackend
	backends         map[string]Backend
	causes           causeOf
	types            map[string]model.MetricType
	held             map[string]float64
	demands          *demandLog
	registry         *prometheus.Registry
}

// newWorld has the rules of testRules and these pods; nothing is demanded yet.
func newWorld(t testing.TB, pods ...labelledPod) *world {
	t.Helper()
	w := &world{
		embedded: &scriptedBackend{}, remote: &scriptedBackend{}, causes: causeOf{}, types: map[string]model.MetricType{}, held: map[string]float64{},
		demands: &demandLog{}, registry: prometheus.NewRegistry(),
	}
	w.backends = map[string]Backend{"scrape": w.embedded, "prometheus": w.remote}
	set := compileRules(t, testRules)
	w.Provider = New(Deps{
		Rules:   func() Rules { return set },
		Backend: byName(w.backends),
		Pods:    podList(pods), Targets: w.causes, Demands: w.demands, Scrapes: scrapeState{w.causes, w.types, w.held},
		Mapper: newMapper(), Now: func() time.Time { return noon },
	}, Options{Registerer: w.registry})
	return w
}

// byName is Deps.Backend over a fixed few.
func byName(backends map[string]Backend) func(string) (Backend, bool) {
	return func(name string) (Backend, bool) {
		b, ok := backends[name]
		return b, ok
	}
}

func newMapper() meta.RESTMapper {
	core, apps := schema.GroupVersion{Version: "v1"}, schema.GroupVersion{Group: "apps", Version: "v1"}
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{core, apps})
	m.Add(core.WithKind("Pod"), meta.RESTScopeNamespace)
	m.Add(core.WithKind("Service"), meta.RESTScopeNamespace)
	m.Add(core.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(core.WithKind("Node"), meta.RESTScopeRoot)
	m.Add(apps.WithKind("Deployment"), meta.RESTScopeNamespace)
	return m
}

// livePod is a running pod of namespace shop and app web, on node n1.
func livePod(name string) labelledPod {
	return labelledPod{
		Pod:    discovery.Pod{Namespace: "shop", Name: name, Node: "n1", Live: true, Ready: true},
		labels: k8slabels.Set{"app": "web"},
	}
}

// deadPod is as livePod, but not live for that reason.
func deadPod(name string, reason metric.Reason, detail string) labelledPod {
	p := livePod(name)
	p.Live, p.Omission = false, metric.Omission{Object: p.Object(), Reason: reason, Detail: detail}
	return p
}

// unready is a live pod that is not ready.
func unready(name string) labelledPod {
	p := livePod(name)
	p.Ready = false
	return p
}

// departedPod is a pod that was deleted a moment ago.
func departedPod(name string) labelledPod {
	p := deadPod(name, metric.ReasonTerminating, "pod is gone")
	p.Departed = true
	return p
}

// omittedValue is a pod without a right value, by the engine's own reason.
func omittedValue(pod string, reason metric.Reason, detail string) metric.Value {
	v := fresh(pod, 0)
	v.Reason, v.Detail = reason, detail
	return v
}

// fresh is a value of a pod of namespace shop, one second old, over 30 s.
func fresh(pod string, v float64) metric.Value { return aged(pod, v, time.Second) }

func aged(pod string, v float64, age time.Duration) metric.Value {
	return metric.Value{
		Object: metric.Object{Namespace: "shop", Name: pod}, Value: v, Time: noon.Add(-age), Window: 30 * time.Second,
	}
}

// byMetric answers each metric from a script of its own.
type byMetric map[string][]metric.Value

func (b byMetric) Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error) {
	script := scriptedBackend{values: b[q.Rule.Metric]}
	return script.Evaluate(ctx, q, now)
}

// prometheusServer is a Prometheus, as an HTTP handler, that gives one answer to every query, and keeps the queries.
type prometheusServer struct {
	mu    sync.Mutex // guards all
	reply reply
	forms []url.Values
}

// reply is an HTTP answer.
type reply struct {
	code        int    // 0: 200
	contentType string // empty: application/json
	body        string
	never       bool // it does not come
}

func (s *prometheusServer) set(r reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = r
}

// queries are those asked so far.
func (s *prometheusServer) queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, f := range s.forms {
		all = append(all, f.Get("query"))
	}
	return all
}

func (s *prometheusServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	s.forms = append(s.forms, r.Form)
	reply := s.reply
	s.mu.Unlock()
	if reply.never {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", cmp.Or(reply.contentType, "application/json"))
	w.WriteHeader(cmp.Or(reply.code, http.StatusOK))
	_, _ = io.WriteString(w, reply.body)
}

// vector is an answer of these results, each "NAME=VALUE,… NUMBER AGE": its labels, the number, and how long before noon
// its newest sample was taken; without the last the server sees no sample.
func vector(results ...string) reply {
	var all []string
	for _, r := range results {
		f := strings.Fields(r)
		all = append(all, result(f[0], f[1]))
		if len(f) > 2 {
			age, err := time.ParseDuration(f[2])
			if err != nil {
				panic(err)
			}
			at := fmt.Sprintf("%.3f", float64(noon.Add(-age).UnixMilli())/1000)
			all = append(all, result(f[0]+",tachometer_sample_time=1", at))
		}
	}
	return reply{body: `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(all, ",") + `]}}`}
}

func result(labels, number string) string {
	set := map[string]string{}
	for l := range strings.SplitSeq(labels, ",") {
		if name, value, ok := strings.Cut(l, "="); ok {
			set[name] = value
		}
	}
	text, _ := json.Marshal(set) // of strings: it cannot fail
	return fmt.Sprintf(`{"metric":%s,"value":[%d,%q]}`, text, noon.Unix(), number)
}

// with is the answer with further fields of the API beside its status.
func (r reply) with(fields string) reply {
	r.body = strings.TrimSuffix(r.body, "}") + "," + fields + "}"
	return r
}

// demandEverything is an HPA's demand for the metric of the pods of app web and of their Deployment.
func (w *world) demandEverything(name string) {
	web, err := k8slabels.Parse("app=web")
	if err != nil {
		panic(err)
	}
	w.demands.hpas = append(w.demands.hpas, newObjectDemand("pods", name, "shop", "", web), newObjectDemand("deployments.apps", name, "shop", "web", nil),
		newObjectDemand("pods", name, "shop", "a", nil), newObjectDemand("pods", name, "shop", "gone", nil))
}

// pageBackend answers a rule with the number of a family that it reads and that is on the pod's page.
type pageBackend struct {
	numbers map[string]string // by family
	types   map[string]model.MetricType
}

func (b pageBackend) Evaluate(_ context.Context, q rule.Query, _ time.Time) ([]metric.Value, error) {
	var out []metric.Value
	for _, pod := range q.Objects {
		for _, family := range q.Rule.ReadFamilies() {
			n, err := strconv.ParseFloat(b.numbers[family], 64)
			if _, ok := b.types[pod+"/"+family]; ok && err == nil {
				out = append(out, fresh(pod, n))
				break
			}
		}
	}
	return out, nil
}

// pageOf proves the absence of families by the types of those that are there.
type pageOf struct{ scrapeState }

func (p pageOf) Diagnose(namespace, pod string, families []string) metric.Omission {
	for _, f := range families {
		if _, ok := p.types[pod+"/"+f]; ok {
			return p.scrapeState.Diagnose(namespace, pod, families)
		}
	}
	if o, ok := p.causeOf[pod]; ok {
		return o
	}
	return metric.Omission{Reason: metric.ReasonAbsent, Detail: "no " + families[0] + " on its page"}
}
