package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

var worldTime = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// podsMetricPath is the read of the world's autoscaler.
const podsMetricPath = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/request_per_second"

// explainServicePath is the read of the records' APIService.
const explainServicePath = "/apis/apiregistration.k8s.io/v1/apiservices/" + explainAPIService

// world is a cluster in which everything works, until a test breaks it.
type world struct {
	t                 *testing.T
	hpa               *autoscalingv2.HorizontalPodAutoscaler
	deployment        *appsv1.Deployment
	budget            *policyv1.PodDisruptionBudget
	adapterPods       []*corev1.Pod
	service           *corev1.Service
	more              []runtime.Object
	answers           map[string]any // an object, or a *metav1.Status, by path
	controllerAnswers map[string]any // to the HPA controller, where they differ
	denied            func(authorizationv1.ResourceAttributes) bool
	begin, expiry     time.Time
	certificateFailed error
	versionErr        error // of reading kube-apiserver's version
	chain             []*x509.Certificate
	caBundle          []byte
	isEmpty           bool          // the target has no pods
	begun             time.Time     // the begin of the record; zero: an hour ago
	silence           time.Duration // since the controller's last look in the record
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, answers: map[string]any{}, begin: worldTime.Add(-90 * 24 * time.Hour), expiry: worldTime.Add(60 * 24 * time.Hour)}
	labels := map[string]string{"app": "web"}
	w.deployment = &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
			},
		},
	}
	w.hpa = &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", CreationTimestamp: metav1.NewTime(worldTime.Add(-time.Hour))},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(2)), MaxReplicas: 10,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.PodsMetricSourceType,
				Pods: &autoscalingv2.PodsMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
				},
			}},
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentReplicas: 2, DesiredReplicas: 2,
			Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{
				{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: "ReadyForNewScale"},
				{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionTrue, Reason: "ValidMetricFound"},
				{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionFalse, Reason: "DesiredWithinRange"},
			},
		},
	}
	w.budget = &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
		},
		Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: 1, CurrentHealthy: 2, DesiredHealthy: 1, ExpectedPods: 2},
	}
	w.addAdapter()
	w.answers[podsMetricPath] = newPodsAnswer(worldTime.Add(-2*time.Second), "web-1", "web-2")
	return w
}

func (w *world) addAdapter() {
	labels := map[string]string{"app.kubernetes.io/name": "tachometer-adapter"}
	w.service = &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tachometer", Name: "tachometer-adapter"},
		Spec: corev1.ServiceSpec{
			Selector: labels, Ports: []corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromString("https")}},
		},
	}
	for _, name := range []string{"tachometer-adapter-1", "tachometer-adapter-2"} {
		pod := newReadyPod("tachometer", name, labels)
		pod.Spec.ServiceAccountName = "tachometer-adapter"
		pod.Spec.Containers = []corev1.Container{{Name: "adapter", Ports: []corev1.ContainerPort{{Name: "https", ContainerPort: 6443}}}}
		w.adapterPods = append(w.adapterPods, pod)
	}
	for _, name := range append(slices.Clone(checkedAPIServices), explainAPIService) {
		version, group, _ := strings.Cut(name, ".")
		w.answers["/apis/apiregistration.k8s.io/v1/apiservices/"+name] = &apiregistration.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: apiregistration.APIServiceSpec{
				Group: group, Version: version,
				Service: &apiregistration.ServiceReference{Namespace: "tachometer", Name: "tachometer-adapter", Port: new(int32(443))},
			},
			Status: apiregistration.APIServiceStatus{Conditions: []apiregistration.APIServiceCondition{
				{Type: apiregistration.Available, Status: apiregistration.ConditionTrue, Reason: "Passed"},
			}},
		}
		w.answers["/apis/"+group+"/"+version] = &metav1.APIResourceList{GroupVersion: group + "/" + version}
	}
}

func (w *world) newAdapterDeployment(replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tachometer", Name: "tachometer-adapter"},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "tachometer-adapter"}},
		}},
	}
}

func (w *world) apiService(i int) *apiregistration.APIService {
	s, _ := w.answers["/apis/apiregistration.k8s.io/v1/apiservices/"+checkedAPIServices[i]].(*apiregistration.APIService)
	return s
}

// setUnavailable lets kube-apiserver say that it does not reach the adapter.
func (w *world) setUnavailable() {
	w.apiService(0).Status.Conditions[0] = apiregistration.APIServiceCondition{
		Type: apiregistration.Available, Status: apiregistration.ConditionFalse, Reason: "FailedDiscoveryCheck", Message: "dial tcp 10.0.0.7:6443: i/o timeout",
	}
}

