package provider

import (
	"errors"
	"net/http"
	"testing"

	k8slabels "k8s.io/apimachinery/pkg/labels"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
)

// TestPodsNotKnownYet: before the cluster's pods are listed, a sum without pods is no zero, and a pod that is not listed may exist.
func TestPodsNotKnownYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.demands.hpas = []discovery.Demand{{Metric: "orders_or_zero", Namespace: "shop", Selector: k8slabels.Everything(), External: true}}
	unknown := errors.New("pods are not listed yet")
	w.SyncError = func() error { return unknown }
	_, err := w.GetMetricBySelector(t.Context(), "shop", k8slabels.Everything(), pods("request_per_second"), nil)
	checkStatus(t, err, http.StatusServiceUnavailable, "warming up: the adapter has just started: pods are not listed yet")
	orders := metricsprovider.ExternalMetricInfo{Metric: "orders_or_zero"}
	_, err = w.GetExternalMetric(t.Context(), "shop", k8slabels.Everything(), orders)
	checkStatus(t, err, http.StatusServiceUnavailable, "warming up: the adapter has just started: pods are not listed yet")
	unknown = nil
	if _, err = w.GetExternalMetric(t.Context(), "shop", k8slabels.Everything(), orders); err != nil {
		t.Errorf("once pods are listed: %v", err)
	}
}
