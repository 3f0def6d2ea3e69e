package truth

// Readers: what they ask of the provider, and what they get.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// reader asks for one metric at regular times.
type reader struct {
	id, kind, subject, metric string
	selector                  k8slabels.Selector // of series; nil for pods and objects without one
	every, until              time.Duration
	next                      time.Time
	truth                     []string // "rate", family; "gauge", family; "quantile", family, q; "none"
	answers                   []answer
}

// answer is one response of the provider.
type answer struct {
	at             time.Time
	replica        int
	values         map[string]float64 // by pod; "" for an object or the sum of an external metric
	sum            float64
	newest, oldest time.Time
	window         [2]time.Duration // shortest and longest
	err            error
	verdict        verdict
	why            string // of the verdict
}

// addReader adds a reader, and the autoscaler whose demand makes the adapter scrape before the first read.
func (p *player) addReader(st Statement) {
	r := &reader{
		id: st.Args[0], kind: st.Args[1], subject: st.Args[2], metric: st.Args[3],
		every: st.parseDuration("every", time.Second), until: st.parseDuration("to", 0),
	}
	r.next = p.start.Add(st.parseDuration("from", 10*time.Second))
	r.truth = strings.Split(st.optionOr("truth", deriveTruth(r.metric)), "/")
	if text := st.optionOr("selector", ""); text != "" {
		var err error
		if r.selector, err = k8slabels.Parse(strings.ReplaceAll(text, "~", " ")); err != nil {
			panic(scenarioFault{st, err})
		}
	}
	p.readers = append(p.readers, r)
	if st.optionOr("demand", "yes") == "yes" {
		p.storeDemand(r)
	}
}

// deriveTruth returns the truth about a metric of the built-in rules.
func deriveTruth(name string) string {
	if name == "request_per_second" {
		return "rate/http_requests_total"
	}
	if base, ok := strings.CutSuffix(name, "_per_second"); ok {
		return "rate/" + base + "_total"
	}
	if i := strings.LastIndex(name, "_p"); i > 0 && len(name) == i+4 {
		return "quantile/" + name[:i] + "/" + name[i+2:]
	}
	return "gauge/" + name
}

// storeDemand stores an autoscaler that names the reader's metric.
func (p *player) storeDemand(r *reader) {
	target := autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: r.subject}
	name := autoscalingv2.MetricIdentifier{Name: r.metric, Selector: r.labelSelector()}
	var m autoscalingv2.MetricSpec
	switch r.kind {
	case "pods":
		m = autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: name}}
	case "deployment":
		m = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: target, Metric: name,
		}}
	case "service":
		m = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: r.subject}, Metric: name,
		}}
		target.Name = p.services[0].name
	case "external":
		target.Name = p.services[0].name
		m = autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: name}}
	default:
		return // no autoscaler can name it: the first read makes the demand
	}
	p.notifyNow(func() {
		p.cluster.storeAutoscaler(&autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader-" + r.id},
			Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: target, Metrics: []autoscalingv2.MetricSpec{m}},
		})
	})
}

func (p *player) readAnswer(a *adapterReplica, r *reader, replica int) (out answer) {
	out = answer{at: time.Now(), replica: replica, values: map[string]float64{}}
	defer func() {
		fault := recover()
		if _, ours := fault.(scenarioFault); ours {
			panic(fault)
		}
		if fault != nil {
			out.err = fmt.Errorf("panic: %v", fault)
		}
	}()
	switch r.kind {
	case "pods":
		selector := k8slabels.SelectorFromSet(k8slabels.Set{"app": r.subject})
		list, err := a.provider.GetMetricBySelector(p.ctx, namespace, selector, newMetricInfo("", "pods", r.metric), r.selector)
		if out.err = err; err == nil {
			for i := range list.Items {
				out.addValue(list.Items[i].DescribedObject.Name, list.Items[i])
			}
		}
	case "deployment":
		p.readObject(a, r, &out, types.NamespacedName{Namespace: namespace, Name: r.subject}, newMetricInfo("apps", "deployments", r.metric))
	case "service":
		p.readObject(a, r, &out, types.NamespacedName{Namespace: namespace, Name: r.subject}, newMetricInfo("", "services", r.metric))
	case "namespace":
		p.readObject(a, r, &out, types.NamespacedName{Name: namespace}, newMetricInfo("", "namespaces", r.metric))
	case "external":
		selector := r.selector
		if selector == nil {
			selector = k8slabels.Everything()
		}
		list, err := a.provider.GetExternalMetric(p.ctx, namespace, selector, metricsprovider.ExternalMetricInfo{Metric: r.metric})
		if out.err = err; err == nil {
			for i, v := range list.Items {
				out.addSample(fmt.Sprint(i), v.Value.AsApproximateFloat64(), v.Timestamp.Time, v.WindowSeconds)
			}
		}
	default:
		panic(scenarioFault{Statement{Verb: "read", Args: []string{r.id, r.kind}}, fmt.Errorf("no kind %q", r.kind)})
	}
	return out
}

// labelSelector returns the selector of series as an autoscaler writes it; nil without one.
func (r *reader) labelSelector() *metav1.LabelSelector {
	if r.selector == nil {
		return nil
	}
	out, err := metav1.ParseToLabelSelector(r.selector.String())
	if err != nil {
		panic(scenarioFault{Statement{Verb: "read", Args: []string{r.id}}, err})
	}
	return out
}

func (p *player) readObject(a *adapterReplica, r *reader, out *answer, name types.NamespacedName, info metricsprovider.CustomMetricInfo) {
	v, err := a.provider.GetMetricByName(p.ctx, name, info, r.selector)
	if out.err = err; err == nil {
		out.addValue("", *v)
	}
}

func newMetricInfo(group, resource, name string) metricsprovider.CustomMetricInfo {
	return metricsprovider.CustomMetricInfo{
		GroupResource: schema.GroupResource{Group: group, Resource: resource}, Namespaced: resource != "namespaces", Metric: name,
	}
}

func (a *answer) addValue(name string, v custom_metrics.MetricValue) {
	a.addSample(name, v.Value.AsApproximateFloat64(), v.Timestamp.Time, v.WindowSeconds)
}

// addSample adds a value with its time and window.
func (a *answer) addSample(name string, v float64, at time.Time, seconds *int64) {
	var window time.Duration
	if seconds != nil {
		window = time.Duration(*seconds) * time.Second
	}
	if len(a.values) == 0 {
		a.newest, a.oldest, a.window = at, at, [2]time.Duration{window, window}
	}
	a.values[name] = v
	a.sum += v
	if at.After(a.newest) {
		a.newest = at
	}
	if at.Before(a.oldest) {
		a.oldest = at
	}
	a.window = [2]time.Duration{min(a.window[0], window), max(a.window[1], window)}
}

// String returns the answer in the words of a report.
func (a answer) String() string {
	if a.err != nil {
		return "error: " + a.err.Error()
	}
	names := make([]string, 0, len(a.values))
	for n, v := range a.values {
		names = append(names, fmt.Sprintf("%s=%.4g", n, v))
	}
	slices.Sort(names)
	return fmt.Sprintf("%.4g over %v to %v, age %v (%s)", a.sum, a.window[0], a.window[1], a.at.Sub(a.newest), strings.Join(names, " "))
}
