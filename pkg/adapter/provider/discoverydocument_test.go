package provider

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
)

// formatCustomMetrics returns the custom metrics of the discovery document, marked * where not namespaced.
func formatCustomMetrics(p *Provider) string {
	var parts []string
	for _, i := range p.ListAllMetrics() {
		part := i.GroupResource.String() + "/" + i.Metric
		if !i.Namespaced {
			part += "*"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func formatExternalMetrics(p *Provider) string {
	var parts []string
	for _, i := range p.ListAllExternalMetrics() {
		parts = append(parts, i.Metric)
	}
	return strings.Join(parts, " ")
}

const listedRules = `
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- metric: request_per_second
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
- metric: load
  resource: nodes
  query: sum by (node) (load)
- match: (.+)_per_second
  query: sum by (namespace, pod) (rate({__name__="${1}_total"}[$window]))
- match: queue_(.+)
  external: true
  query: sum({__name__="queue_${1}"})
`

func newListedProvider(t *testing.T, text string) (*Provider, *demandLog, func(string)) {
	t.Helper()
	set, demands := compileRules(t, text), &demandLog{}
	p := New(Deps{
		Rules: func() Rules { return set }, Demands: demands, Mapper: newMapper(), Now: func() time.Time { return noon },
	}, Options{})
	return p, demands, func(text string) { set = compileRules(t, text) }
}

func TestListing(t *testing.T) {
	t.Parallel()
	p, demands, reload := newListedProvider(t, listedRules)
	check := func(wantCustom, wantExternal string) {
		t.Helper()
		if diff := cmp.Diff(wantCustom, formatCustomMetrics(p)); diff != "" {
			t.Errorf("custom (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(wantExternal, formatExternalMetrics(p)); diff != "" {
			t.Errorf("external (-want +got):\n%s", diff)
		}
	}
	check("nodes/load* pods/request_per_second", "no_external_rule_is_configured")

	demands.hpas = []discovery.Demand{
		{Resource: "pods", Metric: "b_per_second", Namespace: "shop", Standing: true},
		{Resource: "pods", Metric: "b_per_second", Namespace: "bank", Standing: true},
		{Resource: "deployments.apps", Metric: "a_per_second", Namespace: "bank", Object: "x", Standing: true},
		{Resource: "gadgets.example.com", Metric: "a_per_second", Namespace: "bank", Object: "x", Standing: true},
		{Resource: "namespaces", Metric: "a_per_second", Object: "x", Standing: true},
		{Resource: "pods", Metric: "typo", Namespace: "shop", Standing: true},
		{Metric: "queue_length", Namespace: "shop", External: true, Standing: true},
		{Metric: "typo", Namespace: "shop", External: true, Standing: true},
	}
	demands.read = []discovery.Demand{{Resource: "pods", Metric: "read_per_second", Namespace: "shop"}, {Metric: "queue_read", Namespace: "shop", External: true}}
	check("namespaces/a_per_second* nodes/load* pods/b_per_second pods/request_per_second deployments.apps/a_per_second gadgets.example.com/a_per_second",
		"queue_length")

	reload(`
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- match: nothing_(.+)_demanded
  query: sum by (namespace, pod) ({__name__="${1}"})
`)
	check("pods/no_metric_is_demanded_yet", "no_external_rule_is_configured")
}

// TestListingIsCached: only other rules or another demand rebuild the list.
func TestListingIsCached(t *testing.T) {
	t.Parallel()
	p, demands, reload := newListedProvider(t, listedRules)
	first := p.ListAllMetrics()
	if again := p.ListAllMetrics(); &first[0] != &again[0] {
		t.Error("the same list was made twice")
	}
	demands.hpas = []discovery.Demand{{Resource: "pods", Metric: "b_per_second", Namespace: "shop", Standing: true}}
	second := p.ListAllMetrics()
	if len(second) != len(first)+1 {
		t.Errorf("%d metrics after one more demand, want %d", len(second), len(first)+1)
	}
	reload(listedRules)
	if third := p.ListAllMetrics(); &third[0] == &second[0] {
		t.Error("the list is that of the former rules")
	}
}

// TestListingIsBounded: autoscalers with many metrics fill no discovery document, and leave room for those of other namespaces.
func TestListingIsBounded(t *testing.T) {
	t.Parallel()
	p, demands, _ := newListedProvider(t, listedRules)
	for namespace := range 20 {
		for i := range 1000 {
			demands.hpas = append(demands.hpas, discovery.Demand{
				Resource: "pods", Metric: fmt.Sprintf("m%d_%d_per_second", namespace, i), Namespace: fmt.Sprint("evil-", namespace), Standing: true,
			})
		}
	}
	if got := len(p.ListAllMetrics()); got != 2+maxListedMetrics {
		t.Errorf("%d metrics, want %d", got, 2+maxListedMetrics)
	}
	demands.hpas = append(demands.hpas[:5000], discovery.Demand{Resource: "pods", Metric: "rps_per_second", Namespace: "shop", Standing: true})
	if got := formatCustomMetrics(p); strings.Count(got, " ") != 2+5*maxListedNamespaceMetrics || !strings.Contains(got, "pods/rps_per_second") {
		t.Errorf("%d metrics, or the shop's is none of them", 1+strings.Count(got, " "))
	}
}
