package recorder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/provider"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

const controller = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

// loadedService is a service under load with an autoscaler, its controller, and an adapter whose answers are recorded. Time is its
// own.
type loadedService struct {
	metricsprovider.MetricsProvider
	t        testing.TB
	now      time.Time
	random   *rand.Rand
	recorder *Recorder
	recorded metricsprovider.MetricsProvider

	hpa     *autoscalingv2.HorizontalPodAutoscaler
	history hpa.History
	pods    []discovery.Pod
	made    int
	load    float64 // in thousandths a second
	missing int     // pods without a value
	// scaleToZero is the controller's gate.
	scaleToZero bool
	err         error
	failing     string // the metric that err is of; empty: all
	user        string
}

func newLoadedService(t testing.TB, name string, opts Options) *loadedService {
	t.Helper()
	s := &loadedService{t: t, now: noon, random: newRandom(1), user: controller}
	opts.Now, opts.Autoscalers = func() time.Time { return s.now }, []string{controller}
	s.recorder = New(opts)
	s.join(name, s.recorder)
	s.recorder.SetScaleTargets(s)
	return s
}

// newRandom returns the same numbers for the same seed.
func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

// join makes the service one of those that a recorder records.
func (s *loadedService) join(name string, r *Recorder) {
	s.recorder = r
	s.hpa = &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			MinReplicas: new(int32(2)), MaxReplicas: 100,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: name + "_per_second"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
			}}},
		},
	}
	s.recorded = r.Record(s)
	s.scaleTo(2)
	r.ObserveAutoscaler(s.hpa.DeepCopy())
}

func (s *loadedService) ScaleTargetSelector(_, name string) labels.Selector {
	return labels.SelectorFromSet(labels.Set{"app": name})
}

func (s *loadedService) Pods(string, labels.Selector) []discovery.Pod { return slices.Clone(s.pods) }

// scaleTo makes or ends pods. A new pod is ready after 5 s.
func (s *loadedService) scaleTo(replicas int) {
	for len(s.pods) > replicas {
		s.pods = s.pods[:len(s.pods)-1]
	}
	for len(s.pods) < replicas {
		s.made++
		at := s.now.Truncate(time.Second)
		s.pods = append(s.pods, discovery.Pod{
			Namespace: "shop", Name: fmt.Sprintf("%s-7d4b9c-%05d", s.hpa.Name, s.made), Live: true, Ready: true, Created: at, Readied: at.Add(5 * time.Second),
		})
	}
}

// failureOf returns the error of a metric; nil if it has values.
func (s *loadedService) failureOf(metric string) error {
	if s.failing == "" || s.failing == metric {
		return s.err
	}
	return nil
}

// GetMetricBySelector answers with the load spread over the pods, with noise.
func (s *loadedService) GetMetricBySelector(ctx context.Context, _ string, _ labels.Selector, info metricsprovider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	e := provider.EvidenceOf(ctx)
	if e != nil {
		e.Pods = slices.Clone(s.pods)
	}
	if err := s.failureOf(info.Metric); err != nil {
		return nil, err
	}
	list := &custom_metrics.MetricValueList{}
	for i, p := range s.pods {
		if i < s.missing {
			if e != nil {
				e.Omitted = append(e.Omitted, metric.Omission{Object: p.Object(), Reason: metric.ReasonScrapeFailed, Detail: "connection refused"})
			}
			continue
		}
		list.Items = append(list.Items, custom_metrics.MetricValue{
			DescribedObject: custom_metrics.ObjectReference{Namespace: "shop", Name: p.Name},
			Timestamp:       metav1.NewTime(s.now.Add(-time.Duration(s.random.IntN(2000)) * time.Millisecond)), WindowSeconds: new(int64(10)),
			Value: *resource.NewMilliQuantity(int64(s.load/float64(len(s.pods))*(0.95+0.1*s.random.Float64())), resource.DecimalSI),
		})
	}
	return list, nil
}

// GetExternalMetric answers with the load as one series.
func (s *loadedService) GetExternalMetric(_ context.Context, _ string, _ labels.Selector, info metricsprovider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	if err := s.failureOf(info.Metric); err != nil {
		return nil, err
	}
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{
		Timestamp: metav1.NewTime(s.now), Value: *resource.NewMilliQuantity(int64(s.load), resource.DecimalSI),
	}}}, nil
}

func (s *loadedService) context() context.Context {
	return apirequest.WithUser(context.Background(), &user.DefaultInfo{Name: s.user})
}

// GetMetricByName answers with the load as the value of an object.
func (s *loadedService) GetMetricByName(_ context.Context, _ types.NamespacedName, info metricsprovider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	if err := s.failureOf(info.Metric); err != nil {
		return nil, err
	}
	return &custom_metrics.MetricValue{Timestamp: metav1.NewTime(s.now), Value: *resource.NewMilliQuantity(int64(s.load), resource.DecimalSI)}, nil
}

// read reads a metric as the HPA controller does.
func (s *loadedService) read(m autoscalingv2.MetricSpec) (answer hpa.Answer) {
	if m.Object != nil {
		name := types.NamespacedName{Namespace: "shop", Name: m.Object.DescribedObject.Name}
		value, err := s.recorded.GetMetricByName(s.context(), name, metricsprovider.CustomMetricInfo{
			GroupResource: schema.GroupResource{Resource: "services"}, Namespaced: true, Metric: m.Object.Metric.Name,
		}, labels.Everything())
		if answer.Err = err; err == nil {
			answer.Object = value.Value.MilliValue()
		}
		return answer
	}
	if m.External != nil {
		list, err := s.recorded.GetExternalMetric(s.context(), "shop", labels.Everything(), metricsprovider.ExternalMetricInfo{Metric: m.External.Metric.Name})
		if answer.Err = err; err == nil {
			answer.External = append(answer.External, list.Items[0].Value.MilliValue())
		}
		return answer
	}
	list, err := s.recorded.GetMetricBySelector(s.context(), "shop", s.ScaleTargetSelector("shop", s.hpa.Name),
		metricsprovider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: m.Pods.Metric.Name}, labels.Everything())
	if answer.Err = err; err != nil {
		return answer
	}
	answer.Pods = map[string]hpa.PodValue{}
	for _, v := range list.Items {
		answer.Pods[v.DescribedObject.Name] = hpa.PodValue{Value: v.Value.MilliValue()}
	}
	return answer
}

// look is one look of the HPA controller: it reads, decides, scales and writes the status.
func (s *loadedService) look() hpa.Decision {
	in := hpa.Input{HPA: s.hpa, SpecReplicas: int32(len(s.pods)), StatusReplicas: int32(len(s.pods)), History: s.history, Now: s.now}
	for _, p := range s.pods {
		in.Pods = append(in.Pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}})
	}
	for _, m := range s.hpa.Spec.Metrics {
		in.Answers = append(in.Answers, s.read(m))
	}
	settings := hpa.DefaultSettings(36)
	settings.ScaleToZero = s.scaleToZero
	d := hpa.Decide(in, settings)
	s.history = d.History
	s.hpa.Status = d.Status
	s.now = s.now.Add(20 * time.Millisecond)
	s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
	s.scaleTo(int(d.Replicas))
	s.now = s.now.Add(15*time.Second - 20*time.Millisecond)
	return d
}

var errNoValue = errors.New("2 pods: 2 scrape failed (connection refused)")