func newReadyPod(namespace, name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.7", StartTime: &metav1.Time{Time: worldTime.Add(-time.Hour)},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

// newPodsAnswer is a MetricValueList as the adapter serves it.
func newPodsAnswer(at time.Time, pods ...string) any {
	items := []any{}
	for _, p := range pods {
		items = append(items, map[string]any{
			"describedObject": map[string]string{"kind": "Pod", "namespace": "shop", "name": p},
			"metric":          map[string]string{"name": "request_per_second"},
			"timestamp":       at.Format(time.RFC3339), "windowSeconds": 10, "value": "49",
		})
	}
	return map[string]any{"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "items": items}
}

// newAdapterStatus is an error as the adapter answers it.
func newAdapterStatus(code int32, reason metav1.StatusReason, message string, causes ...metav1.CauseType) *metav1.Status {
	s := &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: code, Reason: reason, Message: message, Details: &metav1.StatusDetails{Kind: "pods"},
	}
	for _, c := range causes {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: c})
	}
	return s
}

// run checks the world's autoscaler.
func (w *world) run(hpa string) *Report {
	w.t.Helper()
	if w.chain == nil {
		w.issueCertificate()
	}
	objects := []runtime.Object{w.hpa, w.deployment, w.budget, w.service}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "tachometer", Name: "tachometer-adapter-x", Labels: map[string]string{discoveryv1.LabelServiceName: "tachometer-adapter"},
	}}
	for _, p := range w.adapterPods {
		objects = append(objects, p)
		ready := describePodTrouble(p) == ""
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	for _, name := range []string{"web-1", "web-2"} {
		if w.isEmpty {
			break
		}
		pod := newReadyPod("shop", name, w.deployment.Spec.Template.Labels)
		pod.Annotations, pod.Spec = w.deployment.Spec.Template.Annotations, w.deployment.Spec.Template.Spec
		objects = append(objects, pod)
	}
	client := fake.NewClientset(append(append(objects, slice), w.more...)...)
	client.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review, _ := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
		answer := review.DeepCopy()
		answer.Status.Allowed = w.denied == nil || !w.denied(*review.Spec.ResourceAttributes)
		return true, answer, nil
	})
	client.PrependReactor("get", "version", func(clienttesting.Action) (bool, runtime.Object, error) {
		return w.versionErr != nil, nil, w.versionErr
	})
	mapper := apimeta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Service"}, apimeta.RESTScopeNamespace)
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, apimeta.RESTScopeNamespace)
	mapper.Add(schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"}, apimeta.RESTScopeNamespace)
	return Run(w.t.Context(), Options{
		Client: client, Metrics: reading.MetricReader{Reader: w.serveAnswers(rest.ImpersonationConfig{}), Mapper: mapper}, Certificates: w,
		Controller: w.serveAnswers(ImpersonateHPAController()),
		Namespace:  "shop", HPA: hpa, Now: func() time.Time { return worldTime },
	})
}

// serveAnswers starts a kube-apiserver that has only the world's answers.
func (w *world) serveAnswers(as rest.ImpersonationConfig) reading.Reader {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		answer, ok := w.answers[r.URL.Path]
		if other, differs := w.controllerAnswers[r.URL.Path]; differs && r.Header.Get("Impersonate-User") == hpaController {
			answer, ok = other, true
		}
		if !ok {
			answer = newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		}
		if service, ok := answer.(*apiregistration.APIService); ok {
			service.Spec.CABundle = w.caBundle
		}
		rw.Header().Set("Content-Type", "application/json")
		if status, ok := answer.(*metav1.Status); ok {
			rw.WriteHeader(int(status.Code))
		}
		_ = json.NewEncoder(rw).Encode(answer)
	}))
	w.t.Cleanup(server.Close)
	reader, err := reading.NewRESTReader(&rest.Config{Host: server.URL, Impersonate: as})
	if err != nil {
		w.t.Fatal(err)
	}
	return reader
}

// issueCertificate makes the adapter's certificate, which is its own authority.
func (w *world) issueCertificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "adapter"}, DNSNames: []string{"tachometer-adapter.tachometer.svc"},
		NotBefore: w.begin, NotAfter: w.expiry, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	w.chain = []*x509.Certificate{leaf}
	if w.caBundle == nil {
		w.caBundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
}

// ReadCertificates implements CertificateReader.
func (w *world) ReadCertificates(context.Context, string, string, int32) ([]*x509.Certificate, error) {
	return w.chain, w.certificateFailed
}

// denyIngress is a policy that isolates the shop's pods.
func denyIngress() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "deny-all"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
}

var errNoRights = errors.New(`pods "tachometer-adapter-1" is forbidden: User "ann" cannot create resource "pods/portforward"`)
