package world

// This file shows the world over the APIs that the dashboard reads.

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

var _ reading.Reader = (*World)(nil)

// Client returns a client that lists what the world has now.
func (w *World) Client() kubernetes.Interface {
	client := &fake.Clientset{} // a whole one parses the schema of every API first
	for name, list := range map[string]func() (runtime.Object, error){
		"horizontalpodautoscalers": w.listAutoscalers, "pods": w.listAllPods, "deployments": w.listDeployments,
	} {
		client.PrependReactor("list", name, func(testing.Action) (bool, runtime.Object, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			object, err := list()
			return true, object, err
		})
	}
	return client
}

func (w *World) listAutoscalers() (runtime.Object, error) {
	if w.lost != "" {
		return nil, errors.New(w.lost)
	}
	list := &autoscalingv2.HorizontalPodAutoscalerList{}
	for _, a := range w.apps {
		list.Items = append(list.Items, *a.autoscaler.DeepCopy())
	}
	return list, nil
}

func (w *World) listAllPods() (runtime.Object, error) {
	list := &corev1.PodList{}
	for _, a := range w.apps {
		for _, p := range a.listPods(w.now) {
			list.Items = append(list.Items, *p)
		}
	}
	return list, nil
}

func (w *World) listDeployments() (runtime.Object, error) {
	list := &appsv1.DeploymentList{}
	for _, a := range w.apps {
		list.Items = append(list.Items, appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name},
			Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: a.podLabels()}},
		})
	}
	return list, nil
}

// Read implements reading.Reader for the metrics APIs, the adapter's record and the scaler's holds.
func (w *World) Read(_ context.Context, path string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u, err := url.Parse(path)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(u.Path, "/apis/scaler.") {
		return w.readHolds()
	}
	if strings.HasPrefix(u.Path, "/apis/explain.") {
		return w.readRecord(u.Path)
	}
	selected := strings.TrimPrefix(u.Query().Get("labelSelector"), "app=")
	for _, a := range w.apps {
		for _, m := range a.metrics {
			if strings.Contains(u.Path, "/namespaces/"+a.namespace+"/") && m.isAskedBy(u.Path) && (m.spec.External != nil || a.name == selected) {
				return a.readMetric(m, w.now, w.now.Sub(w.started))
			}
		}
	}
	return nil, apierrors.NewGenericServerResponse(http.StatusNotFound, "get", corev1.Resource("metrics"), path, "no such metric", 0, false)
}

func (m metricModel) isAskedBy(path string) bool {
	switch {
	case m.spec.Pods != nil:
		return strings.HasSuffix(path, "/pods/*/"+m.spec.Pods.Metric.Name)
	case m.spec.External != nil:
		return strings.HasSuffix(path, "/"+m.spec.External.Metric.Name)
	}
	return strings.HasPrefix(path, "/apis/metrics.k8s.io/")
}

func (a *app) readMetric(m metricModel, now time.Time, t time.Duration) ([]byte, error) {
	if cause := m.failureAt(t); cause != "" {
		return nil, errors.New(cause)
	}
	stamp := now.Add(-sampleAge).UTC().Format(time.RFC3339)
	quantity := func(milli int64) string { return resource.NewMilliQuantity(milli, resource.DecimalSI).String() }
	items := []any{}
	if m.spec.External != nil {
		items = append(items, map[string]any{"timestamp": stamp, "window": 10, "value": quantity(int64(1000 * m.load(t)))})
	} else {
		values := a.podValues(m, now, t)
		for _, p := range a.pods {
			value, ok := values[p.name]
			switch {
			case !ok:
			case m.spec.Resource != nil:
				items = append(items, map[string]any{
					"metadata": map[string]string{"name": p.name}, "timestamp": stamp, "window": "15s",
					"containers": []any{map[string]any{"name": a.name, "usage": map[string]string{"cpu": quantity(value)}}},
				})
			default:
				items = append(items, map[string]any{"describedObject": map[string]string{"name": p.name}, "timestamp": stamp, "windowSeconds": 10, "value": quantity(value)})
			}
		}
	}
	return json.Marshal(map[string]any{"items": items})
}

var _ dashboard.CalendarReader = (*World)(nil)

// ReadCalendars implements dashboard.CalendarReader: a window of now, one of tomorrow and a paused one.
func (w *World) ReadCalendars(context.Context, time.Time) ([]dashboard.Calendar, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	start := w.started.UTC().Truncate(time.Hour)
	return []dashboard.Calendar{{Namespace: "tachometer", ConfigMap: "tachometer-scaler-config", Key: "config.yaml", Windows: []dashboard.CalendarWindow{
		{Namespace: "shop", Workload: "deployment/checkout", Schedule: "friday-sale", Window: "sale", MinReplicas: 5, MaxReplicas: 30, From: start.Add(-time.Hour), Until: start.Add(3 * time.Hour)},
		{Namespace: "auth", Workload: "deployment/sessions", Schedule: "nights", Window: "night", MinReplicas: 2, From: start.Add(11 * time.Hour), Until: start.Add(19 * time.Hour), Paused: true},
		{Namespace: "shop", Workload: "deployment/web", Schedule: "office-hours", Window: "mon,tue,wed,thu,fri 08:00-22:00", MinReplicas: 8, From: start.Add(21 * time.Hour), Until: start.Add(35 * time.Hour)},
	}}}, nil
}

func (w *World) readHolds() ([]byte, error) {
	type fields = map[string]any
	entered := w.started.Add(-4 * time.Minute).UTC().Format(metav1.RFC3339Micro)
	return json.Marshal(fields{"items": []any{
		fields{
			"metadata": fields{"namespace": "shop", "name": "friday-sale", "creationTimestamp": w.started.Add(-time.Hour).UTC().Format(time.RFC3339)},
			"spec": fields{
				"workload": fields{"kind": "Deployment", "name": "checkout"}, "replicas": 5, "by": "schedule friday-sale",
				"until": w.started.Add(2 * time.Hour).UTC().Format(time.RFC3339), "reason": "flash sale at 12:30",
			},
			"status": fields{"state": "Verified", "entered": entered, "message": "5 of 5 pods are ready and verified: p99 38 ms"},
		},
		fields{
			"metadata": fields{"namespace": "auth", "name": "incident-4711", "creationTimestamp": w.started.Add(-9 * time.Hour).UTC().Format(time.RFC3339)},
			"spec":     fields{"workload": fields{"kind": "Deployment", "name": "sessions"}, "replicas": 3, "by": "maria", "reason": "slow database: no fewer pods until it is mended", "paused": true},
			"status":   fields{"state": "Ready", "entered": entered},
		},
	}})
}
